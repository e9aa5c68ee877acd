"""Requests, contents and commands; the view, and the lease of who writes it."""

import sqlalchemy as sa
from alembic import op

from placet_storage import UtcDateTime

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create what is owned, then what is derived."""
    _create_owned()
    _create_view()
    _create_log()


def _create_owned() -> None:
    op.create_table(
        "request",
        sa.Column("tenant", sa.Text, primary_key=True),
        sa.Column("approval_id", sa.Text, primary_key=True),
        sa.Column("payload_digest", sa.LargeBinary, nullable=False),
        sa.Column("received", sa.LargeBinary, nullable=False),
        sa.Column("processed", sa.Text, nullable=False),
        sa.Column("policy_digest", sa.LargeBinary, nullable=False),
        sa.Column("labels", sa.Text, nullable=False),
        sa.Column("create_time", UtcDateTime, nullable=False),
    )
    op.create_index("request_oldest", "request", ["create_time", "approval_id"])
    op.create_table(
        "content",
        sa.Column("tenant", sa.Text, primary_key=True),
        sa.Column("approval_id", sa.Text, primary_key=True),
        sa.Column("digest", sa.LargeBinary, primary_key=True),
        sa.Column("media_type", sa.Text, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
    )
    op.create_table(
        "policy",
        sa.Column("digest", sa.LargeBinary, primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("create_time", UtcDateTime, nullable=False),
    )
    op.create_index("policy_by_name", "policy", ["name", "version"])
    op.create_table(
        "command",
        sa.Column("tenant", sa.Text, primary_key=True),
        sa.Column("approval_id", sa.Text, primary_key=True),
        sa.Column("command_id", sa.Text, primary_key=True),
        sa.Column("digest", sa.LargeBinary, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("command", sa.Text, nullable=False),
        sa.Column("create_time", UtcDateTime, nullable=False),
        sa.Column("signal_time", UtcDateTime),
        sa.Column("signals", sa.Integer, nullable=False),
    )


def _create_view() -> None:
    op.create_table(
        "view",
        sa.Column("tenant", sa.Text, primary_key=True),
        sa.Column("approval_id", sa.Text, primary_key=True),
        sa.Column("requester", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("policy", sa.Text, nullable=False),
        sa.Column("subject_id", sa.Text, nullable=False),
        sa.Column("create_time", UtcDateTime, nullable=False),
        sa.Column("last_number", sa.Integer, nullable=False),
        sa.Column("decide_ms", sa.BigInteger),
        sa.Column("wait_ms", sa.BigInteger),
        sa.Column("source", sa.Text),
        sa.Column("person_asked", sa.Boolean),
        sa.Column("fell_back", sa.Boolean),
        sa.Column("approval", sa.LargeBinary, nullable=False),
    )
    op.create_index("view_newest", "view", ["tenant", "create_time", "approval_id"])
    op.create_index("view_by_requester", "view", ["tenant", "requester", "create_time"])
    op.create_index("view_by_subject", "view", ["tenant", "subject_id"])
    is_open = sa.text("state = 'STATE_PENDING'")
    op.create_index(
        "view_open", "view", ["create_time", "approval_id"], sqlite_where=is_open, postgresql_where=is_open
    )
    is_decided = sa.text("decide_ms IS NOT NULL")
    op.create_index(
        "view_decided",
        "view",
        ["tenant", "decide_ms", "policy", "source", "person_asked", "fell_back", "wait_ms"],
        sqlite_where=is_decided,
        postgresql_where=is_decided,
    )
    op.create_table(
        "view_label",
        sa.Column("tenant", sa.Text, primary_key=True),
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("value", sa.Text, primary_key=True),
        sa.Column("approval_id", sa.Text, primary_key=True),
    )
    op.create_index("view_label_of", "view_label", ["tenant", "approval_id"])
    op.create_table(
        "view_asked",
        sa.Column("tenant", sa.Text, primary_key=True),
        sa.Column("person", sa.Text, primary_key=True),
        sa.Column("approval_id", sa.Text, primary_key=True),
        sa.Column("awaited", sa.Boolean, nullable=False),
    )
    op.create_index("view_asked_of", "view_asked", ["tenant", "approval_id"])
    op.create_table(
        "view_event",
        sa.Column("tenant", sa.Text, primary_key=True),
        sa.Column("log_index", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("approval_id", sa.Text, nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("entry", sa.LargeBinary, nullable=False),
    )
    op.create_index("view_event_path", "view_event", ["tenant", "approval_id", "number"], unique=True)
    op.create_table(
        "view_erasure",
        sa.Column("tenant", sa.Text, primary_key=True),
        sa.Column("log_index", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("approval_id", sa.Text, nullable=False),
        sa.Column("entry", sa.LargeBinary, nullable=False),
    )
    op.create_index("view_erasure_of", "view_erasure", ["tenant", "approval_id", "log_index"])


def _create_log() -> None:
    op.create_table(
        "view_alarm",
        sa.Column("tenant", sa.Text, primary_key=True),
        sa.Column("log_index", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("policy", sa.Text, nullable=False),
        sa.Column("entry", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "log_cursor",
        sa.Column("consumer", sa.Text, primary_key=True),
        sa.Column("tenant", sa.Text, primary_key=True),
        sa.Column("next_index", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "log_lease",
        sa.Column("consumer", sa.Text, primary_key=True),
        sa.Column("tenant", sa.Text, primary_key=True),
        sa.Column("holder", sa.Text, nullable=False),
        sa.Column("expire_time", UtcDateTime, nullable=False),
    )
    op.create_table(
        "log_skipped",
        sa.Column("consumer", sa.Text, primary_key=True),
        sa.Column("tenant", sa.Text, primary_key=True),
        sa.Column("log_index", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("reason", sa.Text, nullable=False),
    )
