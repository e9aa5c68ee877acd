"""`python -m placet_audit` as a process among others: killed, stopped, and with its database taken away."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeAlias

import pytest
import sqlalchemy as sa

from placet.audit.v1 import audit_service_pb2, audit_service_pb2_grpc
from placet.event.v1 import event_pb2
from placet_proof import Note, VerifierKey, leaf_hash
from placet_proof.frontier import Frontier
from placet_proof.signer import new_key
from placet_rpc.client import channel, serving
from placet_rpc.errors import DeadlineExceeded, Unavailable
from placet_rpc.identity import acting_for
from placet_rpc.program import REFUSED
from placet_rpc.tokens.mint import SigningKey, generate_keys, mint_for_program
from placet_testing.attestation import write_keys
from placet_testing.conditions import until
from placet_testing.databases import OwnPostgres
from placet_testing.ports import free_port
from placet_testing.tokens import StaticToken

pytestmark = pytest.mark.integration

MakeEvent = Callable[..., event_pb2.Event]
LOG_KEY = new_key()
Stub: TypeAlias = audit_service_pb2_grpc.AuditServiceStub
BOUND = 60.0
"""Seconds that anything may take before a test gives up."""


@dataclass
class Home:
    """Where one service's processes, one after the other, find their keys, database and port."""

    folder: Path
    database_url: str
    address: str

    async def start(self) -> asyncio.subprocess.Process:
        """A process that serves."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "placet_audit",
            stderr=asyncio.subprocess.DEVNULL,
            env=os.environ
            | {
                "PLACET_AUDIT_LISTEN": self.address,
                "PLACET_AUDIT_DATABASE_URL": self.database_url,
                "PLACET_AUDIT_LOG_KEY": LOG_KEY,
                "PLACET_ATTESTATION_KEYS_FILE": str(write_keys(self.folder)[1]),
                "PLACET_JWKS_FILE": str(self.folder / "jwks.json"),
            },
        )
        await until(lambda: serving(self.address), "the service serves", BOUND)
        return process

    @asynccontextmanager
    async def stub(self) -> AsyncIterator[Stub]:
        """ApprovalService's way to the service, also across restarts."""
        key = SigningKey.load(self.folder / "signing-key.json")
        token = StaticToken(mint_for_program(key, "approval", "default", ttl=600))
        opened = channel(self.address, token)
        with acting_for("default"):
            yield audit_service_pb2_grpc.AuditServiceStub(opened)
        await opened.close()


@pytest.fixture
def home(tmp_path: Path, database_url: str) -> Home:
    generate_keys(tmp_path)
    return Home(tmp_path, database_url, f"127.0.0.1:{free_port()}")


async def kill(process: asyncio.subprocess.Process) -> None:
    process.kill()
    await process.wait()


async def append(stub: Stub, approval_id: str, event: event_pb2.Event) -> bool:
    """Tells whether the append of a request's first event was acknowledged."""
    request = audit_service_pb2.AppendEventsRequest(approval_id=approval_id, expected_next=1, events=[event])
    try:
        await stub.AppendEvents(request, timeout=5)
    except (Unavailable, DeadlineExceeded):
        return False
    return True


async def whole_log(stub: Stub) -> list[event_pb2.LogEntry]:
    request = audit_service_pb2.ListEventsRequest(page_size=1000)
    entries: list[event_pb2.LogEntry] = []
    while True:
        page = await stub.ListEvents(request)
        entries += page.entries
        if not page.next_page_token:
            return entries
        request.page_token = page.next_page_token


async def has_grown(acknowledged: dict[str, bool], size: int) -> bool:
    return sum(acknowledged.values()) >= size


async def test_what_was_acknowledged_survives_kill_9_once_and_the_log_stays_dense(
    home: Home, make_event: MakeEvent
) -> None:
    chance = random.Random(4711)
    acknowledged: dict[str, bool] = {}

    async def write(stub: Stub, stop: asyncio.Event) -> None:
        while not stop.is_set():
            approval_id = str(uuid.uuid4())
            acknowledged[approval_id] = False
            acknowledged[approval_id] = await append(
                stub, approval_id, make_event(approval_id, kind="received")
            )

    async with home.stub() as stub:
        for _ in range(3):
            process = await home.start()
            stop, known = asyncio.Event(), sum(acknowledged.values())
            writers = [asyncio.create_task(write(stub, stop)) for _ in range(8)]
            await until(
                partial(has_grown, acknowledged, known + 50), "50 more appends are acknowledged", BOUND
            )
            await asyncio.sleep(chance.random() / 100)  # so that it dies at any point of a commit
            await kill(process)
            stop.set()
            await asyncio.gather(*writers)

        process = await home.start()
        entries = await whole_log(stub)
        times_stored = Counter(entry.entry.approval_id for entry in entries)
        assert [entry.index for entry in entries] == list(range(len(entries)))
        for approval_id, was_acknowledged in acknowledged.items():
            assert times_stored[approval_id] in ({1} if was_acknowledged else {0, 1})
        for approval_id in [unknown for unknown, known in acknowledged.items() if not known]:
            assert await append(stub, approval_id, make_event(approval_id, kind="received"))
        assert Counter(e.entry.approval_id for e in await whole_log(stub)) == dict.fromkeys(acknowledged, 1)
        await kill(process)


