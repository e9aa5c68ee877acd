"""The tables of NotificationService and their queries. Every one is scoped by tenant."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from placet_notification.domain import (
    Channel,
    Delivery,
    Kind,
    Notification,
    Payload,
    State,
    Status,
    notification_id,
    payload_digest,
)
from placet_rpc.errors import AlreadyExists, NotFound
from placet_storage import Database, UtcDateTime

METADATA = sa.MetaData()

# Where each tenant's stream ends. Its row is locked by whoever adds to the stream, so that cursors have no
# gaps and become visible in their order.
STREAM = sa.Table(
    "stream",
    METADATA,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("last_cursor", sa.BigInteger, nullable=False),
)

# A notification and how far it got. `lease` names the attempt that is under way, until `lease_until`.
DELIVERY = sa.Table(
    "delivery",
    METADATA,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("cursor", sa.BigInteger, primary_key=True),
    sa.Column("id", sa.Text, nullable=False),
    sa.Column("payload_digest", sa.LargeBinary, nullable=False),
    sa.Column("create_time", UtcDateTime, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("approval_id", sa.Text, nullable=False),
    sa.Column("content_digest", sa.LargeBinary, nullable=False),
    sa.Column("recipient", sa.Text, nullable=False),
    sa.Column("title", sa.Text, nullable=False),
    sa.Column("subject_id", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("tier", sa.BigInteger, nullable=False),
    sa.Column("due", UtcDateTime),
    sa.Column("state", sa.Text),
    sa.Column("approver", sa.Text, nullable=False),
    sa.Column("channel", sa.Text, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("attempts", sa.BigInteger, nullable=False),
    sa.Column("detail", sa.Text, nullable=False),
    sa.Column("deliver_time", UtcDateTime),
    sa.Column("lease", sa.Text),
    sa.Column("lease_until", UtcDateTime),
    sa.UniqueConstraint("tenant", "id", name="delivery_id"),
    sa.Index("delivery_recipient", "tenant", "recipient", "cursor"),
    sa.Index("delivery_approval", "tenant", "approval_id", "cursor"),
)

_D = DELIVERY.c


@dataclass(frozen=True)
class Lease:
    """The turn of one attempt, from `begins` until it gives the turn back, at the latest until `ends`."""

    id: str
    begins: datetime
    ends: datetime


@dataclass(frozen=True)
class Claim:
    """What a call found: the delivery, whether it is this call's turn to try, and whether it is new.

    Not `granted` with a PENDING delivery means that another attempt is under way.
    """

    delivery: Delivery
    granted: bool
    created: bool = False


class Store:
    """NotificationService's rows."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def claim(self, tenant: str, key: str, payload: Payload, lease: Lease) -> Claim:
        """Takes the turn to try a delivery, creating it if it is new; nobody else gets it during the lease.

        `key` is the caller's idempotency key. Raises AlreadyExists ID_REUSED when it stands for another
        payload.
        """
        # It adds nothing where the tenant has a stream already.
        stream = self._database.insert(STREAM).values(tenant=tenant, last_cursor=0).on_conflict_do_nothing()
        return await self._database.transact(_claim, stream, tenant, key, payload, lease, operation="claim")

    async def delivered(self, tenant: str, id: str, *, now: datetime) -> Delivery:
        """Records that the channel took it: whoever's turn it is now, that is the truth."""
        values = {"status": Status.DELIVERED, "deliver_time": now, "lease": None, "lease_until": None}
        return await self._settle("delivered", tenant, id, [_D.status != Status.DELIVERED], values)

    async def refused(self, tenant: str, id: str, *, lease: Lease, detail: str) -> Delivery:
        """Records that the channel refused it for good, unless the turn has passed to another attempt."""
        values = {"status": Status.FAILED, "detail": detail, "lease": None, "lease_until": None}
        return await self._settle("refused", tenant, id, [_D.lease == lease.id], values)

    async def not_taken(self, tenant: str, id: str, *, lease: Lease, detail: str) -> Delivery:
        """Records an attempt that failed for now and gives the turn back, unless it has passed to another."""
        values = {"detail": detail, "lease": None, "lease_until": None}
        return await self._settle("not_taken", tenant, id, [_D.lease == lease.id], values)

    async def _settle(
        self,
        operation: str,
        tenant: str,
        id: str,
        conditions: Sequence[sa.ColumnElement[bool]],
        values: Mapping[str, object],
    ) -> Delivery:
        change = (
            sa.update(DELIVERY)
            .where(_D.tenant == tenant, _D.id == id, *conditions)
            .values(dict(values))
            .returning(DELIVERY)
        )
        return await self._database.transact(_change, change, tenant, id, operation=operation)

    async def get(self, tenant: str, id: str) -> Delivery:
        """One delivery; NotFound UNKNOWN_DELIVERY if the tenant has none with that id."""
        return await self._database.query(_get, tenant, id, operation="get_delivery")

    async def newest(
        self, tenant: str, *, approval_id: str | None, before: int | None, limit: int
    ) -> Sequence[Delivery]:
        """At most `limit` deliveries, newest first: of one request or all, older than the cursor `before`."""
        query = sa.select(DELIVERY).where(_D.tenant == tenant).order_by(_D.cursor.desc()).limit(limit)
        if approval_id is not None:
            query = query.where(_D.approval_id == approval_id)
        if before is not None:
            query = query.where(_D.cursor < before)
        return await self._database.query(_deliveries, query, operation="list_deliveries")

    async def after(
        self, tenant: str, cursor: int, *, recipient: str | None, limit: int
    ) -> tuple[Sequence[Notification], int]:
        """At most `limit` notifications after the cursor, oldest first, and the end of the stream then.

        Fewer than `limit` means that there are no more up to that end. `recipient`: only theirs.
        """
        query = (
            sa.select(DELIVERY)
            .where(_D.tenant == tenant, _D.cursor > cursor)
            .order_by(_D.cursor)
            .limit(limit)
        )
        if recipient is not None:
            query = query.where(_D.recipient == recipient)
        return await self._database.query(_stream, query, tenant, operation="read_stream")

    async def ends(self, tenants: Sequence[str]) -> dict[str, int]:
        """The last cursor of each of these tenants that has one."""
        return await self._database.query(_ends, tenants, operation="stream_ends")


