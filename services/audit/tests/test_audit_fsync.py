"""No append is acknowledged before its fdatasync returned, which only the system calls can show."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import socket
import sys
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from placet.audit.v1 import audit_service_pb2, audit_service_pb2_grpc, event_pb2
from placet_rpc.client import channel, serving
from placet_rpc.errors import PlacetError
from placet_rpc.identity import acting_for
from placet_rpc.tokens import SigningKey, StaticToken, generate_keys, mint

MakeEvent = Callable[..., event_pb2.Event]
BOUND = 120.0
# Much longer than an append takes, so that an answer that did not wait for it would be noticed.
DELAY = 0.5

STRACE = shutil.which("strace")
pytestmark = pytest.mark.skipif(STRACE is None, reason="waits for the program strace (Debian: strace)")


@dataclass
class Traced:
    """AuditService below strace, and how it is called."""

    stub: audit_service_pb2_grpc.AuditServiceStub
    traces: Path
    make_event: MakeEvent

    async def append(self) -> None:
        request = audit_service_pb2.AppendEventsRequest(
            approval_id=str(uuid.uuid4()), expected_next=1, events=[self.make_event()]
        )
        with acting_for("red"):
            await self.stub.AppendEvents(request, timeout=BOUND)

    def synced(self) -> int:
        """How often the log's database or its write-ahead log was synced, with success."""
        said = "".join(file.read_text() for file in self.traces.glob("of.*"))
        return len(re.findall(r"^f(?:data)?sync\(\d+<[^>]*audit\.db[^>]*>\) *= 0", said, re.MULTILINE))


@asynccontextmanager
async def traced(folder: Path, make_event: MakeEvent, *changes: str) -> AsyncIterator[Traced]:
    """The service, each of its syncs written down; `changes` are strace's, made once it serves."""
    generate_keys(folder)
    address = f"127.0.0.1:{free_port()}"
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "placet_audit",
        stderr=asyncio.subprocess.DEVNULL,
        env=os.environ
        | {
            "PLACET_AUDIT_LISTEN": address,
            "PLACET_AUDIT_DATABASE_URL": f"sqlite:///{folder / 'audit.db'}",
            "PLACET_JWKS_FILE": str(folder / "jwks.json"),
        },
    )
    async with asyncio.timeout(BOUND):
        while not await serving(address):  # noqa: ASYNC110 (the condition is another process's state)
            await asyncio.sleep(0.05)
    assert STRACE is not None
    options = [
        "-ff",
        "-y",
        "-e",
        "trace=fsync,fdatasync",
        *changes,
        "-o",
        str(folder / "of"),
        "-p",
        str(process.pid),
    ]
    strace = await asyncio.create_subprocess_exec(STRACE, *options, stderr=asyncio.subprocess.PIPE)
    assert strace.stderr is not None
    said = await strace.stderr.readline()
    if b"attached" not in said:
        pytest.skip(f"waits for permission to trace: {said.decode().strip()}")
    token = mint(SigningKey.load(folder / "signing-key.json"), "worker-default", "home", ["worker"], ttl=600)
    try:
        async with channel(address, StaticToken(token)) as opened:
            yield Traced(audit_service_pb2_grpc.AuditServiceStub(opened), folder, make_event)
    finally:
        process.kill()
        await process.wait()
        await strace.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def test_each_acknowledged_append_had_a_sync_of_its_own(tmp_path: Path, make_event: MakeEvent) -> None:
    async with traced(tmp_path, make_event) as service:
        for appends in range(1, 21):
            await service.append()
            assert service.synced() >= appends


async def test_no_append_is_acknowledged_while_its_sync_is_under_way(
    tmp_path: Path, make_event: MakeEvent
) -> None:
    inject = f"inject=fsync,fdatasync:delay_enter={int(DELAY * 1e6)}"
    async with traced(tmp_path, make_event, "-e", inject) as service:
        loop = asyncio.get_running_loop()
        for _ in range(3):
            begun = loop.time()
            await service.append()
            assert loop.time() - begun >= DELAY


async def test_no_append_is_acknowledged_whose_sync_failed(tmp_path: Path, make_event: MakeEvent) -> None:
    async with traced(tmp_path, make_event, "-e", "inject=fsync,fdatasync:error=EIO") as service:
        for _ in range(3):
            with pytest.raises(PlacetError) as failure:
                await service.append()
            assert failure.value.grpc_kind in ("unavailable", "internal")
