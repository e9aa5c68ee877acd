"""A service's database: transactions, each with its span."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Self

from opentelemetry import trace
from opentelemetry.trace import SpanKind
from sqlalchemy import Table
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from placet_storage.engines import Dialect, Engines, Location, locate, open_engines
from placet_storage.errors import translated
from placet_storage.migrating import upgrade

_tracer = trace.get_tracer("placet_storage")


class Database:
    """Connections to one database, made on first use and kept until `close`.

    Belongs to the event loop that it was opened on.
    """

    def __init__(self, location: Location, engines: Engines) -> None:
        self._location = location
        self._engines = engines

    @classmethod
    async def open(cls, url: str, migrations: str, *, pool_size: int = 10) -> Self:
        """Opens the database, creating it if it is a SQLite file, with its schema up to date.

        `url`: `sqlite:///path` or `postgresql://…`. `migrations`: the package whose folder `migrations`
        holds the Alembic scripts. `pool_size`: the most connections to PostgreSQL.
        Raises ValueError for another kind of URL, DatabaseUnavailable, MigrationFailed.
        """
        location = locate(url)
        await asyncio.to_thread(upgrade, location, migrations)
        return cls(location, open_engines(location, pool_size))

    @property
    def dialect(self) -> Dialect:
        """Which of the two databases this is."""
        return self._location.dialect

    @asynccontextmanager
    async def write(self, operation: str = "write") -> AsyncIterator[AsyncConnection]:
        """One transaction that may write: on the disk when the block ends, undone if the block raises.

        In SQLite all writers of this process take turns, and the lock is taken at the start, so that what was
        read in the block is still so when it writes. In PostgreSQL the isolation is READ COMMITTED.
        `operation` names the span. Raises DatabaseUnavailable after waiting for 5 s at most.
        """
        with self._span(operation), translated():
            async with self._engines.writer.begin() as connection:
                yield connection

    @asynccontextmanager
    async def read(self, operation: str = "read") -> AsyncIterator[AsyncConnection]:
        """One snapshot: all reads in the block see the same state, and the database refuses to write.

        `operation` names the span. Raises DatabaseUnavailable after waiting for 5 s at most.
        """
        with self._span(operation), translated():
            async with self._engines.reader.begin() as connection:
                yield connection

    def insert(self, table: Table) -> sqlite.Insert | postgresql.Insert:
        """An INSERT that also has `on_conflict_do_nothing` and `on_conflict_do_update`, alike on both."""
        statement = sqlite.insert(table) if self.dialect == "sqlite" else postgresql.insert(table)
        # Else `rowcount`, which tells whether there was a conflict, is -1 in PostgreSQL.
        return statement.execution_options(preserve_rowcount=True)

    async def close(self) -> None:
        """Closes all connections; no transaction may be under way. Safe to call twice."""
        # The writer last: the last connection to a SQLite file moves the write-ahead log into it.
        await self._engines.reader.dispose()
        await self._engines.writer.dispose()

    @contextmanager
    def _span(self, operation: str) -> Iterator[None]:
        # Without a parent nobody would find the span: background polling would only fill the store.
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
