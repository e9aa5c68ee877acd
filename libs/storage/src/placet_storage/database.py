"""A service's database: transactions, each with its span."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Self, TypeVar, TypeVarTuple

from opentelemetry import trace
from opentelemetry.trace import SpanKind
from sqlalchemy import Connection, Table
from sqlalchemy.dialects import postgresql, sqlite

from placet_storage.engines import Dialect, Executors, Location, locate, open_executors
from placet_storage.errors import translated
from placet_storage.executor import Executor
from placet_storage.migrations import upgrade

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

PURGE_SECONDS = 3600.0
"""Interval in which services purge what is past its retention."""

_tracer = trace.get_tracer("placet_storage")


async def purge_expired(purge: Callable[[datetime], Awaitable[int]], keep: timedelta) -> None:
    """Deletes all rows older than `keep`, some in each transaction.

    `purge` deletes some rows older than a time, and returns their number; 0 when none is left.
    """
    before = datetime.now(UTC) - keep
    while await purge(before):
        pass


class Database:
    """Connections to one database, made on first use and kept until `close`.

    A transaction's work is a plain function on a connection. `transact` and `query` run it on one thread:
    coroutines would cost two thread switches for every statement.
    """

    def __init__(self, location: Location, executors: Executors) -> None:
        self._location = location
        self._executors = executors

    @classmethod
    async def open(cls, url: str, migrations: str, *, pool_size: int = 10) -> Self:
        """Opens the database, creating it if it is a SQLite file, with its schema up to date.

        `url`: `sqlite:///path` or `postgresql://…`. `migrations`: the package whose folder `migrations`
        holds the Alembic scripts. `pool_size`: the most connections to PostgreSQL.
        Raises ValueError for another kind of URL, DatabaseUnavailable, MigrationFailed.
        """
        location = locate(url)
        await asyncio.to_thread(upgrade, location, migrations)
        return cls(location, open_executors(location, pool_size))

    @property
    def dialect(self) -> Dialect:
        """Kind of the database."""
        return self._location.dialect

    async def transact(
        self, work: Callable[[Connection, *Ts], T], *arguments: *Ts, operation: str = "write"
    ) -> T:
        """Runs `work(connection, *arguments)` in one transaction that may write, and returns its result.

        All of it is on the disk when this returns, and none of it if `work` raises. In SQLite the writers of
        this process take turns, and the lock is taken at the start: what `work` has read still holds when it
        writes. In PostgreSQL the isolation is READ COMMITTED. A cancelled caller returns at once, and its
        transaction is rolled back unless its commit had begun.

        `work` runs on another thread: it must touch nothing that the event loop changes meanwhile, and its
        result must not need the connection. `operation` names the span. Raises DatabaseUnavailable after
        waiting for a thread or a lock for 5 s at most, and whatever `work` raises.
        """
        return await self._run(
            self._executors.writer, lambda connection: work(connection, *arguments), operation
        )

    async def transact_unsynced(
        self, work: Callable[[Connection, *Ts], T], *arguments: *Ts, operation: str = "write"
    ) -> T:
        """As `transact`, without waiting for the disk: for rows that can be derived again.

        A crash of this process loses nothing. A crash of the machine, or of PostgreSQL, may lose the latest
        of these transactions, each whole and newest first, but none that preceded a `transact`.
        """
        return await self._run(
            self._executors.unsynced, lambda connection: work(connection, *arguments), operation
        )

    async def query(
        self, work: Callable[[Connection, *Ts], T], *arguments: *Ts, operation: str = "read"
    ) -> T:
        """Runs `work(connection, *arguments)` on one snapshot, and returns its result.

        All reads in `work` see the same state, and the database refuses writes. Otherwise as `transact`.
        """
        return await self._run(
            self._executors.reader, lambda connection: work(connection, *arguments), operation
        )

    async def _run(self, executor: Executor, work: Callable[[Connection], T], operation: str) -> T:
        with self._span(operation), translated():
            return await executor.run(work)

    def insert(self, table: Table) -> sqlite.Insert | postgresql.Insert:
        """Returns an INSERT with `on_conflict_do_nothing` and `on_conflict_do_update` for this dialect."""
        statement = sqlite.insert(table) if self.dialect == "sqlite" else postgresql.insert(table)
        # Without it, `rowcount`, which shows a conflict, is -1 in PostgreSQL.
        return statement.execution_options(preserve_rowcount=True)

    async def close(self) -> None:
        """Closes all connections; no transaction may be running. Safe to call twice."""
        # The writer last: the last connection to a SQLite file checkpoints and removes its write-ahead log.
        await self._executors.reader.close()
        await self._executors.writer.close()

    @contextmanager
    def _span(self, operation: str) -> Iterator[None]:
        # A span without a parent cannot be found; those of background polling would only fill the store.
        if not trace.get_current_span().get_span_context().is_valid:
            yield
            return
        attributes = {
            "db.system.name": self._location.dialect,
            "db.namespace": self._location.namespace,
            "db.operation.name": operation,
        }
        with _tracer.start_as_current_span(
            f"{operation} {self._location.namespace}", kind=SpanKind.CLIENT, attributes=attributes
        ):
            yield
