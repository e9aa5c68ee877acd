"""Entries with their disclosures, the Merkle tree over them, the signed checkpoints, and what limits count.

The database itself refuses to change what is append-only: `entry`, `tree` and `checkpoint`.
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_OF_A_REQUEST = sa.text("approval_id <> ''")
_OF_THE_TENANT = sa.text("approval_id = ''")


def upgrade() -> None:
    """Create the tables, then the triggers."""
    _create_entries()
    _create_tree()
    _create_approved()
    postgresql = op.get_bind().dialect.name == "postgresql"
    for statement in _POSTGRESQL_TRIGGERS if postgresql else _SQLITE_TRIGGERS:
        op.execute(statement)


def _create_entries() -> None:
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


def _create_tree() -> None:
    op.create_table(
        "tree",
        sa.Column("tenant", sa.Text, primary_key=True),
        sa.Column("index", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("roots", sa.LargeBinary, nullable=False),
        sa.ForeignKeyConstraint(["tenant", "index"], ["entry.tenant", "entry.index"]),
    )
    op.create_table(
        "checkpoint",
        sa.Column("tenant", sa.Text, primary_key=True),
        sa.Column("size", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("note", sa.Text, nullable=False),
    )


def _create_approved() -> None:
    op.create_table(
        "approved",
        sa.Column("tenant", sa.Text, nullable=False),
        sa.Column("policy", sa.Text, nullable=False),
        sa.Column("time", sa.Float, nullable=False),
    )
    op.create_index("approved_time", "approved", ["tenant", "policy", "time"])


_POSTGRESQL_TRIGGERS = [
    """
    CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        RAISE EXCEPTION '% is append-only: % refused', TG_TABLE_NAME, TG_OP;
    END
    $$
    """,
    *(
        f"""
        CREATE TRIGGER {table}_is_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table}
        FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()
        """
        for table in ("entry", "tree", "checkpoint")
    ),
    # An entry without its row of the tree would end the log: no checkpoint could follow it.
    """
    CREATE FUNCTION has_a_place() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF NOT EXISTS (SELECT 1 FROM tree WHERE tenant = NEW.tenant AND "index" = NEW."index") THEN
            RAISE EXCEPTION 'the entry has no place in the tree';
        END IF;
        RETURN NULL;
    END
    $$
    """,
    """
    CREATE CONSTRAINT TRIGGER entry_has_a_place AFTER INSERT ON entry DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION has_a_place()
    """,
]


def _sqlite_triggers(table: str, is_taken: str) -> list[str]:
    """Triggers of one table. REPLACE deletes a row without firing the trigger on DELETE, so its place must
    be free."""
    return [
        f"""
        CREATE TRIGGER {table}_is_never_updated BEFORE UPDATE ON {table}
        BEGIN SELECT RAISE(ABORT, '{table} is append-only: UPDATE refused'); END
        """,
        f"""
        CREATE TRIGGER {table}_is_never_deleted BEFORE DELETE ON {table}
        BEGIN SELECT RAISE(ABORT, '{table} is append-only: DELETE refused'); END
        """,
        f"""
        CREATE TRIGGER {table}_is_never_replaced BEFORE INSERT ON {table}
        WHEN {is_taken}
        BEGIN SELECT RAISE(ABORT, '{table} is append-only: the place is taken'); END
        """,
    ]


_SQLITE_TRIGGERS = [
    *_sqlite_triggers(
        "entry",
        """EXISTS (SELECT 1 FROM entry WHERE tenant = NEW.tenant AND "index" = NEW."index")
          OR (NEW.approval_id <> '' AND EXISTS (
               SELECT 1 FROM entry
               WHERE tenant = NEW.tenant AND approval_id = NEW.approval_id AND number = NEW.number
                 AND approval_id <> ''))
          OR (NEW.approval_id = '' AND EXISTS (
               SELECT 1 FROM entry
               WHERE tenant = NEW.tenant AND cause_id = NEW.cause_id AND approval_id = ''))""",
    ),
    *_sqlite_triggers(
        "tree", 'EXISTS (SELECT 1 FROM tree WHERE tenant = NEW.tenant AND "index" = NEW."index")'
    ),
    *_sqlite_triggers(
        "checkpoint", 'EXISTS (SELECT 1 FROM checkpoint WHERE tenant = NEW.tenant AND "size" = NEW."size")'
    ),
]
