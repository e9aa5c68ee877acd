"""Errors of a database that no change of the query would cure."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from sqlalchemy import exc

# Primary result codes of SQLite (https://sqlite.org/rescode.html) of transient faults: a lock, the disk,
# memory. Anything else is a mistake in our own SQL.
_SQLITE_TRANSIENT = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_PROTOCOL,
    }
)
# Transient faults of PostgreSQL (https://www.postgresql.org/docs/current/errcodes-appendix.html) by class of
# SQLSTATE: connection, transaction rollback, resources, operator intervention, system error. By code: a
# transaction that was idle or open for too long, a lock that was not available.
_POSTGRESQL_TRANSIENT_CLASSES = frozenset({"08", "40", "53", "57", "58"})
_POSTGRESQL_TRANSIENT_CODES = frozenset({"25P03", "25P04", "55P03"})


class DatabaseUnavailable(Exception):
    """The database cannot be reached, is locked, or has no room: the same call may succeed later.

    Nothing was acknowledged. After a lost connection the commit may nevertheless have happened, so a retry
    must be idempotent.
    """

    # Read by placet_rpc, which this package does not know.
    grpc_kind = "unavailable"


class MigrationFailed(Exception):
    """The schema cannot be migrated; a retry does not help."""


@contextmanager
def translated() -> Iterator[None]:
    """Raises DatabaseUnavailable for transient faults; other errors pass unchanged."""
    try:
        yield
    except exc.TimeoutError as error:
        raise DatabaseUnavailable("no connection became free in time") from error
    except exc.DBAPIError as error:
        if not _is_transient(error.orig):
            raise
        raise DatabaseUnavailable(f"the database is unavailable: {error.orig}") from error
    except (sqlite3.Error, psycopg.Error) as error:
        # Failures to connect or to begin come as the driver raised them.
        if not _is_transient(error):
            raise
        raise DatabaseUnavailable(f"the database is unavailable: {error}") from error


def _is_transient(cause: BaseException | None) -> bool:
    if isinstance(cause, psycopg.Error):
        return _is_transient_in_postgresql(cause)
    return isinstance(cause, sqlite3.Error) and _is_transient_in_sqlite(cause)


def _is_transient_in_postgresql(cause: psycopg.Error) -> bool:
    if cause.sqlstate is None:
        # No answer from the server: the connection is gone.
        return isinstance(cause, psycopg.OperationalError)
    return (
        cause.sqlstate[:2] in _POSTGRESQL_TRANSIENT_CLASSES or cause.sqlstate in _POSTGRESQL_TRANSIENT_CODES
    )


def _is_transient_in_sqlite(cause: sqlite3.Error) -> bool:
    code: int | None = getattr(cause, "sqlite_errorcode", None)
    if code is None:
        # Raised by the driver and not by SQLite: a closed connection.
        return isinstance(cause, sqlite3.OperationalError)
    return code & 0xFF in _SQLITE_TRANSIENT
