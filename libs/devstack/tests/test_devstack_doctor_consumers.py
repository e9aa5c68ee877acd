"""`placet doctor` finds consumers of the log that are stuck, or have skipped entries."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from placet.approval.v1 import approval_service_pb2, approval_service_pb2_grpc
from placet.approval.v1.approval_service_pb2 import LogConsumer, SkippedEntry
from placet_cli.home import Home, Ports
from placet_devstack.doctor import Finding, diagnose
from placet_devstack.secrets import make_keys
from placet_devstack.state import write_state
from placet_rpc.server import Endpoint, start
from placet_rpc.settings import ServerSettings
from placet_rpc.tokens.mint import KeyFiles
from placet_testing.ports import free_port_base
from placet_testing.servicers import partial_servicer

pytestmark = pytest.mark.integration

APPROVAL = approval_service_pb2.DESCRIPTOR.services_by_name["ApprovalService"]


@partial_servicer(APPROVAL)
class Approvals:
    """ApprovalService with one consumer of the log."""

    def __init__(self, consumer: LogConsumer) -> None:
        self.consumer = consumer

    async def GetDecisionStats(
        self, request: approval_service_pb2.GetDecisionStatsRequest, context: object
    ) -> approval_service_pb2.GetDecisionStatsResponse:
        """Nothing was decided."""
        return approval_service_pb2.GetDecisionStatsResponse()

    async def GetLogConsumers(
        self, request: approval_service_pb2.GetLogConsumersRequest, context: object
    ) -> approval_service_pb2.GetLogConsumersResponse:
        """The one consumer."""
        return approval_service_pb2.GetLogConsumersResponse(consumers=[self.consumer])


@pytest.mark.parametrize(
    ("consumer", "ok", "found", "advice"),
    [
        (LogConsumer(), True, "has read 7 entries of the log", ""),
        (
            LogConsumer(error="the disk is full"),
            False,
            "stuck at entry 7: the disk is full; it is tried again",
            "tail ",
        ),
        (
            LogConsumer(skipped=[SkippedEntry(log_index=3, reason="ValueError: odd")]),
            False,
            "skipped entry 3 of the log, which it could not use: ValueError: odd",
            "placet audit tail --from 3",
        ),
    ],
    ids=["well", "stuck", "skipped"],
)
async def test_a_consumer_that_is_stuck_or_skips_is_a_finding(
    tmp_path: Path, consumer: LogConsumer, ok: bool, found: str, advice: str
) -> None:
    home = Home.at(tmp_path / "home")
    home.prepare()
    make_keys(home)
    ports = Ports(free_port_base())
    write_state(home, ports.base, {"approval": os.getpid()})
    consumer.name, consumer.next_log_index = "view", 7
    add = approval_service_pb2_grpc.add_ApprovalServiceServicer_to_server
    settings = ServerSettings(listen=ports.address("approval"), jwks_file=KeyFiles.below(home.keys).jwks)
    server = await start(settings, [Endpoint(APPROVAL, add, Approvals(consumer))])
    try:
        (finding,) = (one for one in await diagnose(home, ports) if one.what == "view")
    finally:
        await server.stop()
    assert finding == Finding("view", ok, found, finding.advice)
    assert finding.advice.startswith(advice)
    assert bool(advice) == bool(finding.advice)
