"""The log: entries that the database itself refuses to change, and the disclosures beside them."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_OF_A_REQUEST = sa.text("approval_id <> ''")
_OF_THE_TENANT = sa.text("approval_id = ''")


def upgrade() -> None:
    """Create both tables, and the triggers that make `entry` append-only."""
    op.create_table(
        "entry",
        sa.Column("tenant", sa.Text, primary_key=True),
        sa.Column("index", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("approval_id", sa.Text, nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("cause_id", sa.Text, nullable=False),
        sa.Column("leaf", sa.LargeBinary, nullable=False),
    )
    for name, columns, where in [
        ("entry_number", ["tenant", "approval_id", "number"], _OF_A_REQUEST),
        ("entry_cause", ["tenant", "cause_id"], _OF_THE_TENANT),
    ]:
        op.create_index(name, "entry", columns, unique=True, sqlite_where=where, postgresql_where=where)
    op.create_table(
        "disclosure",
        sa.Column("tenant", sa.Text, primary_key=True),
        sa.Column("index", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("path", sa.Text, primary_key=True),
        sa.Column("salt", sa.LargeBinary, nullable=False),
        sa.Column("value", sa.LargeBinary, nullable=False),
        sa.ForeignKeyConstraint(["tenant", "index"], ["entry.tenant", "entry.index"]),
    )
    guards = _POSTGRESQL_GUARDS if op.get_bind().dialect.name == "postgresql" else _SQLITE_GUARDS
    for statement in guards:
        op.execute(statement)


_POSTGRESQL_GUARDS = [
    """
    CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        RAISE EXCEPTION '% is append-only: % refused', TG_TABLE_NAME, TG_OP;
    END
    $$
    """,
    """
    CREATE TRIGGER entry_is_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON entry
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()
    """,
]

_SQLITE_GUARDS = [
    """
    CREATE TRIGGER entry_is_never_updated BEFORE UPDATE ON entry
    BEGIN SELECT RAISE(ABORT, 'entry is append-only: UPDATE refused'); END
    """,
    """
    CREATE TRIGGER entry_is_never_deleted BEFORE DELETE ON entry
    BEGIN SELECT RAISE(ABORT, 'entry is append-only: DELETE refused'); END
    """,
    # REPLACE deletes what is in its way without asking the trigger above, so its way must be free.
    """
    CREATE TRIGGER entry_is_never_replaced BEFORE INSERT ON entry
    WHEN EXISTS (SELECT 1 FROM entry WHERE tenant = NEW.tenant AND "index" = NEW."index")
      OR (NEW.approval_id <> '' AND EXISTS (
           SELECT 1 FROM entry
           WHERE tenant = NEW.tenant AND approval_id = NEW.approval_id AND number = NEW.number
             AND approval_id <> ''))
      OR (NEW.approval_id = '' AND EXISTS (
           SELECT 1 FROM entry
           WHERE tenant = NEW.tenant AND cause_id = NEW.cause_id AND approval_id = ''))
    BEGIN SELECT RAISE(ABORT, 'entry is append-only: the place is taken'); END
    """,
]
