"""The tables of NotificationService and their queries. Every one is scoped by tenant."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import Any, Self

import sqlalchemy as sa

from placet_logtail import Batch
from placet_notification.domain import (
    MAX_CURSOR,
    Channel,
    Delivery,
    Kind,
    Notification,
    Payload,
    State,
    Status,
    code_of,
    notification_id,
    payload_digest,
)
from placet_rpc.errors import AlreadyExists, NotFound
from placet_storage import Database, UtcDateTime, truncate_wal_after_commit

METADATA = sa.MetaData()

# Notifications of a stream that are read at once.
STREAM_PAGE = 100

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
# No delivery is made without a recipient. Written out, because only so do databases see that the index will
# do.
_IN_WORDS = _D.recipient != sa.literal_column("''")
sa.Index("delivery_in_words", _D.create_time, sqlite_where=_IN_WORDS, postgresql_where=_IN_WORDS)

# Deliveries purged in one transaction.
PURGED_AT_ONCE = 500


@dataclass(frozen=True)
class Lease:
    """The right of one attempt to deliver, from `begins` until it is released, at the latest until `ends`."""

    id: str
    begins: datetime
    ends: datetime


@dataclass(frozen=True)
class Claim:
    """The delivery; `granted`: this call holds the lease; `created`: the delivery is new.

    A PENDING delivery that is not `granted` has another attempt under way.
    """

    delivery: Delivery
    granted: bool
    created: bool = False


class Store:
    """NotificationService's rows."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._inserts = _Inserts.on(database)

    async def claim(self, tenant: str, key: str, payload: Payload, lease: Lease) -> Claim:
        """Takes the lease of a delivery, creating the delivery if it is new.

        `key` is the caller's idempotency key. Raises AlreadyExists ID_REUSED when it stands for another
        payload.
        """
        return await self._database.transact(
            _claim, self._inserts, tenant, key, payload, lease, operation="claim"
        )

    async def take_lease(self, tenant: str, key: str, payload: Payload, lease: Lease) -> Claim:
        """Takes the lease of a delivery that exists."""
        return await self._database.transact(_take_lease, tenant, key, payload, lease, operation="take_lease")

    async def delivered(self, tenant: str, delivery: Delivery, *, now: datetime) -> Delivery:
        """Records that the channel took it, whoever holds the lease now, unless another attempt was final."""
        return await self._database.transact(_delivered, tenant, delivery, now, operation="delivered")

    async def refused(self, tenant: str, id: str, *, lease: Lease, detail: str) -> Delivery:
        """Records that the channel refused it for good, unless another attempt holds the lease."""
        end = _End(tenant, id, lease, Status.FAILED, detail)
        return await self._database.transact(_end, end, operation="refused")

    async def not_taken(self, tenant: str, id: str, *, lease: Lease, detail: str) -> Delivery:
        """Records a failed attempt and releases the lease, unless another attempt holds it."""
        end = _End(tenant, id, lease, Status.PENDING, detail)
        return await self._database.transact(_end, end, operation="not_taken")

    async def purge(self, before: datetime) -> int:
        """Erases the words of some deliveries older than `before`; returns their number, 0 when none is left.

        The deliveries stay: the same key and payload still give the same answer.
        """
        return await self._database.transact(_purge, before, operation="purge")

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

    async def read(self, tenant: str, cursor: int, recipient: str | None = None) -> Batch[Notification]:
        """A page of the tenant's stream from a cursor on, oldest first. `recipient`: only theirs."""
        mine = sa.true() if recipient is None else _D.recipient == recipient
        here = (_D.tenant == tenant, _D.cursor >= min(cursor, MAX_CURSOR), mine)
        query = sa.select(DELIVERY).where(*here).order_by(_D.cursor).limit(STREAM_PAGE)
        page, end = await self._database.query(_stream, query, tenant, operation="read_stream")
        # Past what is not theirs, so that it is not read again.
        following = page[-1].cursor + 1 if len(page) == STREAM_PAGE else max(end, cursor)
        return Batch(page, following, end)

    async def ends(self, tenants: Sequence[str]) -> dict[str, int]:
        """The first cursor that each of these tenants' streams has not given yet."""
        return await self._database.query(_ends, tenants, operation="stream_ends")


# A row's columns are typed by SQLAlchemy as Any; `_delivery` is where they get their types.
_Row = sa.Row[Any]


# Statements are built once: to build one anew takes longer than to run it.

_THIS = (_D.tenant == sa.bindparam("this_tenant"), _D.id == sa.bindparam("this_id"))
_SELECT = sa.select(DELIVERY).where(*_THIS)
_LOCK = _SELECT.with_for_update()
_CLAIM = (
    sa.update(DELIVERY)
    .where(*_THIS)
    .values(
        lease=sa.bindparam("new_lease"),
        lease_until=sa.bindparam("new_lease_until"),
        attempts=_D.attempts + 1,
    )
)
_DELIVER = (
    sa.update(DELIVERY)
    .where(*_THIS, _D.status == Status.PENDING)
    .values(status=Status.DELIVERED, deliver_time=sa.bindparam("now"), lease=None, lease_until=None)
    .returning(_D.attempts, _D.detail)
)
_END = (
    sa.update(DELIVERY)
    .where(*_THIS, _D.lease == sa.bindparam("this_lease"))
    .values(
        status=sa.bindparam("new_status"),
        # A purged delivery keeps only the code.
        detail=sa.case((_IN_WORDS, sa.bindparam("new_detail")), else_=sa.bindparam("new_code")),
        lease=None,
        lease_until=None,
    )
    .returning(DELIVERY)
)
_OLDEST = (
    sa.select(_D.tenant, _D.cursor, _D.detail)
    .where(_IN_WORDS, _D.create_time < sa.bindparam("before", type_=_D.create_time.type))
    .order_by(_D.create_time)
    .limit(PURGED_AT_ONCE)
)
_PURGE = (
    sa.update(DELIVERY)
    .where(_D.tenant == sa.bindparam("this_tenant"), _D.cursor == sa.bindparam("this_cursor"))
    .values(recipient="", title="", reason="", approver="", detail=sa.bindparam("new_code"))
)
_RETREAT = (
    sa.update(STREAM)
    .where(STREAM.c.tenant == sa.bindparam("this_tenant"))
    .values(last_cursor=STREAM.c.last_cursor - 1)
)


