"""No append is acknowledged before its fdatasync returned (scenario 4).

Only the system calls can show that, and only to who may trace them. What every machine can show is that an
append is written by a transaction whose commit waits for the disk, and is committed when it is answered.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import sys
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pytest
from sqlalchemy import Connection, Engine, event

from placet.audit.v1 import audit_service_pb2, audit_service_pb2_grpc
from placet.event.v1 import event_pb2
from placet_proof.signer import new_key
from placet_rpc.client import channel, serving
from placet_rpc.errors import PlacetError
from placet_rpc.identity import acting_for
from placet_rpc.tokens.mint import SigningKey, generate_keys, mint_for_program
from placet_testing.attestation import write_keys
from placet_testing.ports import free_port
from placet_testing.tokens import StaticToken

pytestmark = pytest.mark.integration

MakeEvent = Callable[..., event_pb2.Event]
LOG_KEY = new_key()
BOUND = 120.0
# Much longer than an append takes, so that an answer that did not wait for it would be noticed.
DELAY = 0.5
# See https://sqlite.org/pragma.html#pragma_synchronous.
FULL = 2

STRACE = shutil.which("strace")
needs_strace = pytest.mark.skipif(
    STRACE is None, reason="scenario 4 by system calls waits for the program strace (Debian: strace)"
)


class Service(Protocol):
    """The running AuditService of the tests' conftest."""

    def program(self, name: str, *tenants: str) -> audit_service_pb2_grpc.AuditServiceStub:
        """A program of Placet."""
        ...


@dataclass
class Traced:
    """AuditService below strace, and how it is called."""

    stub: audit_service_pb2_grpc.AuditServiceStub
    traces: Path
    make_event: MakeEvent

    async def append(self) -> None:
        request = audit_service_pb2.AppendEventsRequest(
            approval_id=str(uuid.uuid4()), expected_next=1, events=[self.make_event(kind="received")]
        )
        with acting_for("red"):
            await self.stub.AppendEvents(request, timeout=BOUND)

    def synced(self) -> int:
        """Counts the successful syncs of the log's database and its write-ahead log."""
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
            "PLACET_AUDIT_LOG_KEY": LOG_KEY,
            "PLACET_ATTESTATION_KEYS_FILE": str(write_keys(folder)[1]),
            "PLACET_JWKS_FILE": str(folder / "jwks.json"),
        },
    )
    try:
        async with asyncio.timeout(BOUND):
            while not await serving(address):  # noqa: ASYNC110 (the condition is another process's state)
                await asyncio.sleep(0.05)
        token = mint_for_program(SigningKey.load(folder / "signing-key.json"), "approval", "red", ttl=600)
        async with attached(process.pid, folder, *changes), channel(address, StaticToken(token)) as opened:
            yield Traced(audit_service_pb2_grpc.AuditServiceStub(opened), folder, make_event)
    finally:
        process.kill()
        await process.wait()


@asynccontextmanager
async def attached(pid: int, folder: Path, *changes: str) -> AsyncIterator[None]:
    """strace on a process. Skips the test where that is not allowed."""
    assert STRACE is not None
    options = ["-ff", "-y", "-e", "trace=fsync,fdatasync", *changes, "-o", str(folder / "of"), "-p", str(pid)]
    strace = await asyncio.create_subprocess_exec(STRACE, *options, stderr=asyncio.subprocess.PIPE)
    try:
        assert strace.stderr is not None
        async with asyncio.timeout(BOUND):
            said = await strace.stderr.readline()
        if b"attached" not in said:
            pytest.skip(f"scenario 4 by system calls waits for permission to trace: {said.decode().strip()}")
        yield
    finally:
        # It lets go of the process and ends, if it has not ended by itself.
        with suppress(ProcessLookupError):
            strace.terminate()
        await strace.communicate()


@needs_strace
async def test_each_acknowledged_append_had_a_sync_of_its_own(tmp_path: Path, make_event: MakeEvent) -> None:
    async with traced(tmp_path, make_event) as service:
        for appends in range(1, 21):
            await service.append()
            assert service.synced() >= appends


@needs_strace
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


@needs_strace
async def test_no_append_is_acknowledged_whose_sync_failed(tmp_path: Path, make_event: MakeEvent) -> None:
    async with traced(tmp_path, make_event, "-e", "inject=fsync,fdatasync:error=EIO") as service:
        for _ in range(3):
            with pytest.raises(PlacetError) as failure:
                await service.append()
            assert failure.value.grpc_kind in ("unavailable", "internal")


@contextmanager
def waits_for_the_disk() -> Iterator[list[bool]]:
    """Collects, for each later transaction of this process that writes entries, whether its commit is synced,
    as the database itself says."""
    seen: list[bool] = []

    def look(connection: Connection, _cursor: object, statement: str, *_: object) -> None:
        if not statement.startswith("INSERT INTO entry"):
            return
        if connection.dialect.name == "sqlite":
            seen.append(connection.exec_driver_sql("PRAGMA synchronous").scalar_one() >= FULL)
        else:
            seen.append(connection.exec_driver_sql("SHOW synchronous_commit").scalar_one() == "on")

    event.listen(Engine, "before_cursor_execute", look)
    try:
        yield seen
    finally:
        event.remove(Engine, "before_cursor_execute", look)


async def test_each_acknowledged_append_is_committed_by_a_transaction_that_waits_for_the_disk(
    service: Service, make_event: MakeEvent
) -> None:
    writer = reader = service.program("approval")
    with acting_for("red"), waits_for_the_disk() as seen:
        for appends in range(1, 6):
            append = audit_service_pb2.AppendEventsRequest(
                approval_id=str(uuid.uuid4()), expected_next=1, events=[make_event(kind="received")]
            )
            assert (await writer.AppendEvents(append, timeout=BOUND)).appended
            assert seen == [True] * appends
            # Another connection sees it: it is committed.
            listed = audit_service_pb2.ListEventsRequest(
                filter=audit_service_pb2.EventFilter(approval_id=append.approval_id)
            )
            assert len((await reader.ListEvents(listed, timeout=BOUND)).entries) == 1
