"""What the older form of a transaction promises, on both databases."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, IntegrityError

from placet_storage import Database, DatabaseUnavailable
from placet_storage import engines as storage_engines

INSERT = text("INSERT INTO note (number, body) VALUES (:number, 'x')")


async def count(database: Database) -> int:
    async with database.read() as connection:
        return int((await connection.execute(text("SELECT count(*) FROM note"))).scalar_one())


async def test_a_write_is_there_after_its_block(database: Database) -> None:
    async with database.write() as connection:
        await connection.execute(INSERT, {"number": 1})
    assert await count(database) == 1


async def test_a_write_that_raises_leaves_nothing(database: Database) -> None:
    async def write() -> None:
        async with database.write() as connection:
            await connection.execute(INSERT, {"number": 1})
            raise LookupError

    with pytest.raises(LookupError):
        await write()
    assert await count(database) == 0


async def test_a_cancelled_write_leaves_nothing_and_frees_its_connection(database: Database) -> None:
    inside = asyncio.Event()

    async def write() -> None:
        async with database.write() as connection:
            await connection.execute(INSERT, {"number": 1})
            inside.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(write())
    await asyncio.wait_for(inside.wait(), 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with database.write() as connection:
        await connection.execute(INSERT, {"number": 2})
    assert await count(database) == 1


async def test_a_block_whose_commit_fails_leaves_nothing_and_the_next_succeeds(database: Database) -> None:
    reference = "INTEGER REFERENCES note (number) DEFERRABLE INITIALLY DEFERRED"
    async with database.write() as connection:
        await connection.execute(text(f"CREATE TABLE mention (number {reference})"))
    with pytest.raises(IntegrityError):
        async with database.write() as connection:
            await connection.execute(text("INSERT INTO mention VALUES (2)"))
    async with database.write() as connection:
        await connection.execute(INSERT, {"number": 1})
    assert await count(database) == 1


async def test_a_read_sees_one_snapshot_and_refuses_to_write(database: Database) -> None:
    async with database.read() as reader:
        before = (await reader.execute(text("SELECT count(*) FROM note"))).scalar_one()
        async with database.write() as writer:
            await writer.execute(INSERT, {"number": 1})
        assert (await reader.execute(text("SELECT count(*) FROM note"))).scalar_one() == before
    with pytest.raises((DBAPIError, DatabaseUnavailable)):
        async with database.read() as connection:
            await connection.execute(INSERT, {"number": 2})
    assert await count(database) == before + 1


async def test_waiting_for_a_connection_has_an_end(
    sqlite_url: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage_engines, "PATIENCE", 0.1)
    database = await Database.open(sqlite_url, migrations=package)
    async with database.write():
        with pytest.raises(DatabaseUnavailable, match="became free"):
            async with database.write():
                pytest.fail("there is one writer")
    await database.close()
