"""A service's database: transactions, each with its span."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Self, TypeVar, TypeVarTuple

from opentelemetry import trace
from opentelemetry.trace import SpanKind
from sqlalchemy import Connection, Table
from sqlalchemy.dialects import postgresql, sqlite

from placet_storage.engines import Dialect, Lanes, Location, locate, open_lanes
from placet_storage.errors import translated
from placet_storage.lanes import Lane
from placet_storage.migrating import upgrade
from placet_storage.shredder import Shredder

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

_tracer = trace.get_tracer("placet_storage")


class Database:
    """Connections to one database, made on first use and kept until `close`.

    A transaction's work is a plain function on a connection, which `transact` and `query` run on a thread
    from its beginning to its end: coroutines would cost two turns of threads for every statement.
    """

    def __init__(self, location: Location, lanes: Lanes) -> None:
        self._location = location
        self._lanes = lanes
        self._namespace = location.namespace
        self._shredder = Shredder()

    @classmethod
    async def open(cls, url: str, migrations: str, *, pool_size: int = 10) -> Self:
        """Opens the database, creating it if it is a SQLite file, with its schema up to date.

        `url`: `sqlite:///path` or `postgresql://…`. `migrations`: the package whose folder `migrations`
        holds the Alembic scripts. `pool_size`: the most connections to PostgreSQL.
        Raises ValueError for another kind of URL, DatabaseUnavailable, MigrationFailed.
        """
        location = locate(url)
        await asyncio.to_thread(upgrade, location, migrations)
        return cls(location, open_lanes(location, pool_size))

    @property
    def dialect(self) -> Dialect:
        """Which of the two databases this is."""
        return self._location.dialect

    async def transact(
        self, work: Callable[[Connection, *Ts], T], *arguments: *Ts, operation: str = "write"
    ) -> T:
        """Runs `work(connection, *arguments)` in one transaction that may write, and returns its result.

        All of it is on the disk when this returns, and none of it if `work` raises. In SQLite all writers of
        this process take turns, and the lock is taken at the start, so that what `work` has read is still so
        when it writes. In PostgreSQL the isolation is READ COMMITTED. A cancelled caller leaves at once, and
        its transaction is undone unless its commit had begun.

        `work` runs on another thread: it must touch nothing that the event loop changes meanwhile, and its
        result must not need the connection any more. `operation` names the span. Raises DatabaseUnavailable
        after waiting for 5 s at most, for its turn or for a lock, and whatever `work` raises.
        """
        return await self._run(self._lanes.writer, lambda connection: work(connection, *arguments), operation)

    async def transact_unsynced(
        self, work: Callable[[Connection, *Ts], T], *arguments: *Ts, operation: str = "write"
    ) -> T:
        """As `transact`, but does not wait for the disk: for what can be made again.

        A crash of this process loses nothing. A crash of the machine (or of PostgreSQL) may undo the latest
        of these transactions, whole and newest first, but none that `transact` has followed.
        """
        return await self._run(
            self._lanes.unsynced, lambda connection: work(connection, *arguments), operation
        )

    async def query(
        self, work: Callable[[Connection, *Ts], T], *arguments: *Ts, operation: str = "read"
    ) -> T:
        """Runs `work(connection, *arguments)` on one snapshot, and returns its result.

        All reads in `work` see the same state, and the database refuses to write. Otherwise as `transact`.
        """
        return await self._run(self._lanes.reader, lambda connection: work(connection, *arguments), operation)

    async def shred(self) -> bool:
        """Takes out of a SQLite file what transactions deleted that said so with `to_be_shredded`.

        False when somebody reads it just now, or the file is too large: it is for another time. Writers wait
        meanwhile, about a second for each 100 MB. Raises DatabaseUnavailable.
        """
        if self.dialect != "sqlite":
            return True
        with translated():
            return await self._lanes.writer.run_outside(self._shredder.shred)

    async def _run(self, lane: Lane, work: Callable[[Connection], T], operation: str) -> T:
        with self._span(operation), translated():
            return await lane.run(work)

    def insert(self, table: Table) -> sqlite.Insert | postgresql.Insert:
        """An INSERT that also has `on_conflict_do_nothing` and `on_conflict_do_update`, alike on both."""
        statement = sqlite.insert(table) if self.dialect == "sqlite" else postgresql.insert(table)
        # Else `rowcount`, which tells whether there was a conflict, is -1 in PostgreSQL.
        return statement.execution_options(preserve_rowcount=True)

    async def close(self) -> None:
        """Closes all connections; no transaction may be under way. Safe to call twice."""
        # The writer last: the last connection to a SQLite file moves the write-ahead log into it.
        await self._lanes.reader.close()
        await self._lanes.writer.close()

    @contextmanager
    def _span(self, operation: str) -> Iterator[None]:
        # Without a parent nobody would find the span: background polling would only fill the store.
        if not trace.get_current_span().get_span_context().is_valid:
            yield
            return
        attributes = {
            "db.system.name": self._location.dialect,
            "db.namespace": self._namespace,
            "db.operation.name": operation,
        }
        with _tracer.start_as_current_span(
            f"{operation} {self._namespace}", kind=SpanKind.CLIENT, attributes=attributes
        ):
            yield
