"""The answers that were given, one per tenant and idempotency key, and the tokens that were spent."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create the tables with their indexes."""
    op.create_table(
        "answer",
        sa.Column("tenant", sa.Text, primary_key=True),
        sa.Column("idempotency_key", sa.Text, primary_key=True),
        sa.Column("approval_id", sa.Text, nullable=False),
        sa.Column("payload_digest", sa.LargeBinary, nullable=False),
        sa.Column("response", sa.LargeBinary, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_index("answer_approval", "answer", ["tenant", "approval_id"])
    op.create_index("answer_age", "answer", ["created_at"])
    op.create_table(
        "spent_tokens",
        sa.Column("tenant", sa.Text, primary_key=True),
        sa.Column("day", sa.Date, primary_key=True),
        sa.Column("tokens", sa.BigInteger, nullable=False),
    )
