"""Engines for SQLite and PostgreSQL: connections, locks, durability, and what errors may say."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import psycopg
from sqlalchemy import Connection, event
from sqlalchemy.engine import URL, Engine, create_engine, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection, ExceptionContext
from sqlalchemy.pool import ConnectionPoolEntry

from placet_storage.executor import Executor

_LOG = logging.getLogger(__name__)

Dialect = Literal["sqlite", "postgresql"]

PATIENCE = 5.0
"""Seconds that a call waits for a lock, a free connection or the server's answer."""
_SQLITE_READERS = 3
# The execution option of transactions whose commit need not wait for the disk.
_UNSYNCED = {"placet_unsynced": True}
# Overwrites deleted rows with zeros. It has no measurable cost: the pages are written in any case.
_SECURE_DELETE = "PRAGMA secure_delete=ON"
# Key in a pooled connection's `info`: its write-ahead log is to be truncated.
_TRUNCATE_WAL = "placet_truncate_wal"
_TRUNCATE_WAIT_MS = 200


@dataclass(frozen=True)
class Location:
    """Address of a database."""

    dialect: Dialect
    url: URL

    @property
    def namespace(self) -> str:
        """Name of the database in spans: its name, or its file's name without folder and suffix."""
        name = self.url.database or ""
        return Path(name).stem if self.dialect == "sqlite" else name


@dataclass(frozen=True)
class Executors:
    """Executors of one database: `writer` for transactions that write, `reader` for snapshots, and `unsynced`
    for writing rows that can be derived again. `unsynced` shares connections and threads with `writer`."""

    writer: Executor
    unsynced: Executor
    reader: Executor


def locate(url: str) -> Location:
    """Parses `sqlite:///path` or `postgresql://…`, with or without a driver's name.

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


def open_executors(location: Location, pool_size: int) -> Executors:
    """Makes executors that connect on first use. `pool_size`: the most connections to PostgreSQL."""
    if location.dialect == "sqlite":
        # SQLite has one writer at a time. A queue of one thread is fair, polling for the lock is not.
        writer, writers = _sqlite(location, "writer"), _threads("writer", 1)
        reader, readers = _sqlite(location, "reader"), _threads("reader", _SQLITE_READERS)
    else:
        writer, writers = _postgresql(location, pool_size), _threads("postgresql", pool_size)
        # A reader sees one snapshot, as in SQLite. All share one pool; the isolation level is set on BEGIN.
        reader = writer.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        readers = writers
    return Executors(
        writer=Executor(writer, writers, PATIENCE),
        unsynced=Executor(writer.execution_options(**_UNSYNCED), writers, PATIENCE),
        reader=Executor(reader, readers, PATIENCE),
    )


def open_for_migration(location: Location) -> Engine:
    """Makes an engine for one migrating transaction."""
    if location.dialect == "postgresql":
        return _engine(location.url, connect_args=_postgresql_arguments(location))
    engine = _engine(location.url, connect_args=_sqlite_arguments())
    # Without foreign keys, because a migration that rebuilds a table drops the old one.
    event.listen(engine, "connect", _prepare_migrator)
    event.listen(engine, "begin", _begin_immediate)
    return engine


def _threads(role: str, number: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(number, thread_name_prefix=f"placet-storage-{role}")


# Any: SQLAlchemy's own arguments, which it types itself.
def _engine(url: URL, **arguments: Any) -> Engine:
    """Makes an engine whose errors quote no stored values: errors end up in logs and traces."""
    engine = create_engine(url, hide_parameters=True, **arguments)
    event.listen(engine, "handle_error", _hide_rows)
    return engine


def _hide_rows(context: ExceptionContext) -> None:
    """Keeps the first line of a PostgreSQL error, which names the violation; the others may quote rows."""
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
    """Bounds the wait for a server that does not answer. Parameters in the URL take precedence.

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
    """Bounds the wait for a lock, as SQLite's busy timeout does."""
    execute(connection, f"SET lock_timeout = {int(PATIENCE * 1000)}")
    connection.commit()


