"""Promises of transactions, on both databases."""

from __future__ import annotations

import asyncio
import os
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, func, select, text
from sqlalchemy.exc import DBAPIError, IntegrityError, ProgrammingError, StatementError
from sqlalchemy.exc import OperationalError as QueryFailed

from placet_storage import Database, DatabaseUnavailable
from placet_testing.note_table import count, insert, note, rows

# Of conftest, which tests cannot import by name.
Pause = Any

# The level at which SQLite syncs each commit, as it tells it.
FULL = 2


async def test_a_transaction_answers_with_what_its_work_returned_and_is_kept(database: Database) -> None:
    def work(connection: Connection, number: int, word: str) -> str:
        insert(connection, number)
        return f"{word} {number}"

    assert await database.transact(work, 1, "wrote") == "wrote 1"
    assert await count(database) == 1


async def test_a_transaction_whose_work_raises_leaves_nothing(database: Database) -> None:
    def work(connection: Connection) -> None:
        insert(connection, 1)
        raise LookupError("the work's own")

    with pytest.raises(LookupError, match="the work's own"):
        await database.transact(work)
    assert await count(database) == 0


async def test_the_work_sees_its_callers_context(database: Database) -> None:
    told = ContextVar("told", default="nothing")
    told.set("a trace")
    assert await database.query(lambda _: told.get()) == "a trace"


async def test_a_transaction_does_not_stop_the_event_loop_or_the_readers(
    database: Database, pause: Pause
) -> None:

    def work(connection: Connection) -> None:
        insert(connection, 1)
        pause.here()

    writing = asyncio.create_task(database.transact(work))
    await pause.begun()
    assert await count(database) == 0
    pause.end()
    await writing
    assert await count(database) == 1


async def test_a_cancelled_caller_leaves_at_once_and_its_transaction_leaves_nothing(
    database: Database, pause: Pause
) -> None:

    def work(connection: Connection) -> None:
        insert(connection, 1)
        pause.here()

    writing = asyncio.create_task(database.transact(work))
    await pause.begun()
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    pause.end()
    await database.transact(insert, 1)
    assert await count(database) == 1


async def test_a_caller_that_is_cancelled_before_its_turn_has_none(
    sqlite_url: str, package: str, pause: Pause
) -> None:
    database = await Database.open(sqlite_url, migrations=package)
    turns = list[str]()
    first = asyncio.create_task(database.transact(lambda _: pause.here()))
    await pause.begun()
    second = asyncio.create_task(database.transact(lambda _: turns.append("second")))
    third = asyncio.create_task(database.transact(lambda _: turns.append("third")))
    await asyncio.sleep(0)  # both have asked for their turns
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second
    pause.end()
    await asyncio.gather(first, third)
    assert turns == ["third"]
    await database.close()


async def test_callers_cancelled_at_any_moment_leave_whole_transactions_only(database: Database) -> None:
    def work(connection: Connection, number: int) -> None:
        insert(connection, number)
        insert(connection, -number)

    for number in range(1, 101):
        writing = asyncio.create_task(database.transact(work, number))
        await asyncio.wait([writing], timeout=number / 20_000)
        writing.cancel()
        await asyncio.wait([writing])
    await database.transact(insert, 1000)
    # One of the last may be committed even now, so all is said of one snapshot.
    kept = await database.query(lambda connection: set(connection.execute(select(note.c.number)).scalars()))
    assert 1000 in kept
    kept.remove(1000)
    assert kept == {-number for number in kept}


async def test_closing_waits_for_a_transaction_that_was_left(
    sqlite_url: str, package: str, tmp_path: Path, pause: Pause
) -> None:
    database = await Database.open(sqlite_url, migrations=package)
    writing = asyncio.create_task(database.transact(lambda _: pause.here()))
    await pause.begun()
    writing.cancel()
    await asyncio.wait([writing])
    closing = asyncio.create_task(database.close())
    await asyncio.wait([closing], timeout=0.05)
    assert not closing.done()
    pause.end()
    await closing
    assert not any(name.endswith("-wal") for name in os.listdir(tmp_path))


async def test_a_commit_that_fails_leaves_nothing_and_the_next_succeeds(database: Database) -> None:
    def prepare(connection: Connection) -> None:
        reference = "INTEGER REFERENCES note (number) DEFERRABLE INITIALLY DEFERRED"
        connection.execute(text(f"CREATE TABLE mention (number {reference})"))

    def mention(connection: Connection) -> None:
        insert(connection, 1)
        connection.execute(text("INSERT INTO mention VALUES (2)"))

    await database.transact(prepare)
    with pytest.raises(IntegrityError):
        await database.transact(mention)
    assert await count(database) == 0
    await database.transact(insert, 1)
    assert await count(database) == 1


