"""`placet doctor` asks a running AuditService whether its log takes entries."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from placet.audit.v1 import audit_service_pb2, audit_service_pb2_grpc
from placet_cli.home import Home, Ports
from placet_devstack.doctor import Finding, diagnose
from placet_devstack.secrets import make_keys
from placet_devstack.state import write_state
from placet_rpc import identity
from placet_rpc.errors import DataLoss, Internal, PlacetError
from placet_rpc.server import Endpoint, start
from placet_rpc.settings import ServerSettings
from placet_rpc.tokens.mint import KeyFiles
from placet_testing.ports import free_port_base
from placet_testing.servicers import partial_servicer

pytestmark = pytest.mark.integration

AUDIT = audit_service_pb2.DESCRIPTOR.services_by_name["AuditService"]


@partial_servicer(AUDIT)
class Log:
    """AuditService, which answers with a checkpoint of three entries, or with an error."""

    def __init__(self, error: PlacetError | None) -> None:
        self.error = error
        self.tenants: list[str] = []

    async def GetCheckpoint(
        self, request: audit_service_pb2.GetCheckpointRequest, context: object
    ) -> audit_service_pb2.GetCheckpointResponse:
        """Says how the log stands."""
        self.tenants.append(identity.current().tenant)
        if self.error is not None:
            raise self.error
        return audit_service_pb2.GetCheckpointResponse(checkpoint="", size=3)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home.at(tmp_path / "home")
    home.prepare()
    make_keys(home)
    return home


async def found(home: Home, log: Log | None) -> Finding:
    """Doctor's findings on the log, while this one is served as the home's own."""
    ports = Ports(free_port_base())
    write_state(home, ports.base, {"audit": os.getpid()})
    add = audit_service_pb2_grpc.add_AuditServiceServicer_to_server
    settings = ServerSettings(listen=ports.address("audit"), jwks_file=KeyFiles.below(home.keys).jwks)
    server = None if log is None else await start(settings, [Endpoint(AUDIT, add, log)])
    try:
        async with asyncio.timeout(30):
            (finding,) = (one for one in await diagnose(home, ports) if one.what == "log")
    finally:
        if server is not None:
            await server.stop()
    return finding


async def test_a_log_that_takes_entries_is_well(home: Home) -> None:
    log = Log(None)
    assert await found(home, log) == Finding("log", True, "3 entries, and takes more")
    assert log.tenants == ["default"]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (DataLoss("the tree does not fit", reason="LOG_INCONSISTENT"), "takes no entries: the tree does not"),
        (Internal("reference 1234"), "does not say whether it takes entries: "),
    ],
    ids=["inconsistent", "another error"],
)
async def test_a_log_that_takes_no_entries_is_told_and_verify_advised(
    home: Home, error: PlacetError, said: str
) -> None:
    finding = await found(home, Log(error))
    assert (finding.ok, finding.advice) == (False, "placet audit verify")
    assert finding.found.startswith(said)


async def test_a_log_that_nobody_serves_is_no_log_that_is_well(home: Home) -> None:
    finding = await found(home, None)
    assert (finding.ok, finding.advice) == (False, "placet audit verify")


async def test_without_the_key_of_the_tokens_the_log_is_not_said_to_be_well(home: Home) -> None:
    KeyFiles.below(home.keys).private_key.unlink()
    assert (await found(home, Log(None))).ok is False