def _begin_postgresql(connection: Connection) -> None:
    if _is_unsynced(connection):
        connection.exec_driver_sql("SET LOCAL synchronous_commit = off")


def _sqlite(location: Location, role: Literal["writer", "reader"]) -> Engine:
    # The pool must roll back returned connections: in SQLite a failed commit leaves the transaction open.
    engine = _engine(
        location.url,
        pool_size=1 if role == "writer" else _SQLITE_READERS,
        max_overflow=0,
        connect_args=_sqlite_arguments(),
    )
    if role == "writer":
        event.listen(engine, "connect", _prepare_writer)
        event.listen(engine, "begin", _begin_immediate)
        event.listen(engine, "checkin", _truncate_wal_if_asked)
    else:
        event.listen(engine, "connect", _prepare_reader)
        event.listen(engine, "begin", _begin_deferred)
    return engine


def _sqlite_arguments() -> Mapping[str, object]:
    # isolation_level None: the driver begins no transactions itself, which it would do too late to lock.
    return {"timeout": PATIENCE, "isolation_level": None}


def _begin_immediate(connection: Connection) -> None:
    # With NORMAL a commit returns before it is on the disk (https://sqlite.org/pragma.html): a crash of the
    # machine may lose the end of the write-ahead log.
    level = "NORMAL" if _is_unsynced(connection) else "FULL"
    execute(_driver(connection), f"PRAGMA synchronous={level}", "BEGIN IMMEDIATE")


def _begin_deferred(connection: Connection) -> None:
    execute(_driver(connection), "BEGIN DEFERRED")


def _is_unsynced(connection: Connection) -> bool:
    return _UNSYNCED.items() <= connection.get_execution_options().items()


def _driver(connection: Connection) -> DBAPIConnection:
    # By the driver, because SQLAlchemy's statements would cost more than the transaction.
    driver = connection.connection.dbapi_connection
    if driver is None:
        raise AssertionError("a transaction begins on a connection")
    return driver


def _prepare_writer(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
    execute(connection, "PRAGMA foreign_keys=ON", _SECURE_DELETE)


def _prepare_migrator(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
    execute(connection, _SECURE_DELETE)


def _prepare_reader(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
    execute(connection, "PRAGMA query_only=ON")


def execute(connection: DBAPIConnection, *statements: str) -> None:
    """Runs statements by the driver, outside of SQLAlchemy's transactions."""
    with closing(connection.cursor()) as cursor:
        for statement in statements:
            cursor.execute(statement)


def truncate_wal_after_commit(connection: Connection) -> None:
    """Has SQLite's write-ahead log truncated once this transaction, which erases something, is committed.

    The log holds earlier versions of pages. While another connection reads them, the log stays, and the next
    transaction that writes tries again; closing the database removes it. Does nothing in PostgreSQL.
    """
    if connection.dialect.name == "sqlite":
        connection.info[_TRUNCATE_WAL] = True


def _truncate_wal_if_asked(connection: DBAPIConnection | None, entry: ConnectionPoolEntry) -> None:
    if connection is not None and entry.info.get(_TRUNCATE_WAL) and _truncate_wal(connection):
        del entry.info[_TRUNCATE_WAL]


def _truncate_wal(connection: DBAPIConnection) -> bool:
    """Truncates the write-ahead log; False if a reader still needs it."""
    try:
        execute(connection, f"PRAGMA busy_timeout={_TRUNCATE_WAIT_MS}")
        with closing(connection.cursor()) as cursor:
            cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            (is_busy, *_) = cursor.fetchone() or (1,)
    except sqlite3.Error as error:
        # The transaction is committed: its caller must not see this.
        _LOG.warning("the write-ahead log cannot be truncated now: %s", error)
        return False
    finally:
        execute(connection, f"PRAGMA busy_timeout={int(PATIENCE * 1000)}")
    return not is_busy
