"""Erased values are gone from other replicas and from the file."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from placet.event.v1 import event_pb2
from placet_audit.domain import Append, Draft, Entry
from placet_audit.leaf import disclose, seal
from placet_audit.log_keys import LogKeys
from placet_audit.store import Store, append, lock
from placet_storage import Database

MakeAppend = Callable[..., Append]
# The running log of conftest, which tests cannot import by name.
RunningLog = Any


def announce(values: int, cause: str) -> Draft:
    event = event_pb2.Event(cause_id=cause)
    event.time.GetCurrentTime()
    event.erased.approval_id, event.erased.values = "r1", values
    return seal(event_pb2.Entry(tenant="default", event=event))


def any_request(_path: Sequence[Entry]) -> None:
    """Whatever its entries say."""


async def test_a_replica_forgets_what_another_one_erased(
    running: RunningLog, database: Database, log_keys: LogKeys, make_append: MakeAppend
) -> None:
    async with aclosing(running.stream.follow("default", 0)) as live, asyncio.timeout(60):
        await anext(live)
        await running.sequencer.append(make_append("r1", 1, "a"))
        (told,) = (await anext(live)).items
        assert told.entry.event.received.title.value == "because a"

        await Store(database, log_keys).erase("default", "r1", any_request, announce)
        (erased,) = (await anext(live)).items
        assert erased.entry.event.erased.values == 2

        async with aclosing(running.stream.follow("default", 0)) as anew:
            again = [entry async for stretch in _until_current(anew) for entry in stretch]
    assert [entry.entry.event.received.title.value for entry in again] == ["", ""]
    assert again[0].entry.event.received.title.commitment == told.entry.event.received.title.commitment


async def _until_current(tail: Any) -> Any:
    async for stretch in tail:
        if not stretch.items:
            return
        yield stretch.items


def contents(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in folder.iterdir())


async def test_what_was_erased_is_gone_from_the_file(
    tmp_path: Path, log_keys: LogKeys, make_append: MakeAppend
) -> None:
    database = await Database.open(f"sqlite:///{tmp_path / 'log.db'}", migrations="placet_audit")
    store = Store(database, log_keys)
    for number in range(1, 60):
        await store.append([make_append(f"r{number % 3}", (number + 2) // 3, f"c{number}-")])
    await Store(database, log_keys).erase("default", "r1", any_request, announce)

    raw = contents(tmp_path)
    for number in range(1, 60):
        assert (f"because c{number}-".encode() in raw) is (number % 3 != 1)
    # Triggers that keep the log from changing did not mind.
    assert await store.size("default") == 60
    await store.append([make_append("r1", 21, "more")])
    await database.close()


@pytest.mark.integration
async def test_what_is_appended_while_a_request_is_erased_is_erased_and_counted_or_comes_after_it(
    postgres_url: str, log_keys: LogKeys, make_append: MakeAppend
) -> None:
    writing, erasing = [await Database.open(postgres_url, migrations="placet_audit") for _ in range(2)]
    await Store(writing, log_keys).append([make_append("r1", 1, "early")])
    loop, held, go_on = asyncio.get_running_loop(), asyncio.Event(), threading.Event()

    def append_late(connection: sa.Connection) -> None:
        lock(connection)
        append(connection, [make_append("r1", 2, "late")], log_keys, {})
        loop.call_soon_threadsafe(held.set)
        assert go_on.wait(30)

    late = asyncio.create_task(writing.transact(append_late))
    async with asyncio.timeout(60):
        await held.wait()
        erasure = asyncio.create_task(Store(erasing, log_keys).erase("default", "r1", any_request, announce))
        while not await writing.query(_somebody_waits):
            continue
        go_on.set()
        await late
        erased = (await erasure).entry
    assert disclose(erased).entry.event.erased.values == 4
    entries = (await Store(writing, log_keys).entries("default", 0, 10)).entries
    assert [len(entry.draft.disclosures) for entry in entries] == [0, 0, 0]
    for database in (writing, erasing):
        await database.close()


def _somebody_waits(connection: sa.Connection) -> bool:
    waiting = sa.text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
    return bool(connection.scalar(waiting))