@dataclass(frozen=True)
class _Inserts:
    """What differs by database. `advance` locks the tenant's stream and gives its next cursor."""

    advance: sa.Executable
    create: sa.Insert

    @classmethod
    def on(cls, database: Database) -> Self:
        advance = (
            database.insert(STREAM)
            .values(tenant=sa.bindparam("this_tenant"), last_cursor=1)
            .on_conflict_do_update(
                index_elements=[STREAM.c.tenant], set_={"last_cursor": STREAM.c.last_cursor + 1}
            )
            .returning(STREAM.c.last_cursor)
        )
        return cls(
            advance, database.insert(DELIVERY).on_conflict_do_nothing(index_elements=[_D.tenant, _D.id])
        )


@dataclass(frozen=True)
class _End:
    """How an attempt ended that was not delivered."""

    tenant: str
    id: str
    lease: Lease
    status: Status
    detail: str


# From here on a transaction's work, as plain functions on its connection.


def _claim(
    connection: sa.Connection, inserts: _Inserts, tenant: str, key: str, payload: Payload, lease: Lease
) -> Claim:
    # As if it were new, which it mostly is.
    cursor: int = connection.execute(inserts.advance, {"this_tenant": tenant}).scalar_one()
    notification = Notification(notification_id(tenant, key), cursor, lease.begins, payload)
    row = {
        "tenant": tenant,
        "cursor": cursor,
        "id": notification.id,
        "payload_digest": payload_digest(payload),
        "create_time": lease.begins,
        **{field.name: getattr(payload, field.name) for field in fields(payload)},
        "channel": payload.channel,
        "status": Status.PENDING,
        "attempts": 1,
        "detail": "",
        "lease": lease.id,
        "lease_until": lease.ends,
    }
    if connection.execute(inserts.create, row).rowcount:
        created = Delivery(notification, payload.channel, Status.PENDING, 1, "", None)
        return Claim(created, granted=True, created=True)
    connection.execute(_RETREAT, {"this_tenant": tenant})
    return _take_lease(connection, tenant, key, payload, lease)


def _take_lease(connection: sa.Connection, tenant: str, key: str, payload: Payload, lease: Lease) -> Claim:
    this = {"this_tenant": tenant, "this_id": notification_id(tenant, key)}
    row = connection.execute(_LOCK, this).one()
    if row.payload_digest != payload_digest(payload):
        raise AlreadyExists(
            "this idempotency key was used for another notification; use a new key",
            reason="ID_REUSED",
            metadata={"idempotency_key": key},
        )
    # With the call's payload, which is the same; that of the row may be purged.
    stored = _delivery(row)
    delivery = replace(stored, notification=replace(stored.notification, payload=payload))
    if row.status != Status.PENDING or (row.lease is not None and lease.begins < row.lease_until):
        return Claim(delivery, granted=False)
    connection.execute(_CLAIM, {**this, "new_lease": lease.id, "new_lease_until": lease.ends})
    return Claim(replace(delivery, attempts=delivery.attempts + 1), granted=True)


def _delivered(connection: sa.Connection, tenant: str, delivery: Delivery, now: datetime) -> Delivery:
    this = {"this_tenant": tenant, "this_id": delivery.notification.id}
    # Another attempt may have begun since, and have said something.
    row = connection.execute(_DELIVER, {**this, "now": now}).one_or_none()
    if row is None:
        return _get(connection, tenant, delivery.notification.id)
    return replace(
        delivery, status=Status.DELIVERED, attempts=row.attempts, detail=row.detail, deliver_time=now
    )


def _end(connection: sa.Connection, end: _End) -> Delivery:
    row = connection.execute(
        _END,
        {
            "this_tenant": end.tenant,
            "this_id": end.id,
            "this_lease": end.lease.id,
            "new_status": end.status,
            "new_detail": end.detail,
            "new_code": code_of(end.detail),
        },
    ).one_or_none()
    return _get(connection, end.tenant, end.id) if row is None else _delivery(row)


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


def _get(connection: sa.Connection, tenant: str, id: str) -> Delivery:
    row = connection.execute(_SELECT, {"this_tenant": tenant, "this_id": id}).one_or_none()
    if row is None:
        raise _unknown(id)
    return _delivery(row)


def _deliveries(connection: sa.Connection, query: sa.Executable) -> Sequence[Delivery]:
    return [_delivery(row) for row in connection.execute(query)]


def _stream(
    connection: sa.Connection, query: sa.Executable, tenant: str
) -> tuple[Sequence[Notification], int]:
    end = _ends(connection, [tenant])[tenant]
    return [delivery.notification for delivery in _deliveries(connection, query)], end


def _ends(connection: sa.Connection, tenants: Sequence[str]) -> dict[str, int]:
    query = sa.select(STREAM.c.tenant, STREAM.c.last_cursor).where(STREAM.c.tenant.in_(tenants))
    last = {row.tenant: row.last_cursor for row in connection.execute(query)}
    return {tenant: last.get(tenant, 0) + 1 for tenant in tenants}


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
