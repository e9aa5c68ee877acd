"""The lease of a delivery, which lets one attempt at a time deliver it: the bodies of transactions."""

from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import Self

import sqlalchemy as sa

from placet_notification.domain import (
    Delivery,
    Notification,
    Payload,
    Status,
    code_of,
    notification_id,
    payload_digest,
)
from placet_notification.store.tables import DELIVERY, HAS_WORDS, SELECT, STREAM, THIS, D, delivery_of, get
from placet_rpc.errors import AlreadyExists
from placet_storage import Database


@dataclass(frozen=True)
class Lease:
    """The right of one attempt to deliver, from `begins` until it is released, at the latest until `ends`."""

    id: str
    begins: datetime
    ends: datetime

    def is_held_up_by(self, until: datetime) -> bool:
        """True if another attempt's lease, which ends at `until`, has not expired when this one begins.

        A lease that ends later than two durations from now was taken by a wrong clock, and counts as expired.
        """
        return self.begins < until <= self.begins + 2 * (self.ends - self.begins)


@dataclass(frozen=True)
class Claim:
    """The delivery; `granted`: this call holds the lease; `created`: the delivery is new.

    A PENDING delivery that is not `granted` has another attempt under way.
    """

    delivery: Delivery
    granted: bool
    created: bool = False


@dataclass(frozen=True)
class Inserts:
    """Statements that differ by database. `advance` locks the tenant's stream and returns its next cursor."""

    advance: sa.Executable
    create: sa.Insert

    @classmethod
    def on(cls, database: Database) -> Self:
        """Builds the statements for a database."""
        advance = (
            database.insert(STREAM)
            .values(tenant=sa.bindparam("this_tenant"), last_cursor=1)
            .on_conflict_do_update(
                index_elements=[STREAM.c.tenant], set_={"last_cursor": STREAM.c.last_cursor + 1}
            )
            .returning(STREAM.c.last_cursor)
        )
        return cls(advance, database.insert(DELIVERY).on_conflict_do_nothing(index_elements=[D.tenant, D.id]))


_LOCK = SELECT.with_for_update()
_CLAIM = (
    sa.update(DELIVERY)
    .where(*THIS)
    .values(
        lease=sa.bindparam("new_lease"),
        lease_until=sa.bindparam("new_lease_until"),
        attempts=D.attempts + 1,
    )
)
_DELIVER = (
    sa.update(DELIVERY)
    .where(*THIS, D.status == Status.PENDING)
    .values(status=Status.DELIVERED, deliver_time=sa.bindparam("now"), lease=None, lease_until=None)
    .returning(D.attempts, D.detail)
)
_FAIL = (
    sa.update(DELIVERY)
    .where(*THIS, D.lease == sa.bindparam("this_lease"))
    .values(
        status=sa.bindparam("new_status"),
        # A purged delivery keeps only the code.
        detail=sa.case((HAS_WORDS, sa.bindparam("new_detail")), else_=sa.bindparam("new_code")),
        lease=None,
        lease_until=None,
    )
    .returning(DELIVERY)
)
_RETREAT = (
    sa.update(STREAM)
    .where(STREAM.c.tenant == sa.bindparam("this_tenant"))
    .values(last_cursor=STREAM.c.last_cursor - 1)
)


def claim(
    connection: sa.Connection, inserts: Inserts, tenant: str, key: str, payload: Payload, lease: Lease
) -> Claim:
    """See Store.claim."""
    # Inserts first, because most deliveries are new.
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
    return take_lease(connection, tenant, key, payload, lease)


def take_lease(connection: sa.Connection, tenant: str, key: str, payload: Payload, lease: Lease) -> Claim:
    """See Store.take_lease."""
    this = {"this_tenant": tenant, "this_id": notification_id(tenant, key)}
    row = connection.execute(_LOCK, this).one()
    if row.payload_digest != payload_digest(payload):
        raise AlreadyExists(
            "this idempotency key was used for another notification; use a new key",
            reason="ID_REUSED",
            metadata={"idempotency_key": key},
        )
    # With the call's payload, which is the same; that of the row may be purged.
    stored = delivery_of(row)
    delivery = replace(stored, notification=replace(stored.notification, payload=payload))
    if row.status != Status.PENDING or (row.lease is not None and lease.is_held_up_by(row.lease_until)):
        return Claim(delivery, granted=False)
    connection.execute(_CLAIM, {**this, "new_lease": lease.id, "new_lease_until": lease.ends})
    return Claim(replace(delivery, attempts=delivery.attempts + 1), granted=True)


def record_delivered(connection: sa.Connection, tenant: str, delivery: Delivery, now: datetime) -> Delivery:
    """See Store.delivered."""
    this = {"this_tenant": tenant, "this_id": delivery.notification.id}
    # Another attempt may have begun since, and left its error.
    row = connection.execute(_DELIVER, {**this, "now": now}).one_or_none()
    if row is None:
        return get(connection, tenant, delivery.notification.id)
    return replace(
        delivery, status=Status.DELIVERED, attempts=row.attempts, detail=row.detail, deliver_time=now
    )


def record_failure(
    connection: sa.Connection, tenant: str, id: str, lease: Lease, status: Status, detail: str
) -> Delivery:
    """See Store.refused and Store.not_taken."""
    row = connection.execute(
        _FAIL,
        {
            "this_tenant": tenant,
            "this_id": id,
            "this_lease": lease.id,
            "new_status": status,
            "new_detail": detail,
            "new_code": code_of(detail),
        },
    ).one_or_none()
    return get(connection, tenant, id) if row is None else delivery_of(row)
