"""From a database URL to engines that keep what Placet promises."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import psycopg
from sqlalchemy import Connection, event
from sqlalchemy.engine import URL, Engine, create_engine, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection, ExceptionContext
from sqlalchemy.pool import ConnectionPoolEntry

from placet_storage.lanes import Lane

Dialect = Literal["sqlite", "postgresql"]

# Seconds that anything waits: for another writer's lock, for a free connection, for a server to answer.
PATIENCE = 5.0
_SQLITE_READERS = 3
# The execution option of transactions whose commit need not wait for the disk.
_UNSYNCED = {"placet_unsynced": True}
# Else what was deleted stays readable in the file until something takes its place. It costs nothing that
# could be measured: the pages are written in any case.
_OVERWRITING = "PRAGMA secure_delete=ON"


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
class Lanes:
    """The ways to a database: `writer` for transactions that write, `reader` for snapshots, and `unsynced`
    for writing what can be made again, which shares connections and threads with `writer`."""

    writer: Lane
    unsynced: Lane
    reader: Lane


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


def open_lanes(location: Location, pool_size: int) -> Lanes:
    """Lanes that connect on first use. `pool_size`: the connections to PostgreSQL, at most."""
    if location.dialect == "sqlite":
        # SQLite has one writer at a time: waiting in a queue is fair, polling for its lock is not.
        writer, one_thread = _sqlite(location, "writer"), _threads("writer", 1)
        return Lanes(
            writer=_lane(writer, one_thread),
            unsynced=_lane(writer.execution_options(**_UNSYNCED), one_thread),
            reader=_lane(_sqlite(location, "reader"), _threads("reader", _SQLITE_READERS)),
        )
    engine, threads = _postgresql(location, pool_size), _threads("postgresql", pool_size)
    # A reader sees one snapshot, as it does in SQLite. All share one pool, and the level is set on BEGIN.
    reader = engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
    unsynced = engine.execution_options(**_UNSYNCED)
    return Lanes(
        writer=_lane(engine, threads), unsynced=_lane(unsynced, threads), reader=_lane(reader, threads)
    )


def open_for_migration(location: Location) -> Engine:
    """An engine whose one transaction no other migrator of the same SQLite file can share."""
    if location.dialect == "postgresql":
        return _engine(location.url, connect_args=_postgresql_arguments(location))
    engine = _engine(location.url, connect_args=_sqlite_arguments())
    # No foreign keys: a migration that rebuilds a table must be able to drop the old one.
    event.listen(engine, "connect", _prepare_migrator)
    event.listen(engine, "begin", _begin_immediate)
    return engine


def _lane(engine: Engine, threads: ThreadPoolExecutor) -> Lane:
    return Lane(engine, threads, PATIENCE)


def _threads(role: str, number: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(number, thread_name_prefix=f"placet-storage-{role}")


# Any: SQLAlchemy's own arguments, which it types itself.
def _engine(url: URL, **arguments: Any) -> Engine:
    """An engine whose errors, which end up in logs and traces, hold nothing of what is stored."""
    engine = create_engine(url, hide_parameters=True, **arguments)
    event.listen(engine, "handle_error", _hide_rows)
    return engine


def _hide_rows(context: ExceptionContext) -> None:
    """Leaves PostgreSQL's first line, which names what was violated; the others may quote whole rows."""
    cause, wrapped = context.original_exception, context.sqlalchemy_exception
    if not isinstance(cause, psycopg.Error) or cause.diag.message_primary is None:
        return
    whole, first = str(cause), cause.diag.message_primary
    cause.args = (first,)
    if wrapped is not None:
        wrapped.args = tuple(str(one).replace(whole, first) for one in wrapped.args)


def _postgresql(location: Location, pool_size: int) -> Engine:
    engine = _engine(
        location.url, pool_size=pool_size, max_overflow=0, connect_args=_postgresql_arguments(location)
    )
    event.listen(engine, "connect", _prepare_postgresql)
    event.listen(engine, "begin", _begin_postgresql)
    return engine


def _postgresql_arguments(location: Location) -> Mapping[str, object]:
    """What bounds the wait for a server that is gone without a word; what the URL says itself comes first.

    See https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-PARAMKEYWORDS.
    """
    arguments = {
        "connect_timeout": int(PATIENCE),
        "keepalives_idle": int(PATIENCE),
        "keepalives_interval": 1,
        "keepalives_count": int(PATIENCE),
        "tcp_user_timeout": int(PATIENCE * 1000),
    }
    return {name: value for name, value in arguments.items() if name not in location.url.query}


def _prepare_postgresql(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
    """Bounds the wait for another transaction's lock, as SQLite's busy timeout does."""
    _execute(connection, f"SET lock_timeout = {int(PATIENCE * 1000)}")
    connection.commit()


def _begin_postgresql(connection: Connection) -> None:
    if _is_unsynced(connection):
        connection.exec_driver_sql("SET LOCAL synchronous_commit = off")


def _sqlite(location: Location, role: Literal["writer", "reader"]) -> Engine:
    # The pool must go on rolling back what comes back to it: in SQLite a commit that fails ends nothing.
    engine = _engine(
        location.url,
        pool_size=1 if role == "writer" else _SQLITE_READERS,
        max_overflow=0,
        connect_args=_sqlite_arguments(),
    )
    event.listen(engine, "connect", _prepare_writer if role == "writer" else _prepare_reader)
    event.listen(engine, "begin", _begin_immediate if role == "writer" else _begin_deferred)
    return engine


def _sqlite_arguments() -> Mapping[str, object]:
    # isolation_level None: the driver begins no transactions of its own, which it would do too late to lock.
    return {"timeout": PATIENCE, "isolation_level": None}


def _begin_immediate(connection: Connection) -> None:
    # FULL: with NORMAL a commit is not on the disk when it returns (https://sqlite.org/pragma.html), but in
    # its place in the write-ahead log, of which a crash of the machine may take the end.
    level = "NORMAL" if _is_unsynced(connection) else "FULL"
    _execute(_driver(connection), f"PRAGMA synchronous={level}", "BEGIN IMMEDIATE")


def _begin_deferred(connection: Connection) -> None:
    _execute(_driver(connection), "BEGIN DEFERRED")


def _is_unsynced(connection: Connection) -> bool:
    return _UNSYNCED.items() <= connection.get_execution_options().items()


def _driver(connection: Connection) -> DBAPIConnection:
    # Straight to the driver: as statements of SQLAlchemy's these would cost more than the transaction.
    driver = connection.connection.dbapi_connection
    if driver is None:
        raise AssertionError("a transaction begins on a connection")
    return driver


def _prepare_writer(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
    """Lets SQLite check references, and overwrite what it deletes."""
    _execute(connection, "PRAGMA foreign_keys=ON", _OVERWRITING)


def _prepare_migrator(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
    """Lets SQLite overwrite what it deletes."""
    _execute(connection, _OVERWRITING)


def _prepare_reader(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
    """Lets SQLite refuse to write."""
    _execute(connection, "PRAGMA query_only=ON")


def _execute(connection: DBAPIConnection, *statements: str) -> None:
    cursor = connection.cursor()
    for statement in statements:
        cursor.execute(statement)
    cursor.close()
