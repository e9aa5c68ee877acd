"""What was deleted is gone from the file, not only from the tables."""

from __future__ import annotations

import asyncio
import random
import sqlite3
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

import pytest
from sqlalchemy import Column, Connection, Index, Integer, MetaData, String, Table, delete, make_url, update
from sqlalchemy.engine.interfaces import DBAPIConnection

from placet_storage import Database, UtcDateTime, forgetting, shredder, shredding, to_be_shredded

NUMBERS = range(200)
note = Table(
    "note",
    MetaData(),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("body", String, nullable=False),
    Column("written_at", UtcDateTime),
    Index("note_body", "body"),
)


def word(number: int) -> str:
    """What a note says, and no other."""
    return f"secret-{number:04}-"


async def write(database: Database, chance: random.Random) -> None:
    """Notes of all sizes in any order, each in a commit of its own and rewritten later, so that SQLite moves
    rows from page to page."""

    def put(connection: Connection, number: int, times: int) -> None:
        connection.execute(note.insert(), {"number": number, "body": word(number) * times})

    def grow(connection: Connection, number: int, times: int) -> None:
        connection.execute(update(note).where(note.c.number == number).values(body=word(number) * times))

    await database.transact(lambda connection: note.indexes.copy().pop().create(connection))
    for work in (put, grow):
        for number in chance.sample(NUMBERS, len(NUMBERS)):
            await database.transact_unsynced(work, number, chance.choice((1, 2, 5, 20, 100, 400)))


def drop(connection: Connection, numbers: list[int]) -> None:
    connection.execute(delete(note).where(note.c.number.in_(numbers)))
    to_be_shredded(connection)


def found_in(url: str) -> set[int]:
    """The notes whose words are anywhere in the database's files."""
    path = Path(make_url(url).database or "")
    raw = b"".join(file.read_bytes() for file in path.parent.glob(f"{path.name}*"))
    return {number for number in NUMBERS if word(number).encode() in raw}


async def until(ask: Callable[[], Awaitable[object]], *, is_now: object) -> None:
    """Asks again until the answer is this."""
    deadline = time.monotonic() + 15
    while await ask() != is_now:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


def is_marked(connection: Connection) -> bool:
    return bool(connection.exec_driver_sql("PRAGMA user_version").scalar_one())


@pytest.mark.parametrize("seed", range(3))
async def test_nothing_of_what_was_deleted_is_left_in_the_files(
    sqlite_url: str, package: str, seed: int
) -> None:
    chance = random.Random(seed)
    database = await Database.open(sqlite_url, migrations=package)
    await write(database, chance)
    gone = set(chance.sample(NUMBERS, 100))
    await database.transact(drop, sorted(gone))

    assert await database.shred()

    assert found_in(sqlite_url) == set(NUMBERS) - gone
    await database.close()


async def test_what_a_crash_left_to_be_shredded_is_shredded_after_it(sqlite_url: str, package: str) -> None:
    database = await Database.open(sqlite_url, migrations=package)
    await write(database, random.Random(0))
    await database.transact(drop, [1, 2, 3])
    await database.close()

    database = await Database.open(sqlite_url, migrations=package)
    async with shredding(database):
        await until(lambda: database.query(is_marked), is_now=False)
    assert not found_in(sqlite_url) & {1, 2, 3}
    await database.close()


async def test_what_a_reader_still_sees_is_shredded_when_it_is_done(sqlite_url: str, package: str) -> None:
    database, reading = [await Database.open(sqlite_url, migrations=package) for _ in range(2)]
    await write(database, random.Random(0))
    begun, done = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def read(connection: Connection) -> int:
        count = len(connection.execute(note.select()).all())
        loop.call_soon_threadsafe(begun.set)
        asyncio.run_coroutine_threadsafe(done.wait(), loop).result(30)
        return count

    reader = asyncio.create_task(reading.query(read))
    await begun.wait()
    await database.transact(drop, [1])
    assert not await database.shred()
    done.set()
    assert await reader == len(NUMBERS)
    assert await database.shred()
    assert 1 not in found_in(sqlite_url)
    await database.close()
    await reading.close()


async def test_while_a_reader_is_waited_for_the_file_is_written_anew_once(
    sqlite_url: str, package: str
) -> None:
    database = await Database.open(sqlite_url, migrations=package)
    await write(database, random.Random(0))
    path = Path(make_url(sqlite_url).database or "")
    log = path.with_name(f"{path.name}-wal")
    reader = sqlite3.connect(path)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM note").fetchone()
    await database.transact(drop, [1])
    assert not await database.shred()
    size = log.stat().st_size
    assert size
    for _ in range(3):
        assert not await database.shred()
    assert log.stat().st_size == size
    # What is deleted meanwhile was not in that.
    await database.transact(drop, [2])
    assert not await database.shred()
    reader.close()
    assert await database.shred()
    assert not found_in(sqlite_url) & {1, 2}
    await database.close()


def test_a_log_that_cannot_be_emptied_leaves_the_connection_as_patient_as_it_was(tmp_path: Path) -> None:
    def refuse(action: int, what: str | None, *_: str | None) -> int:
        is_denied = (action, what) == (sqlite3.SQLITE_PRAGMA, "wal_checkpoint")
        return sqlite3.SQLITE_DENY if is_denied else sqlite3.SQLITE_OK

    connection = sqlite3.connect(tmp_path / "a.db", timeout=7, isolation_level=None)
    connection.execute("PRAGMA user_version=3")
    connection.set_authorizer(refuse)
    with pytest.raises(sqlite3.DatabaseError, match="not authorized"):
        shredder.Shredder().shred(cast(DBAPIConnection, connection))
    assert connection.execute("PRAGMA busy_timeout").fetchone() == (7000,)
    connection.close()


async def test_a_file_that_is_too_large_is_left_to_its_operator(
    sqlite_url: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shredder, "MOST_BYTES", 0)
    database = await Database.open(sqlite_url, migrations=package)
    assert await database.shred()
    await database.transact(drop, [1])
    assert not await database.shred()
    monkeypatch.undo()
    assert await database.shred()
    await database.close()


async def test_what_is_older_than_it_is_kept_is_forgotten(database: Database) -> None:
    now = datetime.now(UTC)

    def put(connection: Connection) -> None:
        rows = [
            {"number": number, "body": "x", "written_at": now - timedelta(days=number)}
            for number in range(10)
        ]
        connection.execute(note.insert(), rows)

    def forget(connection: Connection, before: datetime) -> int:
        oldest = connection.scalars(
            note.select().with_only_columns(note.c.number).where(note.c.written_at < before).limit(2)
        ).all()
        return connection.execute(delete(note).where(note.c.number.in_(oldest))).rowcount

    def left(connection: Connection) -> list[int]:
        return sorted(row.number for row in connection.execute(note.select()))

    await database.transact(put)
    kept = forgetting(database, lambda before: database.transact(forget, before), timedelta(days=4, hours=1))
    async with kept:
        await until(lambda: database.query(left), is_now=[0, 1, 2, 3, 4])
