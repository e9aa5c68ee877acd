"""What a transaction promises, on both databases."""

from __future__ import annotations

import asyncio
import sqlite3
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from sqlalchemy import Column, Integer, MetaData, String, Table, func, select, text
from sqlalchemy.exc import DBAPIError, IntegrityError, ProgrammingError, StatementError
from sqlalchemy.exc import OperationalError as QueryFailed

from placet_storage import Database, DatabaseUnavailable, UtcDateTime
from placet_storage import engines as storage_engines

note = Table(
    "note",
    MetaData(),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("body", String, nullable=False),
    Column("written_at", UtcDateTime),
)


async def count(database: Database) -> int:
    async with database.read() as connection:
        return (await connection.execute(select(func.count()).select_from(note))).scalar_one()


async def test_a_write_is_there_after_its_block(database: Database) -> None:
    async with database.write() as connection:
        await connection.execute(note.insert(), {"number": 1, "body": "kept"})
    assert await count(database) == 1


async def write_and_raise(database: Database) -> None:
    async with database.write() as connection:
        await connection.execute(note.insert(), {"number": 1, "body": "undone"})
        raise LookupError


async def test_a_write_that_raises_leaves_nothing(database: Database) -> None:
    with pytest.raises(LookupError):
        await write_and_raise(database)
    assert await count(database) == 0


