"""The tables. `request`, `content`, `command` and `policy` are owned.

`view…` are derived from the log, and can be dropped and rebuilt at any time.
"""

from __future__ import annotations

import sqlalchemy as sa

from placet_logtail import LogTables
from placet_storage import UtcDateTime

metadata = sa.MetaData()

request = sa.Table(
    "request",
    metadata,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("approval_id", sa.Text, primary_key=True),
    # SHA-256 of the caller's message: the same request_id with another payload is an error.
    sa.Column("payload_digest", sa.LargeBinary, nullable=False),
    # The serialized `received` event as first stored, so that a retry appends the same.
    sa.Column("received", sa.LargeBinary, nullable=False),
    # The `processed` event as JSON, for the workflow's start.
    sa.Column("processed", sa.Text, nullable=False),
    sa.Column("policy_digest", sa.LargeBinary, nullable=False),
    # The caller's labels as JSON; they are not part of the log.
    sa.Column("labels", sa.Text, nullable=False),
    sa.Column("create_time", UtcDateTime, nullable=False),
    sa.Index("request_oldest", "create_time", "approval_id"),
)

# Every policy that was ever current here: requests keep the version with which they started.
policy = sa.Table(
    "policy",
    metadata,
    # SHA-256 of the body.
    sa.Column("digest", sa.LargeBinary, primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    # The canonical body.
    sa.Column("body", sa.LargeBinary, nullable=False),
    # Of two bodies under one name and version, the later one counts.
    sa.Column("create_time", UtcDateTime, nullable=False),
    sa.Index("policy_by_name", "name", "version"),
)

# Never shared between requests, so that erasing one's content touches no other.
content = sa.Table(
    "content",
    metadata,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("approval_id", sa.Text, primary_key=True),
    sa.Column("digest", sa.LargeBinary, primary_key=True),
    sa.Column("media_type", sa.Text, nullable=False),
    sa.Column("body", sa.LargeBinary, nullable=False),
    sa.Column("text", sa.Text, nullable=False),
)

# Pending commands, until they are processed: see store/pending_commands.py.
command = sa.Table(
    "command",
    metadata,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("approval_id", sa.Text, primary_key=True),
    sa.Column("command_id", sa.Text, primary_key=True),
    # SHA-256 of the command.
    sa.Column("digest", sa.LargeBinary, nullable=False),
    # Its sender.
    sa.Column("actor", sa.Text, nullable=False),
    # The command as JSON.
    sa.Column("command", sa.Text, nullable=False),
    sa.Column("create_time", UtcDateTime, nullable=False),
    # Time at which a process last began to signal it. Null: that signal failed.
    sa.Column("signal_time", UtcDateTime),
    # Number of signals that are durable. 0: whoever began may have died before it.
    sa.Column("signals", sa.Integer, nullable=False),
)

view = sa.Table(
    "view",
    metadata,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("approval_id", sa.Text, primary_key=True),
    sa.Column("requester", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("policy", sa.Text, nullable=False),
    sa.Column("subject_id", sa.Text, nullable=False),
    sa.Column("create_time", UtcDateTime, nullable=False),
    sa.Column("last_number", sa.Integer, nullable=False),
    # The decision, for statistics; null while there is none. In milliseconds: since 1970, since received.
    sa.Column("decide_ms", sa.BigInteger),
    sa.Column("wait_ms", sa.BigInteger),
    sa.Column("source", sa.Text),
    sa.Column("person_asked", sa.Boolean),
    sa.Column("fell_back", sa.Boolean),
    # The Approval message without its path.
    sa.Column("approval", sa.LargeBinary, nullable=False),
    sa.Index("view_newest", "tenant", "create_time", "approval_id"),
    sa.Index("view_by_requester", "tenant", "requester", "create_time"),
    sa.Index("view_by_subject", "tenant", "subject_id"),
)
# A literal, because databases match a partial index only to a literal condition.
IS_OPEN = view.c.state == sa.literal_column("'STATE_PENDING'")
sa.Index("view_open", view.c.create_time, view.c.approval_id, sqlite_where=IS_OPEN, postgresql_where=IS_OPEN)
# All that statistics read: without it they would read the rows, whose messages are long.
_IS_DECIDED = view.c.decide_ms.is_not(None)
sa.Index(
    "view_decided",
    view.c.tenant,
    view.c.decide_ms,
    view.c.policy,
    view.c.source,
    view.c.person_asked,
    view.c.fell_back,
    view.c.wait_ms,
    sqlite_where=_IS_DECIDED,
    postgresql_where=_IS_DECIDED,
)

# The callers' labels of the requests in the view, for filters.
view_label = sa.Table(
    "view_label",
    metadata,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("value", sa.Text, primary_key=True),
    sa.Column("approval_id", sa.Text, primary_key=True),
    sa.Index("view_label_of", "tenant", "approval_id"),
)

view_asked = sa.Table(
    "view_asked",
    metadata,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("person", sa.Text, primary_key=True),
    sa.Column("approval_id", sa.Text, primary_key=True),
    # False: they voted in the tier in which they were asked last.
    sa.Column("awaited", sa.Boolean, nullable=False),
    sa.Index("view_asked_of", "tenant", "approval_id"),
)

view_event = sa.Table(
    "view_event",
    metadata,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("log_index", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("approval_id", sa.Text, nullable=False),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("entry", sa.LargeBinary, nullable=False),
    sa.Index("view_event_path", "tenant", "approval_id", "number", unique=True),
)

# The `erased` entries. They belong to the tenant, and have no number.
view_erasure = sa.Table(
    "view_erasure",
    metadata,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("log_index", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("approval_id", sa.Text, nullable=False),
    sa.Column("entry", sa.LargeBinary, nullable=False),
    sa.Index("view_erasure_of", "tenant", "approval_id", "log_index"),
)

# The fallback alarms, begun and ended.
view_alarm = sa.Table(
    "view_alarm",
    metadata,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("log_index", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("policy", sa.Text, nullable=False),
    # The LogEntry message.
    sa.Column("entry", sa.LargeBinary, nullable=False),
)

# Cursor, lease and skipped entries of each tenant's log.
LOG = LogTables(metadata)

# Without the cursor.
VIEW_TABLES = (view, view_label, view_asked, view_event, view_erasure, view_alarm)
