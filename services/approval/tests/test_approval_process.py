"""`python -m placet_approval` as a process: it starts while all else is away, stops when told, and says why
it cannot run."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from placet.approval.v1 import approval_service_pb2
from placet.approval.v1.approval_service_pb2_grpc import ApprovalServiceStub
from placet_rpc.client import channel, serving
from placet_rpc.errors import PlacetError, Unavailable
from placet_rpc.program import REFUSED
from placet_rpc.tokens.mint import KeyFiles, SigningKey, mint, mint_for_program
from placet_testing.attestation import write_keys
from placet_testing.ports import free_port
from placet_testing.tokens import StaticToken

if TYPE_CHECKING:
    from services.approval.tests.conftest import Platform

pytestmark = pytest.mark.integration

BOUND = 60.0
NOWHERE = "127.0.0.1:1"


async def start(folder: Path, keys: KeyFiles, address: str, **more: str) -> asyncio.subprocess.Process:
    """A process that was told to serve at an address."""
    key = folder / "payload.key"
    key.write_bytes(b"k" * 32)
    key.chmod(0o600)
    token = folder / "approval.token"
    token.write_text(mint_for_program(SigningKey.load(keys.private_key), "approval", "home", 3600))
    private, public = write_keys(folder)
    told = {
        "PLACET_APPROVAL_ATTESTATION_KEY_FILE": str(private),
        "PLACET_ATTESTATION_KEYS_FILE": str(public),
        "PLACET_APPROVAL_LISTEN": address,
        "PLACET_APPROVAL_DATABASE_URL": f"sqlite:///{folder / 'approval.db'}",
        "PLACET_JWKS_FILE": str(keys.jwks),
        "PLACET_TOKEN_FILE": str(token),
        "PLACET_PAYLOAD_KEY_FILE": str(key),
        "PLACET_AUDIT_ADDRESS": NOWHERE,
        "PLACET_TEMPORAL_ADDRESS": NOWHERE,
    }
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "placet_approval", stderr=asyncio.subprocess.PIPE, env=os.environ | told | more
    )


async def serves(process: asyncio.subprocess.Process, address: str) -> bool:
    assert process.returncode is None, await ended(process)
    return await serving(address)


async def ended(process: asyncio.subprocess.Process) -> tuple[int | None, str]:
    """Its exit status, and what it said."""
    async with asyncio.timeout(BOUND):
        _, said = await process.communicate()
    return process.returncode, said.decode()


async def test_it_serves_while_all_else_is_away_and_stops_by_signal(
    tmp_path: Path, keys: KeyFiles, platform: Platform
) -> None:
    address = f"127.0.0.1:{free_port()}"
    process = await start(tmp_path, keys, address)
    await platform.until(lambda: serves(process, address), within=BOUND)
    token = StaticToken(mint(SigningKey.load(keys.private_key), "ci@example.com", "home", ["requester"], 600))
    async with channel(address, token) as opened:
        stub = ApprovalServiceStub(opened)
        with pytest.raises(Unavailable):
            await stub.RequestApproval(platform.asking())
        # It has not seen the log, so it does not say that there are no requests.
        with pytest.raises(Unavailable, match="still being read from the audit log"):
            await stub.ListApprovals(approval_service_pb2.ListApprovalsRequest(), timeout=1)
        assert (await stub.ListPolicies(approval_service_pb2.ListPoliciesRequest())).policies

    process.send_signal(signal.SIGTERM)

    status, said = await ended(process)
    assert status == 0, said
    assert "Traceback" not in said


async def test_a_request_survives_the_death_of_its_process(
    tmp_path: Path, keys: KeyFiles, platform: Platform
) -> None:
    address = f"127.0.0.1:{free_port()}"
    told = {
        "PLACET_AUDIT_ADDRESS": platform.audit.address,
        "PLACET_APPROVAL_INTAKE_RECOVERY_INTERVAL": "3600",
    }
    process = await start(tmp_path, keys, address, **told)
    await platform.until(lambda: serves(process, address), within=BOUND)
    message = platform.asking()
    caller = await platform.as_("ci@example.com", address=address)
    # It is stored and logged; Temporal is away, so it is not started.
    with pytest.raises(PlacetError):
        await caller.RequestApproval(message)
    process.kill()
    await ended(process)

    # The next process finds the same database and log, and Temporal back.
    await platform.serve(database_url=f"sqlite:///{tmp_path / 'approval.db'}")
    accepted = await (await platform.as_("ci@example.com")).RequestApproval(message)

    assert platform.workflows.starts == {accepted.approval_id: 1}
    path = await platform.audit.events("home", accepted.approval_id)
    assert sum(one.entry.event.HasField("received") for one in path) == 1


@pytest.mark.parametrize(
    ("told", "why", "exit_status"),
    [
        ({"PLACET_APPROVAL_POLICY_FOLDER": "/nowhere"}, "/nowhere is not a folder with policies", REFUSED),
        ({"PLACET_APPROVAL_LISTEN": "192.0.2.1:7400"}, "cannot listen on 192.0.2.1:7400", 1),
        ({"PLACET_APPROVAL_DATABASE_URL": "mysql://x"}, "not supported", REFUSED),
        ({"PLACET_APPROVAL_CLOCK_SCALE": "0"}, "PLACET_APPROVAL_CLOCK_SCALE: must be at least 1", REFUSED),
    ],
    ids=["policies", "address", "database", "setting"],
)
async def test_it_says_why_it_cannot_run(
    tmp_path: Path, keys: KeyFiles, told: dict[str, str], why: str, exit_status: int
) -> None:
    status, said = await ended(await start(tmp_path, keys, f"127.0.0.1:{free_port()}", **told))

    assert status == exit_status
    assert why in said
    assert "Traceback" not in said