async def test_a_cancelled_write_leaves_nothing_and_frees_its_connection(database: Database) -> None:
    inside = asyncio.Event()

    async def write() -> None:
        async with database.write() as connection:
            await connection.execute(note.insert(), {"number": 1, "body": "undone"})
            inside.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(write())
    await asyncio.wait_for(inside.wait(), 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with database.write() as connection:
        await connection.execute(note.insert(), {"number": 2, "body": "kept"})
    assert await count(database) == 1


async def test_writers_that_read_before_they_write_do_not_lose_each_others_rows(database: Database) -> None:
    async def append() -> None:
        while True:
            try:
                async with database.write() as connection:
                    last = (await connection.execute(select(func.max(note.c.number)))).scalar()
                    await connection.execute(note.insert(), {"number": (last or 0) + 1, "body": "x"})
            except IntegrityError:
                # PostgreSQL lets both read the same maximum; the key then refuses the second.
                assert database.dialect == "postgresql"
            else:
                return

    await asyncio.gather(*(append() for _ in range(50)))
    assert await count(database) == 50


async def test_a_read_sees_one_snapshot(database: Database) -> None:
    query = select(func.count()).select_from(note)
    async with database.read() as reader:
        before = (await reader.execute(query)).scalar_one()
        async with database.write() as writer:
            await writer.execute(note.insert(), {"number": 1, "body": "later"})
        assert (await reader.execute(query)).scalar_one() == before
    assert await count(database) == before + 1


async def test_a_read_refuses_to_write(database: Database) -> None:
    with pytest.raises((DBAPIError, DatabaseUnavailable)):
        async with database.read() as connection:
            await connection.execute(note.insert(), {"number": 1, "body": "refused"})
    async with database.write() as connection:
        await connection.execute(note.insert(), {"number": 1, "body": "kept"})
    assert await count(database) == 1


async def test_a_conflict_can_be_ignored_alike_on_both(database: Database) -> None:
    statement = database.insert(note).values(number=1, body="first").on_conflict_do_nothing()
    async with database.write() as connection:
        first = await connection.execute(statement)
        second = await connection.execute(statement)
    assert (first.rowcount, second.rowcount) == (1, 0)


async def test_a_mistake_in_sql_is_not_called_unavailability(database: Database) -> None:
    with pytest.raises((QueryFailed, ProgrammingError)):
        async with database.read() as connection:
            await connection.execute(text("SELECT nothing FROM nowhere"))
    with pytest.raises(IntegrityError):
        async with database.write() as connection:
            await connection.execute(note.insert(), [{"number": 1, "body": "a"}, {"number": 1, "body": "b"}])


async def test_an_instant_comes_back_aware_and_in_utc(database: Database) -> None:
    written = datetime(2026, 3, 1, 23, 30, 0, 123456, tzinfo=timezone(timedelta(hours=-5)))
    async with database.write() as connection:
        await connection.execute(
            note.insert(),
            [{"number": 1, "body": "", "written_at": written}, {"number": 2, "body": "", "written_at": None}],
        )
    async with database.read() as connection:
        rows = (await connection.execute(select(note.c.written_at).order_by(note.c.number))).scalars().all()
        found = (
            await connection.execute(select(note.c.number).where(note.c.written_at == written))
        ).scalars()
        assert list(found) == [1]
    assert rows == [written, None]
    assert rows[0].tzinfo is UTC


async def test_a_naive_time_is_refused(database: Database) -> None:
    with pytest.raises(StatementError, match="no time zone"):
        async with database.write() as connection:
            await connection.execute(
                note.insert(),
                {"number": 1, "body": "", "written_at": datetime(2026, 3, 1)},  # noqa: DTZ001
            )


async def test_a_sqlite_commit_is_synced_and_readers_are_not_blocked(sqlite_url: str, package: str) -> None:
    database = await Database.open(sqlite_url, migrations=package)
    async with database.write() as connection:
        pragmas = {
            name: (await connection.exec_driver_sql(f"PRAGMA {name}")).scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
        assert await count(database) == 0
    await database.close()
    assert pragmas == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 5000}


async def test_a_locked_sqlite_file_is_unavailable_and_then_works(
    sqlite_url: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage_engines, "PATIENCE", 0.1)
    database = await Database.open(sqlite_url, migrations=package)
    stranger = sqlite3.connect(sqlite_url.removeprefix("sqlite:///"), isolation_level=None)
    stranger.execute("BEGIN IMMEDIATE")
    with pytest.raises(DatabaseUnavailable, match="locked"):
        async with database.write():
            pytest.fail("the lock was not ours")
    stranger.execute("ROLLBACK")
    stranger.close()
    async with database.write() as connection:
        await connection.execute(note.insert(), {"number": 1, "body": "kept"})
    assert await count(database) == 1
    await database.close()


async def test_a_full_sqlite_disk_is_unavailable_and_then_works(sqlite_url: str, package: str) -> None:
    database = await Database.open(sqlite_url, migrations=package)
    async with database.write() as connection:
        pages = (await connection.exec_driver_sql("PRAGMA page_count")).scalar()
        await connection.exec_driver_sql(f"PRAGMA max_page_count={pages}")
    with pytest.raises(DatabaseUnavailable, match="full"):
        async with database.write() as connection:
            await connection.execute(note.insert(), {"number": 1, "body": "x" * 100_000})
    async with database.write() as connection:
        await connection.exec_driver_sql("PRAGMA max_page_count=1000000")
        await connection.execute(note.insert(), {"number": 1, "body": "x" * 100_000})
    assert await count(database) == 1
    await database.close()


async def write_and_be_disconnected(database: Database) -> None:
    others = "pid <> pg_backend_pid() AND datname = current_database()"
    async with database.write() as connection:
        await connection.execute(note.insert(), {"number": 1, "body": "lost"})
        async with database.write() as other:
            await other.execute(
                text(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}")
            )
        await connection.execute(note.insert(), {"number": 2, "body": "lost"})


async def test_a_lost_postgresql_connection_is_unavailable_and_then_works(
    postgres_url: str, package: str
) -> None:
    database = await Database.open(postgres_url, migrations=package)
    with pytest.raises(DatabaseUnavailable):
        await write_and_be_disconnected(database)
    async with database.write() as connection:
        await connection.execute(note.insert(), {"number": 1, "body": "kept"})
    assert await count(database) == 1
    await database.close()


async def test_a_postgresql_that_is_not_there_is_unavailable(tmp_path: Path, package: str) -> None:
    with pytest.raises(DatabaseUnavailable):
        await Database.open(f"postgresql://nobody@/nothing?host={tmp_path}", migrations=package)


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


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "mysql://localhost/x"])
async def test_a_database_that_cannot_keep_the_promises_is_refused(url: str, package: str) -> None:
    with pytest.raises(ValueError):
        await Database.open(url, migrations=package)


def test_unavailability_names_its_kind_for_the_rpc_layer() -> None:
    assert DatabaseUnavailable.grpc_kind == "unavailable"