# A row's columns are typed by SQLAlchemy as Any; `_delivery` is where they get their types.
_Row = sa.Row[Any]


# From here on a transaction's work, as plain functions on its connection.


def _claim(
    connection: sa.Connection, stream: sa.Insert, tenant: str, key: str, payload: Payload, lease: Lease
) -> Claim:
    id = notification_id(tenant, key)
    row = _locked(connection, tenant, id)
    if row is None:
        _lock_stream(connection, stream, tenant)
        row = _locked(connection, tenant, id)  # Somebody may have been quicker.
    if row is None:
        created = _create(connection, tenant, id, payload, lease)
        return Claim(_delivery(created), granted=True, created=True)
    if row.payload_digest != payload_digest(payload):
        raise AlreadyExists(
            "this idempotency key was used for another notification; use a new key",
            reason="ID_REUSED",
            metadata={"idempotency_key": key},
        )
    if row.status != Status.PENDING or (row.lease is not None and lease.begins < row.lease_until):
        return Claim(_delivery(row), granted=False)
    claimed = connection.execute(
        sa.update(DELIVERY)
        .where(_D.tenant == tenant, _D.id == id)
        .values(lease=lease.id, lease_until=lease.ends, attempts=_D.attempts + 1)
        .returning(DELIVERY)
    )
    return Claim(_delivery(claimed.one()), granted=True)


def _locked(connection: sa.Connection, tenant: str, id: str) -> _Row | None:
    query = sa.select(DELIVERY).where(_D.tenant == tenant, _D.id == id).with_for_update()
    return connection.execute(query).one_or_none()


def _lock_stream(connection: sa.Connection, stream: sa.Insert, tenant: str) -> None:
    connection.execute(stream)
    connection.execute(sa.select(STREAM.c.last_cursor).where(STREAM.c.tenant == tenant).with_for_update())


def _create(connection: sa.Connection, tenant: str, id: str, payload: Payload, lease: Lease) -> _Row:
    advanced = connection.execute(
        sa.update(STREAM)
        .where(STREAM.c.tenant == tenant)
        .values(last_cursor=STREAM.c.last_cursor + 1)
        .returning(STREAM.c.last_cursor)
    )
    created = connection.execute(
        sa.insert(DELIVERY)
        .values(
            tenant=tenant,
            cursor=advanced.scalar_one(),
            id=id,
            payload_digest=payload_digest(payload),
            create_time=lease.begins,
            **{field.name: getattr(payload, field.name) for field in fields(payload)},
            channel=payload.channel,
            status=Status.PENDING,
            attempts=1,
            detail="",
            lease=lease.id,
            lease_until=lease.ends,
        )
        .returning(DELIVERY)
    )
    row: _Row = created.one()
    return row


def _change(connection: sa.Connection, change: sa.Executable, tenant: str, id: str) -> Delivery:
    row: _Row | None = connection.execute(change).one_or_none()
    if row is None:
        row = _locked(connection, tenant, id)
    if row is None:
        raise _unknown(id)
    return _delivery(row)


def _get(connection: sa.Connection, tenant: str, id: str) -> Delivery:
    row = connection.execute(sa.select(DELIVERY).where(_D.tenant == tenant, _D.id == id)).one_or_none()
    if row is None:
        raise _unknown(id)
    return _delivery(row)


def _deliveries(connection: sa.Connection, query: sa.Executable) -> Sequence[Delivery]:
    return [_delivery(row) for row in connection.execute(query)]


def _stream(
    connection: sa.Connection, query: sa.Executable, tenant: str
) -> tuple[Sequence[Notification], int]:
    end = connection.scalar(sa.select(STREAM.c.last_cursor).where(STREAM.c.tenant == tenant))
    return [delivery.notification for delivery in _deliveries(connection, query)], end or 0


def _ends(connection: sa.Connection, tenants: Sequence[str]) -> dict[str, int]:
    query = sa.select(STREAM.c.tenant, STREAM.c.last_cursor).where(STREAM.c.tenant.in_(tenants))
    return {row.tenant: row.last_cursor for row in connection.execute(query)}


def _delivery(row: _Row) -> Delivery:
    payload = Payload(
        kind=Kind(row.kind),
        approval_id=row.approval_id,
        content_digest=bytes(row.content_digest),
        recipient=row.recipient,
        title=row.title,
        subject_id=row.subject_id,
        reason=row.reason,
        tier=row.tier,
        due=row.due,
        state=None if row.state is None else State(row.state),
        approver=row.approver,
    )
    return Delivery(
        notification=Notification(id=row.id, cursor=row.cursor, create_time=row.create_time, payload=payload),
        channel=Channel(row.channel),
        status=Status(row.status),
        attempts=row.attempts,
        detail=row.detail,
        deliver_time=row.deliver_time,
    )


def _unknown(id: str) -> NotFound:
    return NotFound("there is no such delivery", reason="UNKNOWN_DELIVERY", metadata={"id": id})
