"""From a database URL to engines that keep what Placet promises."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

from sqlalchemy import AdaptedConnection, Connection, event
from sqlalchemy.engine import URL, Engine, create_engine, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

Dialect = Literal["sqlite", "postgresql"]

# Seconds that anything waits: for another writer's lock, for a free connection, for a server to answer.
PATIENCE = 5.0
_SQLITE_READERS = 4


@dataclass(frozen=True)
class Location:
    """Where a database is."""

    dialect: Dialect
    url: URL

    @property
    def namespace(self) -> str:
        """What spans call the database: its name, or its file's name without the folder and ending."""
        name = self.url.database or ""
        return Path(name).stem if self.dialect == "sqlite" else name


@dataclass(frozen=True)
class Engines:
    """The two ways to a database: `writer` for transactions that write, `reader` for snapshots."""

    writer: AsyncEngine
    reader: AsyncEngine


def locate(url: str) -> Location:
    """Reads `sqlite:///path` or `postgresql://…`, with or without a driver's name.

    Raises ValueError for any other database, and for SQLite in memory, which connections cannot share.
    """
    parsed = make_url(url)
    backend = parsed.get_backend_name()
    if backend == "sqlite":
        if parsed.database in (None, "", ":memory:"):
            raise ValueError("a SQLite database needs a file: sqlite:///path/to/file")
        return Location("sqlite", parsed.set(drivername="sqlite"))
    if backend == "postgresql":
        return Location("postgresql", parsed.set(drivername="postgresql+psycopg"))
    raise ValueError(f"{backend} is not supported; use sqlite:///path or postgresql://…")


def open_engines(location: Location, pool_size: int) -> Engines:
    """Engines that connect on first use. `pool_size`: the connections to PostgreSQL, at most."""
    if location.dialect == "sqlite":
        return Engines(writer=_sqlite(location, "writer"), reader=_sqlite(location, "reader"))
    writer = create_async_engine(
        location.url,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=PATIENCE,
        connect_args={"connect_timeout": int(PATIENCE)},
    )
    # A reader sees one snapshot, as it does in SQLite. Both share one pool, and the level is set on BEGIN.
    reader = writer.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
    return Engines(writer=writer, reader=reader)


def open_for_migration(location: Location) -> Engine:
    """A synchronous engine, because Alembic is."""
    if location.dialect == "postgresql":
        return create_engine(location.url, connect_args={"connect_timeout": int(PATIENCE)})
    engine = create_engine(location.url, connect_args=_sqlite_arguments())
    event.listen(engine, "connect", _prepare_migrator)
    event.listen(engine, "begin", _begin_migration)
    return engine


def _sqlite(location: Location, role: Literal["writer", "reader"]) -> AsyncEngine:
    engine = create_async_engine(
        location.url.set(drivername="sqlite+aiosqlite"),
        # SQLite has one writer at a time: waiting in a queue is fair, polling for its lock is not.
        pool_size=1 if role == "writer" else _SQLITE_READERS,
        max_overflow=0,
        pool_timeout=PATIENCE,
        # Each transaction is ended before its connection goes back; a second rollback costs a thread's turn.
        pool_reset_on_return=None,
        connect_args=_sqlite_arguments(),
    )
    event.listen(engine.sync_engine, "connect", _prepare_writer if role == "writer" else _prepare_reader)
    event.listen(engine.sync_engine, "begin", _begin_immediate if role == "writer" else _begin_deferred)
    return engine


def _sqlite_arguments() -> dict[str, object]:
    # isolation_level None: the driver begins no transactions of its own, which it would do too late to lock.
    return {"timeout": PATIENCE, "isolation_level": None}


def _begin_migration(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _begin_immediate(connection: Connection) -> None:
    _begin(connection, "BEGIN IMMEDIATE")


def _begin_deferred(connection: Connection) -> None:
    _begin(connection, "BEGIN DEFERRED")


def _begin(connection: Connection, statement: str) -> None:
    # Straight to the driver: as a statement of SQLAlchemy's it would take the driver's thread three turns.
    adapted = cast(AdaptedConnection, connection.connection.dbapi_connection)
    adapted.run_async(lambda driver: driver.execute(statement))


def _prepare_migrator(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
    # No foreign keys: a migration that rebuilds a table must be able to drop the old one.
    _execute(connection, "PRAGMA synchronous=FULL")


def _prepare_writer(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
    # FULL: with NORMAL a commit is not on the disk when it returns (https://sqlite.org/pragma.html).
    _execute(connection, "PRAGMA synchronous=FULL", "PRAGMA foreign_keys=ON")


def _prepare_reader(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
    _execute(connection, "PRAGMA query_only=ON")


def _execute(connection: DBAPIConnection, *statements: str) -> None:
    cursor = connection.cursor()
    for statement in statements:
        cursor.execute(statement)
    cursor.close()