async def test_writers_that_read_before_they_write_do_not_lose_each_others_rows(database: Database) -> None:
    def append(connection: Connection) -> None:
        last = connection.execute(select(func.max(note.c.number))).scalar()
        insert(connection, (last or 0) + 1)

    async def append_at_last() -> None:
        while True:
            try:
                await database.transact(append)
            except IntegrityError:
                # PostgreSQL lets both read the same maximum; the key then refuses the second.
                assert database.dialect == "postgresql"
            else:
                return

    await asyncio.gather(*(append_at_last() for _ in range(50)))
    assert await count(database) == 50


async def test_a_query_sees_one_snapshot(database: Database, pause: Pause) -> None:

    def work(connection: Connection) -> tuple[int, int]:
        before = rows(connection)
        pause.here()
        return before, rows(connection)

    reading = asyncio.create_task(database.query(work))
    await pause.begun()
    await database.transact(insert, 1)
    pause.end()
    assert await reading == (0, 0)
    assert await count(database) == 1


async def test_a_query_refuses_to_write(database: Database) -> None:
    with pytest.raises((DBAPIError, DatabaseUnavailable)):
        await database.query(insert, 1)
    await database.transact(insert, 1)
    assert await count(database) == 1


async def test_a_conflict_can_be_ignored_alike_on_both(database: Database) -> None:
    statement = database.insert(note).values(number=1, body="first").on_conflict_do_nothing()

    def work(connection: Connection) -> tuple[int, int]:
        return connection.execute(statement).rowcount, connection.execute(statement).rowcount

    assert await database.transact(work) == (1, 0)


async def test_a_mistake_in_sql_is_not_called_unavailability(database: Database) -> None:
    with pytest.raises((QueryFailed, ProgrammingError)):
        await database.query(lambda connection: connection.execute(text("SELECT nothing FROM nowhere")))
    with pytest.raises(IntegrityError):
        await database.transact(insert, 1, 1)


async def test_an_instant_comes_back_aware_and_in_utc(database: Database) -> None:
    written = datetime(2026, 3, 1, 23, 30, 0, 123456, tzinfo=timezone(timedelta(hours=-5)))

    def write(connection: Connection) -> None:
        connection.execute(
            note.insert(),
            [{"number": 1, "body": "", "written_at": written}, {"number": 2, "body": "", "written_at": None}],
        )

    def read(connection: Connection) -> tuple[list[datetime | None], list[int]]:
        instants = connection.execute(select(note.c.written_at).order_by(note.c.number)).scalars()
        found = connection.execute(select(note.c.number).where(note.c.written_at == written)).scalars()
        return list(instants), list(found)

    await database.transact(write)
    instants, found = await database.query(read)
    assert found == [1]
    assert instants == [written, None]
    assert instants[0] is not None
    assert instants[0].tzinfo is UTC


async def test_a_naive_time_is_refused(database: Database) -> None:
    row = {"number": 1, "body": "", "written_at": datetime(2026, 3, 1)}  # noqa: DTZ001 (that is the mistake)
    with pytest.raises(StatementError, match="no time zone"):
        await database.transact(lambda connection: connection.execute(note.insert(), row))


async def test_a_sqlite_commit_is_synced_and_a_reader_needs_no_lock(sqlite_url: str, package: str) -> None:
    def pragmas(connection: Connection) -> dict[str, object]:
        names = ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        return {name: connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in names}

    database = await Database.open(sqlite_url, migrations=package)
    found = await database.transact(pragmas)
    await database.close()
    assert found == {"journal_mode": "wal", "synchronous": FULL, "foreign_keys": 1, "busy_timeout": 5000}


async def test_only_a_transaction_that_says_so_does_not_wait_for_the_disk(database: Database) -> None:
    def waits_for_the_disk(connection: Connection) -> bool:
        if connection.dialect.name == "sqlite":
            return connection.exec_driver_sql("PRAGMA synchronous").scalar() == FULL
        return connection.exec_driver_sql("SHOW synchronous_commit").scalar() == "on"

    async def asked() -> tuple[bool, bool]:
        return await database.transact(waits_for_the_disk), await database.transact_unsynced(
            waits_for_the_disk
        )

    assert [await asked() for _ in range(2)] == [(True, False), (True, False)]


async def test_a_transaction_that_does_not_wait_for_the_disk_is_whole_or_not_at_all(
    database: Database,
) -> None:
    def work(connection: Connection) -> None:
        insert(connection, 2)
        raise LookupError

    await database.transact_unsynced(insert, 1)
    with pytest.raises(LookupError):
        await database.transact_unsynced(work)
    assert await count(database) == 1


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "mysql://localhost/x"])
async def test_a_database_that_cannot_keep_the_promises_is_refused(url: str, package: str) -> None:
    with pytest.raises(ValueError):
        await Database.open(url, migrations=package)
