"""Tables of the log. All but `disclosure` are append-only."""

from __future__ import annotations

import sqlalchemy as sa

metadata = sa.MetaData()

entry = sa.Table(
    "entry",
    metadata,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("index", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("approval_id", sa.Text, nullable=False),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("cause_id", sa.Text, nullable=False),
    sa.Column("leaf", sa.LargeBinary, nullable=False),
)
"""Append-only: triggers refuse UPDATE, DELETE, TRUNCATE and SQLite's REPLACE."""

# A literal and not a parameter, so that both databases use the partial indexes.
OF_A_REQUEST = entry.c.approval_id != sa.literal_column("''")
OF_THE_TENANT = entry.c.approval_id == sa.literal_column("''")

sa.Index(
    "entry_number",
    entry.c.tenant,
    entry.c.approval_id,
    entry.c.number,
    unique=True,
    sqlite_where=OF_A_REQUEST,
    postgresql_where=OF_A_REQUEST,
)
sa.Index(
    "entry_cause",
    entry.c.tenant,
    entry.c.cause_id,
    unique=True,
    sqlite_where=OF_THE_TENANT,
    postgresql_where=OF_THE_TENANT,
)

disclosure = sa.Table(
    "disclosure",
    metadata,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("index", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("path", sa.Text, primary_key=True),
    sa.Column("salt", sa.LargeBinary, nullable=False),
    # Bytes, because PostgreSQL's text cannot hold the character NUL.
    sa.Column("value", sa.LargeBinary, nullable=False),
    sa.ForeignKeyConstraint(["tenant", "index"], [entry.c.tenant, entry.c.index]),
)
"""Salts and values of erasable fields, a row for each: an erasure deletes the rows, and nothing else."""

tree = sa.Table(
    "tree",
    metadata,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("index", sa.BigInteger, primary_key=True, autoincrement=False),
    # Roots of the perfect subtrees that this entry completes, 32 bytes each: its leaf's hash first.
    sa.Column("roots", sa.LargeBinary, nullable=False),
    sa.ForeignKeyConstraint(["tenant", "index"], ["entry.tenant", "entry.index"]),
)
"""Append-only, like the entries."""

checkpoint = sa.Table(
    "checkpoint",
    metadata,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("size", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("note", sa.Text, nullable=False),
)
"""Signed checkpoints, one for each commit. Append-only."""

approved = sa.Table(
    "approved",
    metadata,
    sa.Column("tenant", sa.Text, nullable=False),
    sa.Column("policy", sa.Text, nullable=False),
    # Seconds since 1970, by the clock of the service that allowed it.
    sa.Column("time", sa.Float, nullable=False),
)
"""Automatic approvals of the last 24 hours, which the limits of policies count."""

sa.Index("approved_time", approved.c.tenant, approved.c.policy, approved.c.time)
