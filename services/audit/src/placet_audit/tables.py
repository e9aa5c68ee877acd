"""The tables. Three of the four only grow."""

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

# The literal '' (not a parameter) lets both databases see that these queries fit the partial indexes.
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
    # Bytes, because PostgreSQL's text cannot hold every string that a person can send.
    sa.Column("value", sa.LargeBinary, nullable=False),
    sa.ForeignKeyConstraint(["tenant", "index"], [entry.c.tenant, entry.c.index]),
)
"""What opens an entry's commitments, a row per field: erasing a field deletes its row, and only that."""

tree = sa.Table(
    "tree",
    metadata,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("index", sa.BigInteger, primary_key=True, autoincrement=False),
    # The roots of the perfect subtrees that this entry completes, 32 bytes each: its leaf's hash first.
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
"""Every checkpoint that was signed: one for each commit. Append-only."""
