"""Takes what was deleted out of a SQLite file for good.

SQLite overwrites what it deletes, but not the copies that it leaves behind where it moves rows from page to
page, and its write-ahead log holds pages as they were. Only a file that is written anew holds nothing of
either. In PostgreSQL that is VACUUM's work, which the server does by itself.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import Connection
from sqlalchemy.engine.interfaces import DBAPIConnection

from placet_storage.errors import DatabaseUnavailable

if TYPE_CHECKING:
    from placet_storage.database import Database

_LOG = logging.getLogger("placet.storage")

# A larger file takes longer to write anew than writers wait for their turn.
MOST_BYTES = 128 << 20
# How long a reader is waited for, while writers wait as well.
READER_MS = 200
LOOK_SECONDS = 60.0
FORGET_SECONDS = 3600.0


def to_be_shredded(connection: Connection) -> None:
    """Says, within a transaction, that what it deletes or overwrites is to be shredded."""
    if connection.dialect.name == "sqlite":
        # In the file's header, so that a crash forgets it as little as what it is about. Another number each
        # time, so that whoever shreds meanwhile sees that there is more.
        connection.exec_driver_sql(f"PRAGMA user_version={1 + secrets.randbelow(1 << 30)}")


class Shredder:
    """Shreds one database's file, time and again."""

    def __init__(self) -> None:
        self._written_anew = 0
        """The mark that the file bore when it was written anew; 0 before the first time."""

    def shred(self, connection: DBAPIConnection) -> bool:
        """Writes the file anew if something in it is to be shredded; False when there is still something.

        Outside a transaction. Raises what the driver raises.
        """
        mark = _value(connection, "PRAGMA user_version")
        if not mark:
            return True
        # Each time is a copy more of the file in the write-ahead log, for as long as a reader pins it.
        if mark != self._written_anew:
            if _is_too_large(connection):
                return False
            _value(connection, "VACUUM")
            self._written_anew = mark
        return _is_emptied(connection) and _is_unmarked(connection, mark)


def _is_too_large(connection: DBAPIConnection) -> bool:
    """Whether the file is left to its operator, who is told."""
    size = _value(connection, "PRAGMA page_count") * _value(connection, "PRAGMA page_size")
    if size <= MOST_BYTES:
        return False
    _LOG.warning(
        "what was erased may have left traces in a SQLite file of %d MiB; stop the service, and run"
        " VACUUM and PRAGMA user_version=0 on it",
        size >> 20,
    )
    return True


def _is_emptied(connection: DBAPIConnection) -> bool:
    """Empties the write-ahead log, unless somebody reads who still needs the old pages."""
    patience = _value(connection, "PRAGMA busy_timeout")
    _value(connection, f"PRAGMA busy_timeout={READER_MS}")
    try:
        return not _value(connection, "PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        _value(connection, f"PRAGMA busy_timeout={patience}")


def _is_unmarked(connection: DBAPIConnection, mark: int) -> bool:
    """Takes the mark away, unless there is more to be shredded since."""
    _value(connection, "BEGIN IMMEDIATE")
    is_last = _value(connection, "PRAGMA user_version") == mark
    _value(connection, "PRAGMA user_version=0" if is_last else "PRAGMA user_version")
    _value(connection, "COMMIT")
    return is_last


def _value(connection: DBAPIConnection, statement: str) -> int:
    """The first column of a statement's first row; 0 when it has none."""
    cursor = connection.cursor()
    try:
        cursor.execute(statement)
        row = cursor.fetchone()
    finally:
        cursor.close()
    return int(row[0]) if row else 0


@asynccontextmanager
async def shredding(database: Database) -> AsyncIterator[None]:
    """Meanwhile what is to be shredded is shredded, within LOOK_SECONDS, or as soon as nobody reads it."""

    async def look() -> None:
        await database.shred()

    async with _again_and_again(look, LOOK_SECONDS):
        yield


@asynccontextmanager
async def forgetting(
    database: Database, forget: Callable[[datetime], Awaitable[int]], keep: timedelta
) -> AsyncIterator[None]:
    """Meanwhile what is older than `keep` is forgotten, within FORGET_SECONDS, and shredded.

    `forget` forgets some of what is older than a time, and answers how much; 0 when there is no more.
    """

    async def look() -> None:
        before = datetime.now(UTC) - keep
        while await forget(before):
            pass
        await database.shred()

    async with _again_and_again(look, FORGET_SECONDS):
        yield


@asynccontextmanager
async def _again_and_again(look: Callable[[], Awaitable[None]], interval: float) -> AsyncIterator[None]:
    """Looks now and then every `interval` seconds, whatever breaks it, until the end."""

    async def for_ever() -> None:
        while True:
            try:
                await look()
            except DatabaseUnavailable as error:
                _LOG.warning("what is to be forgotten waits on: %s", error)
            except Exception:  # noqa: BLE001  # were this to end, nothing would ever be forgotten
                _LOG.exception("what is to be forgotten waits on")
            await asyncio.sleep(interval)

    looking = asyncio.create_task(for_ever())
    try:
        yield
    finally:
        looking.cancel()
        await asyncio.wait([looking])
