"""Erased rows are gone from the database's files, and rows past their retention are deleted."""

from __future__ import annotations

import random
import shutil
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Connection, delete, make_url

from placet_storage import Database, purge_expired, truncate_wal_after_commit
from placet_testing.note_table import note

NUMBERS = range(200)


def word(number: int) -> str:
    """The text of one note, and of no other."""
    return f"secret-{number:04}-"


async def write(database: Database, chance: random.Random) -> None:
    """Writes notes in any order, each in a commit of its own, so that SQLite moves rows from page to page.

    All are of one size: of rows of many sizes SQLite leaves a copy now and then (docs/operations.md).
    """

    def put(connection: Connection, number: int) -> None:
        connection.execute(note.insert(), {"number": number, "body": word(number) * 5})

    for number in chance.sample(NUMBERS, len(NUMBERS)):
        await database.transact_unsynced(put, number)


def erase(connection: Connection, numbers: list[int]) -> None:
    connection.execute(delete(note).where(note.c.number.in_(numbers)))
    truncate_wal_after_commit(connection)


def found_in(url: str) -> set[int]:
    """The notes whose words are anywhere in the database's files."""
    path = Path(make_url(url).database or "")
    raw = b"".join(file.read_bytes() for file in path.parent.glob(f"{path.name}*"))
    return {number for number in NUMBERS if word(number).encode() in raw}


def copy(url: str, to: str) -> None:
    for suffix in ("", "-wal"):
        shutil.copyfile(f"{make_url(url).database}{suffix}", f"{make_url(to).database}{suffix}")


def wal_of(url: str) -> Path:
    return Path(f"{make_url(url).database}-wal")


@pytest.mark.parametrize("seed", range(3))
async def test_nothing_of_what_was_erased_is_left_in_the_files(
    sqlite_url: str, package: str, seed: int
) -> None:
    chance = random.Random(seed)
    database = await Database.open(sqlite_url, migrations=package)
    await write(database, chance)
    gone = set(chance.sample(NUMBERS, 100))
    assert found_in(sqlite_url) == set(NUMBERS)

    await database.transact(erase, sorted(gone))

    assert found_in(sqlite_url) == set(NUMBERS) - gone
    assert wal_of(sqlite_url).stat().st_size == 0
    await database.close()


async def test_what_was_erased_before_a_crash_is_gone_when_the_database_is_opened(
    sqlite_url: str, package: str, tmp_path: Path
) -> None:
    database = await Database.open(sqlite_url, migrations=package)
    await write(database, random.Random(0))
    await database.transact(lambda connection: connection.execute(delete(note)))
    # A copy of the files as a process leaves them that is killed before it truncates the log.
    crashed = f"sqlite:///{tmp_path / 'crashed.db'}"
    copy(sqlite_url, crashed)
    await database.close()
    assert found_in(crashed) == set(NUMBERS)

    database = await Database.open(crashed, migrations=package)

    assert found_in(crashed) == set()
    await database.close()


async def test_while_a_reader_needs_the_log_the_next_transaction_truncates_it(
    sqlite_url: str, package: str
) -> None:
    database = await Database.open(sqlite_url, migrations=package)
    await write(database, random.Random(0))
    reader = sqlite3.connect(make_url(sqlite_url).database or "")
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM note").fetchone()

    await database.transact(erase, [1])
    assert wal_of(sqlite_url).stat().st_size
    reader.close()
    await database.transact(lambda connection: connection.execute(delete(note).where(note.c.number == 2)))

    assert wal_of(sqlite_url).stat().st_size == 0
    assert 1 not in found_in(sqlite_url)
    await database.close()


async def test_an_erasure_is_committed_though_its_log_cannot_be_truncated(
    sqlite_url: str, package: str, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(action: int, what: str | None, *_: str | None) -> int:
        is_denied = (action, what) == (sqlite3.SQLITE_PRAGMA, "wal_checkpoint")
        return sqlite3.SQLITE_DENY if is_denied else sqlite3.SQLITE_OK

    def erase_without_checkpoint(connection: Connection) -> None:
        driver = connection.connection.driver_connection
        assert isinstance(driver, sqlite3.Connection)
        driver.set_authorizer(refuse)
        erase(connection, [1])

    def patience(connection: Connection) -> object:
        return connection.exec_driver_sql("PRAGMA busy_timeout").scalar_one()

    database = await Database.open(sqlite_url, migrations=package)
    await write(database, random.Random(0))

    await database.transact(erase_without_checkpoint)

    assert "not authorized" in caplog.text
    assert await database.query(lambda connection: len(connection.execute(note.select()).all())) == 199
    assert await database.transact(patience) == 5000
    await database.close()


async def test_rows_past_their_retention_are_deleted(database: Database) -> None:
    now = datetime.now(UTC)

    def put(connection: Connection) -> None:
        rows = [
            {"number": number, "body": "x", "written_at": now - timedelta(days=number)}
            for number in range(10)
        ]
        connection.execute(note.insert(), rows)

    def purge(connection: Connection, before: datetime) -> int:
        oldest = connection.scalars(
            note.select().with_only_columns(note.c.number).where(note.c.written_at < before).limit(2)
        ).all()
        return connection.execute(delete(note).where(note.c.number.in_(oldest))).rowcount

    def left(connection: Connection) -> list[int]:
        return sorted(row.number for row in connection.execute(note.select()))

    await database.transact(put)
    keep = timedelta(days=4, hours=1)
    await purge_expired(lambda before: database.transact(purge, before), keep)
    assert await database.query(left) == [0, 1, 2, 3, 4]
