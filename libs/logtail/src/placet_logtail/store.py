"""Tables of consumers in a service's own database: cursors, leases, skipped entries."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

import sqlalchemy as sa

from placet_storage import Database, UtcDateTime


class CursorMoved(Exception):
    """Another process moved the cursor; the reader resumes from its new position."""


class LogTables:
    """The tables; a service declares them in its metadata, and makes them in its migration."""

    def __init__(self, metadata: sa.MetaData) -> None:
        # A consumer's position in each tenant's log.
        self.cursor = sa.Table(
            "log_cursor",
            metadata,
            sa.Column("consumer", sa.Text, primary_key=True),
            sa.Column("tenant", sa.Text, primary_key=True),
            sa.Column("next_index", sa.BigInteger, nullable=False),
        )
        # The one process that writes for a consumer and tenant; taken over when it falls silent.
        self.lease = sa.Table(
            "log_lease",
            metadata,
            sa.Column("consumer", sa.Text, primary_key=True),
            sa.Column("tenant", sa.Text, primary_key=True),
            sa.Column("holder", sa.Text, nullable=False),
            sa.Column("expire_time", UtcDateTime, nullable=False),
        )
        # Entries that a consumer could not use.
        self.skipped = sa.Table(
            "log_skipped",
            metadata,
            sa.Column("consumer", sa.Text, primary_key=True),
            sa.Column("tenant", sa.Text, primary_key=True),
            sa.Column("log_index", sa.BigInteger, primary_key=True, autoincrement=False),
            sa.Column("reason", sa.Text, nullable=False),
        )


class Cursor:
    """One consumer's cursors. Its methods are parts of a transaction: that of what the consumer writes."""

    def __init__(self, database: Database, tables: LogTables, consumer: str) -> None:
        cursor, skipped = tables.cursor, tables.skipped
        self._consumer = consumer
        mine = cursor.c.consumer == consumer
        tenant = sa.bindparam("of_tenant", type_=sa.Text)
        self._read = sa.select(cursor.c.next_index).where(mine, cursor.c.tenant == tenant)
        self._begin = database.insert(cursor).on_conflict_do_nothing()
        self._move = (
            sa.update(cursor)
            .where(mine, cursor.c.tenant == tenant, cursor.c.next_index == sa.bindparam("expected"))
            .values(next_index=sa.bindparam("following"))
        )
        self._skip = database.insert(skipped).on_conflict_do_nothing()
        self._drops = [(table, table.c.consumer == consumer) for table in (cursor, skipped)]

    def read(self, connection: sa.Connection, tenant: str) -> int:
        """The first index of the tenant's log that the consumer has not read."""
        found: int | None = connection.scalar(self._read, {"of_tenant": tenant})
        return found or 0

    def move(self, connection: sa.Connection, tenant: str, expected: int, following: int) -> None:
        """Moves the cursor. Raises CursorMoved unless it stood at `expected`."""
        if expected == 0:
            first = {"consumer": self._consumer, "tenant": tenant, "next_index": following}
            moved = connection.execute(self._begin, first).rowcount
        else:
            move = {"of_tenant": tenant, "expected": expected, "following": following}
            moved = connection.execute(self._move, move).rowcount
        if not moved:
            raise CursorMoved(tenant)

    def skip(self, connection: sa.Connection, tenant: str, log_index: int, reason: str) -> None:
        """Keeps that an entry could not be used."""
        connection.execute(
            self._skip,
            {"consumer": self._consumer, "tenant": tenant, "log_index": log_index, "reason": reason},
        )

    def drop(self, connection: sa.Connection, tenant: str | None = None) -> None:
        """Begins anew, for one tenant or for all."""
        for table, mine in self._drops:
            of_tenant = sa.true() if tenant is None else table.c.tenant == tenant
            connection.execute(sa.delete(table).where(mine, of_tenant))


class SkippedEntries:
    """Entries that consumers could not use."""

    def __init__(self, database: Database, tables: LogTables) -> None:
        self._database = database
        self._skipped = tables.skipped

    async def of(self, tenant: str, consumer: str, limit: int) -> list[tuple[int, str]]:
        """Index and reason of the first `limit` entries that a consumer skipped."""
        skipped = self._skipped
        statement = (
            sa.select(skipped.c.log_index, skipped.c.reason)
            .where(skipped.c.consumer == consumer, skipped.c.tenant == tenant)
            .order_by(skipped.c.log_index)
            .limit(limit)
        )
        return await self._database.query(
            lambda connection: [(row.log_index, row.reason) for row in connection.execute(statement)],
            operation="list skipped entries",
        )


class LeaseStore:
    """Leases of the leading processes. Each method is one transaction."""

    def __init__(self, database: Database, tables: LogTables) -> None:
        self._database = database
        self._lease = tables.lease

    async def hold(
        self, wanted: Iterable[tuple[str, str]], holder: str, now: datetime, duration: timedelta
    ) -> set[tuple[str, str]]:
        """Takes or keeps the leases of these consumers and tenants; answers those that the holder has now.

        A lease that ends later than two durations from now was taken by a wrong clock, and counts as expired.
        Not synced: a lease that is lost lets another process begin, which the cursor keeps from harm.
        """
        # In one order, so that two processes never wait for each other's rows.
        rows = [
            {"consumer": consumer, "tenant": tenant, "holder": holder, "expire_time": now + duration}
            for consumer, tenant in sorted(wanted)
        ]
        if not rows:
            return set()
        lease = self._lease
        statement = self._database.insert(lease).values(rows)
        statement = statement.on_conflict_do_update(
            index_elements=[lease.c.consumer, lease.c.tenant],
            set_={"holder": statement.excluded.holder, "expire_time": statement.excluded.expire_time},
            where=(lease.c.holder == holder)
            | (lease.c.expire_time < now)
            | (lease.c.expire_time > now + 2 * duration),
        )
        return await self._database.transact_unsynced(
            _held, statement.returning(lease.c.consumer, lease.c.tenant), operation="lease"
        )

    async def release(self, holder: str) -> None:
        """Gives all of a holder's leases back."""
        statement = sa.delete(self._lease).where(self._lease.c.holder == holder)
        await self._database.transact(_execute, statement, operation="release leases")


def _held(connection: sa.Connection, statement: sa.Executable) -> set[tuple[str, str]]:
    return {(row.consumer, row.tenant) for row in connection.execute(statement)}


def _execute(connection: sa.Connection, statement: sa.Executable) -> None:
    connection.execute(statement)
