"""The deliveries that are not forgotten yet, by age."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Creates an index of them."""
    in_words = sa.text("recipient != ''")
    op.create_index(
        "delivery_in_words", "delivery", ["create_time"], sqlite_where=in_words, postgresql_where=in_words
    )


def downgrade() -> None:
    """Drops it."""
    op.drop_index("delivery_in_words", "delivery")
