"""What the view knows of erasures."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Create the table. Older logs hold no erasures, so a view that is there lacks none."""
    op.create_table(
        "view_erasure",
        sa.Column("tenant", sa.Text, primary_key=True),
        sa.Column("log_index", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("approval_id", sa.Text, nullable=False),
        sa.Column("entry", sa.LargeBinary, nullable=False),
    )
    op.create_index("view_erasure_of", "view_erasure", ["tenant", "approval_id", "log_index"])