async def exhaust(tail: AsyncIterator[object]) -> None:
    async for _ in tail:
        pass


async def test_sigterm_ends_tails_and_the_process_with_nothing_lost(
    home: Home, make_event: MakeEvent
) -> None:
    async with home.stub() as stub:
        process = await home.start()
        tail = aiter(stub.TailEvents(audit_service_pb2.TailEventsRequest(from_log_index=0)))
        await anext(tail)
        calls = [
            asyncio.create_task(append(stub, str(uuid.uuid4()), make_event(f"c{i}", kind="received")))
            for i in range(50)
        ]
        assert await calls[0]
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(BOUND):
            assert await process.wait() == 0
            with pytest.raises(Unavailable):
                await exhaust(tail)
        acknowledged = sum(await asyncio.gather(*calls))

        process = await home.start()
        assert len(await whole_log(stub)) >= acknowledged
        await kill(process)


async def test_a_service_that_cannot_start_says_why_in_one_line(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "placet_audit",
        stderr=asyncio.subprocess.PIPE,
        env=os.environ
        | {
            "PLACET_AUDIT_DATABASE_URL": f"sqlite:///{tmp_path / 'audit.db'}",
            "PLACET_AUDIT_LOG_KEY": LOG_KEY,
            "PLACET_ATTESTATION_KEYS_FILE": str(write_keys(tmp_path)[1]),
            "PLACET_JWKS_FILE": str(tmp_path / "nowhere.json"),
        },
    )

    _, told = await process.communicate()

    assert process.returncode == REFUSED
    assert b"nowhere.json" in told
    assert b"Traceback" not in told


async def test_postgresql_stopped_in_mid_append_is_unavailable_and_then_there_is_one_record(
    own_postgres: OwnPostgres, tmp_path: Path, make_event: MakeEvent
) -> None:
    generate_keys(tmp_path)
    home = Home(tmp_path, own_postgres.url, f"127.0.0.1:{free_port()}")
    process = await home.start()
    ids = [str(uuid.uuid4()) for _ in range(200)]
    async with home.stub() as stub:
        calls = [asyncio.create_task(append(stub, one, make_event(one, kind="received"))) for one in ids]
        await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.to_thread(own_postgres.stop)
        first = await asyncio.gather(*calls)
        assert not await append(stub, ids[-1], make_event(ids[-1], kind="received"))

        await asyncio.to_thread(own_postgres.start)
        for approval_id in ids:
            await until(
                partial(append, stub, approval_id, make_event(approval_id, kind="received")),
                "the append is acknowledged",
                BOUND,
            )
        entries = await whole_log(stub)

    assert any(first)
    assert Counter(entry.entry.approval_id for entry in entries) == dict.fromkeys(ids, 1)
    assert [entry.index for entry in entries] == list(range(len(ids)))
    await kill(process)


async def test_a_leader_killed_in_mid_batch_leaves_one_log_to_the_next(
    postgres_url: str, tmp_path: Path, make_event: MakeEvent
) -> None:
    generate_keys(tmp_path)
    leader, other = [Home(tmp_path, postgres_url, f"127.0.0.1:{free_port()}") for _ in range(2)]
    process, follower = await leader.start(), await other.start()
    engine = sa.create_engine(postgres_url.replace("postgresql:", "postgresql+psycopg:"))
    async with leader.stub() as stub, other.stub() as others:
        for killed in range(3):
            before = str(uuid.uuid4())
            assert await append(stub, before, make_event(before, kind="received"))
            lost, kept = str(uuid.uuid4()), str(uuid.uuid4())
            with engine.begin() as holding:
                # The leader has stored its batch's entries, and cannot sign them.
                holding.execute(sa.text("LOCK TABLE checkpoint IN EXCLUSIVE MODE"))
                losing = asyncio.create_task(append(stub, lost, make_event(lost, kind="received")))
                await until(partial(waits_for_a_table, engine), "the append waits for a table", BOUND)
                keeping = asyncio.create_task(append(others, kept, make_event(kept, kind="received")))
                await kill(process)
                assert not await losing
            assert await keeping
            process = await leader.start()
            found = [entry.entry.approval_id for entry in await whole_log(others)]
            assert found[2 * killed :] == [before, kept]
        key = SigningKey.load(leader.folder / "signing-key.json")
        witness = (("authorization", f"Bearer {mint_for_program(key, 'witness', 'default', 600)}"),)
        response = await others.GetCheckpoint(audit_service_pb2.GetCheckpointRequest(), metadata=witness)

    tree, note = Frontier(), Note.parse(response.checkpoint)
    with engine.begin() as reading:
        for (leaf,) in reading.execute(sa.text('SELECT leaf FROM entry ORDER BY "index"')):
            tree.append(leaf_hash(leaf))
        signed = reading.scalar(sa.text("SELECT count(*) FROM checkpoint"))
    assert note.verified([VerifierKey.parse(key) for key in response.keys])
    assert (note.checkpoint.size, note.checkpoint.root, signed) == (6, tree.root(), 6)
    engine.dispose()
    await kill(process)
    await kill(follower)


async def waits_for_a_table(engine: sa.Engine) -> bool:
    waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'relation' AND NOT granted"
    with engine.begin() as reading:
        return bool(reading.scalar(sa.text(waiting)))
