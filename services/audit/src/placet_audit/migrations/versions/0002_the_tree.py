"""The Merkle tree over the entries, and the signed checkpoints of it: append-only like the entries.

Entries that are there get their places in the tree here; the service signs its first checkpoint at start.
"""

import sqlalchemy as sa
from alembic import op

# The tree is RFC 6962's and will never be another, so that this may use what the service uses.
from placet_proof import leaf_hash
from placet_proof.growing import Frontier

revision = "0002"
down_revision = "0001"

_AT_ONCE = 1000


def upgrade() -> None:
    """Create both tables, let the tree grow over the entries, and make both append-only."""
    postgresql = op.get_bind().dialect.name == "postgresql"
    if postgresql:
        op.execute("LOCK TABLE entry IN EXCLUSIVE MODE")
    tree = op.create_table(
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
    _grow(op.get_bind(), tree)
    for table, place in (("tree", "index"), ("checkpoint", "size")):
        for statement in _POSTGRESQL_GUARDS if postgresql else _SQLITE_GUARDS:
            op.execute(statement.format(table=table, place=place))
    if postgresql:
        for statement in _POSTGRESQL_PLACES:
            op.execute(statement)


def _grow(connection: sa.Connection, tree: sa.Table) -> None:
    entry = sa.table("entry", sa.column("tenant"), sa.column("index"), sa.column("leaf"))
    for tenant in list(connection.scalars(sa.select(entry.c.tenant).distinct())):
        frontier = Frontier()
        some = sa.select(entry.c.index, entry.c.leaf).where(entry.c.tenant == tenant).order_by(entry.c.index)
        while found := connection.execute(some.where(entry.c.index >= frontier.size).limit(_AT_ONCE)).all():
            rows = [
                {"tenant": tenant, "index": index, "roots": b"".join(frontier.append(leaf_hash(bytes(leaf))))}
                for index, leaf in found
            ]
            connection.execute(sa.insert(tree), rows)


_POSTGRESQL_GUARDS = [
    """
    CREATE TRIGGER {table}_is_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table}
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()
    """,
]

# A replica of before would append without knowing of the tree, and nothing could follow its entry.
_POSTGRESQL_PLACES = [
    """
    CREATE OR REPLACE FUNCTION has_a_place() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF NOT EXISTS (SELECT 1 FROM tree WHERE tenant = NEW.tenant AND "index" = NEW."index") THEN
            RAISE EXCEPTION 'an entry has no place in the tree: is an older AuditService still running?';
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

_SQLITE_GUARDS = [
    """
    CREATE TRIGGER {table}_is_never_updated BEFORE UPDATE ON {table}
    BEGIN SELECT RAISE(ABORT, '{table} is append-only: UPDATE refused'); END
    """,
    """
    CREATE TRIGGER {table}_is_never_deleted BEFORE DELETE ON {table}
    BEGIN SELECT RAISE(ABORT, '{table} is append-only: DELETE refused'); END
    """,
    # REPLACE deletes what is in its way without asking the trigger above, so its way must be free.
    """
    CREATE TRIGGER {table}_is_never_replaced BEFORE INSERT ON {table}
    WHEN EXISTS (SELECT 1 FROM {table} WHERE tenant = NEW.tenant AND "{place}" = NEW."{place}")
    BEGIN SELECT RAISE(ABORT, '{table} is append-only: the place is taken'); END
    """,
]
