"""The tables of NotificationService, and their rows as values of the domain."""

from typing import Any

import sqlalchemy as sa

from placet_notification.domain import Channel, Delivery, Kind, Notification, Payload, State, Status
from placet_rpc.errors import NotFound
from placet_storage import UtcDateTime

METADATA = sa.MetaData()


# The end of each tenant's stream. Additions lock its row, so that cursors have no gaps and appear in order.
STREAM = sa.Table(
    "stream",
    METADATA,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("last_cursor", sa.BigInteger, nullable=False),
)

# A notification and its delivery. `lease` names the attempt under way, until `lease_until`.
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

D = DELIVERY.c
# A delivery that was not purged has a recipient. A literal, so that databases match the partial index.
HAS_WORDS = D.recipient != sa.literal_column("''")
sa.Index("delivery_in_words", D.create_time, sqlite_where=HAS_WORDS, postgresql_where=HAS_WORDS)

# Statements are built once: building one takes longer than running it.
THIS = (D.tenant == sa.bindparam("this_tenant"), D.id == sa.bindparam("this_id"))
SELECT = sa.select(DELIVERY).where(*THIS)


def get(connection: sa.Connection, tenant: str, id: str) -> Delivery:
    """One delivery; NotFound UNKNOWN_DELIVERY if the tenant has none with that id."""
    row = connection.execute(SELECT, {"this_tenant": tenant, "this_id": id}).one_or_none()
    if row is None:
        raise NotFound(
            "there is no such delivery", reason="UNKNOWN_DELIVERY", metadata={"notification_id": id}
        )
    return delivery_of(row)


def delivery_of(row: sa.Row[Any]) -> Delivery:
    """A row's columns, which SQLAlchemy types as Any, as a typed delivery."""
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
