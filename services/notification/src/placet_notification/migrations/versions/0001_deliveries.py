"""Notifications with their deliveries, and where each tenant's stream ends."""

import sqlalchemy as sa
from alembic import op

from placet_storage import UtcDateTime

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create the two tables with their indexes."""
    op.create_table(
        "stream",
        sa.Column("tenant", sa.Text, primary_key=True),
        sa.Column("last_cursor", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "delivery",
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
    )
    op.create_index("delivery_recipient", "delivery", ["tenant", "recipient", "cursor"])
    op.create_index("delivery_approval", "delivery", ["tenant", "approval_id", "cursor"])
    in_words = sa.text("recipient != ''")
    op.create_index(
        "delivery_in_words", "delivery", ["create_time"], sqlite_where=in_words, postgresql_where=in_words
    )
