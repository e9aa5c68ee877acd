"""The answers by their age."""

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Create an index."""
    op.create_index("answer_age", "answer", ["created_at"])
