"""NotificationService's deliveries. Every query is scoped by tenant."""

from collections.abc import Sequence
from datetime import datetime

import sqlalchemy as sa

from placet_logtail import Batch
from placet_notification.domain import MAX_CURSOR, Delivery, Notification, Payload, Status, code_of
from placet_notification.store.leases import (
    Claim,
    Inserts,
    Lease,
    claim,
    record_delivered,
    record_failure,
    take_lease,
)
from placet_notification.store.tables import DELIVERY, HAS_WORDS, STREAM, D, delivery_of, get
from placet_storage import Database, truncate_wal_after_commit

# Notifications in one page of the stream.
STREAM_PAGE = 100
# Deliveries purged in one transaction.
PURGED_AT_ONCE = 500


class Store:
    """The deliveries of all tenants. Raises the errors of placet_storage."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._inserts = Inserts.on(database)

    async def claim(self, tenant: str, key: str, payload: Payload, lease: Lease) -> Claim:
        """Takes the lease of a delivery, creating the delivery if it is new.

        `key` is the caller's idempotency key. Raises AlreadyExists ID_REUSED when it stands for another
        payload.
        """
        return await self._database.transact(
            claim, self._inserts, tenant, key, payload, lease, operation="claim"
        )

    async def take_lease(self, tenant: str, key: str, payload: Payload, lease: Lease) -> Claim:
        """Takes the lease of a delivery that exists."""
        return await self._database.transact(take_lease, tenant, key, payload, lease, operation="take_lease")

    async def delivered(self, tenant: str, delivery: Delivery, *, now: datetime) -> Delivery:
        """Records that the channel took it, whoever holds the lease now, unless another attempt was final."""
        return await self._database.transact(record_delivered, tenant, delivery, now, operation="delivered")

    async def refused(self, tenant: str, id: str, *, lease: Lease, detail: str) -> Delivery:
        """Records that the channel refused it for good, unless another attempt holds the lease."""
        return await self._failed(tenant, id, lease, Status.FAILED, detail)

    async def not_taken(self, tenant: str, id: str, *, lease: Lease, detail: str) -> Delivery:
        """Records a failed attempt and releases the lease, unless another attempt holds it."""
        return await self._failed(tenant, id, lease, Status.PENDING, detail)

    async def _failed(self, tenant: str, id: str, lease: Lease, status: Status, detail: str) -> Delivery:
        return await self._database.transact(
            record_failure, tenant, id, lease, status, detail, operation="record failure"
        )

    async def purge(self, before: datetime) -> int:
        """Erases the words of some deliveries older than `before`; returns their number, 0 when none is left.

        The deliveries stay: the same key and payload still give the same answer.
        """
        return await self._database.transact(_purge, before, operation="purge")

    async def get(self, tenant: str, id: str) -> Delivery:
        """One delivery; NotFound UNKNOWN_DELIVERY if the tenant has none with that id."""
        return await self._database.query(get, tenant, id, operation="get_delivery")

    async def newest(
        self, tenant: str, *, approval_id: str | None, before: int | None, limit: int
    ) -> Sequence[Delivery]:
        """At most `limit` deliveries, newest first: of one request or all, below the cursor `before`."""
        query = sa.select(DELIVERY).where(D.tenant == tenant).order_by(D.cursor.desc()).limit(limit)
        if approval_id is not None:
            query = query.where(D.approval_id == approval_id)
        if before is not None:
            query = query.where(D.cursor < before)
        return await self._database.query(_deliveries, query, operation="list_deliveries")

    async def read(self, tenant: str, cursor: int, recipient: str | None = None) -> Batch[Notification]:
        """A page of the tenant's stream from a cursor on, oldest first. `recipient`: only theirs."""
        mine = sa.true() if recipient is None else D.recipient == recipient
        here = (D.tenant == tenant, D.cursor >= min(cursor, MAX_CURSOR), mine)
        query = sa.select(DELIVERY).where(*here).order_by(D.cursor).limit(STREAM_PAGE)
        page, end = await self._database.query(_stream, query, tenant, operation="read_stream")
        # Past the notifications of others, so that they are not read again.
        following = page[-1].cursor + 1 if len(page) == STREAM_PAGE else max(end, cursor)
        return Batch(page, following, end)

    async def ends(self, tenants: Sequence[str]) -> dict[str, int]:
        """The next cursor of each of these tenants' streams."""
        return await self._database.query(_ends, tenants, operation="stream_ends")


_OLDEST = (
    sa.select(D.tenant, D.cursor, D.detail)
    .where(HAS_WORDS, D.create_time < sa.bindparam("before", type_=D.create_time.type))
    .order_by(D.create_time)
    .limit(PURGED_AT_ONCE)
)
_PURGE = (
    sa.update(DELIVERY)
    .where(D.tenant == sa.bindparam("this_tenant"), D.cursor == sa.bindparam("this_cursor"))
    .values(recipient="", title="", reason="", approver="", detail=sa.bindparam("new_code"))
)


def _purge(connection: sa.Connection, before: datetime) -> int:
    oldest = connection.execute(_OLDEST, {"before": before}).all()
    if oldest:
        gone = [
            {"this_tenant": row.tenant, "this_cursor": row.cursor, "new_code": code_of(row.detail)}
            for row in oldest
        ]
        connection.execute(_PURGE, gone)
        truncate_wal_after_commit(connection)
    return len(oldest)


def _deliveries(connection: sa.Connection, query: sa.Executable) -> Sequence[Delivery]:
    return [delivery_of(row) for row in connection.execute(query)]


def _stream(
    connection: sa.Connection, query: sa.Executable, tenant: str
) -> tuple[Sequence[Notification], int]:
    end = _ends(connection, [tenant])[tenant]
    return [delivery.notification for delivery in _deliveries(connection, query)], end


def _ends(connection: sa.Connection, tenants: Sequence[str]) -> dict[str, int]:
    query = sa.select(STREAM.c.tenant, STREAM.c.last_cursor).where(STREAM.c.tenant.in_(tenants))
    last = {row.tenant: row.last_cursor for row in connection.execute(query)}
    return {tenant: last.get(tenant, 0) + 1 for tenant in tenants}
