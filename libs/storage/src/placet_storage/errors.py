"""What can go wrong below a query that is not the query's fault."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from sqlalchemy import exc

# The primary result codes of SQLite (https://sqlite.org/rescode.html) that pass by themselves or by an
# operator's hand: somebody else's lock, the disk, memory. Anything else is a mistake in our own SQL.
_SQLITE_PASSING = frozenset(
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
# The same for PostgreSQL (https://www.postgresql.org/docs/current/errcodes-appendix.html), by class of
# SQLSTATE: connection, rolled back for another's sake, resources, operator intervention, system error; and
# single codes: a transaction that was idle or open for too long, a lock that was not available.
_POSTGRESQL_PASSING_CLASSES = frozenset({"08", "40", "53", "57", "58"})
_POSTGRESQL_PASSING_CODES = frozenset({"25P03", "25P04", "55P03"})


class DatabaseUnavailable(Exception):
    """The database cannot be reached, is locked, or has no room: the same call may succeed later.

    Nothing was acknowledged. After a lost connection a commit may nevertheless have happened, so whoever
    tries again must be idempotent.
    """

    # Read by placet_rpc, which this package does not know.
    grpc_kind = "unavailable"


class MigrationFailed(Exception):
    """The schema cannot be brought to what this program needs; trying again does not help."""


@contextmanager
def translated() -> Iterator[None]:
    """Raises DatabaseUnavailable for whatever passes; all other errors go on unchanged."""
    try:
        yield
    except exc.TimeoutError as error:
        raise DatabaseUnavailable("no connection became free in time") from error
    except exc.DBAPIError as error:
        if not _passes(error.orig):
            raise
        raise DatabaseUnavailable(f"the database is unavailable: {error.orig}") from error
    except (sqlite3.Error, psycopg.Error) as error:
        # What fails while a connection or a transaction is begun comes as the driver raised it.
        if not _passes(error):
            raise
        raise DatabaseUnavailable(f"the database is unavailable: {error}") from error


def _passes(cause: BaseException | None) -> bool:
    if isinstance(cause, psycopg.Error):
        return _passes_in_postgresql(cause)
    return isinstance(cause, sqlite3.Error) and _passes_in_sqlite(cause)


def _passes_in_postgresql(cause: psycopg.Error) -> bool:
    if cause.sqlstate is None:
        # No answer from the server: the connection is gone.
        return isinstance(cause, psycopg.OperationalError)
    return cause.sqlstate[:2] in _POSTGRESQL_PASSING_CLASSES or cause.sqlstate in _POSTGRESQL_PASSING_CODES


def _passes_in_sqlite(cause: sqlite3.Error) -> bool:
    code: int | None = getattr(cause, "sqlite_errorcode", None)
    if code is None:
        # Raised by the driver and not by SQLite, which is how it reports a closed connection.
        return isinstance(cause, sqlite3.OperationalError)
    return code & 0xFF in _SQLITE_PASSING
