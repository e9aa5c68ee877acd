"""The schema of a log in SQLite."""

from __future__ import annotations

from placet_verify.schema import SchemaObject

QUERY = """
SELECT type, name, sql FROM sqlite_master
WHERE NOT (type = 'index' AND sql IS NULL) AND name NOT IN ('sqlite_stat1', 'sqlite_stat4')
"""
"""SQL that reads it; without the indexes of primary keys, and the statistics that ANALYZE keeps."""

_STATEMENTS = (
    """CREATE TABLE alembic_version (
        version_num VARCHAR(32) NOT NULL, CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num) )""",
    """CREATE TABLE entry (
        tenant TEXT NOT NULL, "index" BIGINT NOT NULL, approval_id TEXT NOT NULL, number INTEGER NOT NULL,
        cause_id TEXT NOT NULL, leaf BLOB NOT NULL, PRIMARY KEY (tenant, "index") )""",
    """CREATE UNIQUE INDEX entry_number ON entry (tenant, approval_id, number) WHERE approval_id <> ''""",
    """CREATE UNIQUE INDEX entry_cause ON entry (tenant, cause_id) WHERE approval_id = ''""",
    """CREATE TABLE disclosure (
        tenant TEXT NOT NULL, "index" BIGINT NOT NULL, path TEXT NOT NULL, salt BLOB NOT NULL,
        value BLOB NOT NULL, PRIMARY KEY (tenant, "index", path),
        FOREIGN KEY(tenant, "index") REFERENCES entry (tenant, "index") )""",
    """CREATE TABLE tree (
        tenant TEXT NOT NULL, "index" BIGINT NOT NULL, roots BLOB NOT NULL, PRIMARY KEY (tenant, "index"),
        FOREIGN KEY(tenant, "index") REFERENCES entry (tenant, "index") )""",
    """CREATE TABLE checkpoint (
        tenant TEXT NOT NULL, size BIGINT NOT NULL, note TEXT NOT NULL, PRIMARY KEY (tenant, size) )""",
    """CREATE TABLE approved (
        tenant TEXT NOT NULL, policy TEXT NOT NULL, time FLOAT NOT NULL )""",
    """CREATE INDEX approved_time ON approved (tenant, policy, time)""",
    *(
        f"""CREATE TRIGGER {table}_is_never_{refused} BEFORE {command} ON {table}
            BEGIN SELECT RAISE(ABORT, '{table} is append-only: {command} refused'); END"""
        for table in ("entry", "tree", "checkpoint")
        for refused, command in (("updated", "UPDATE"), ("deleted", "DELETE"))
    ),
    """CREATE TRIGGER entry_is_never_replaced BEFORE INSERT ON entry
        WHEN EXISTS (SELECT 1 FROM entry WHERE tenant = NEW.tenant AND "index" = NEW."index")
        OR (NEW.approval_id <> '' AND EXISTS (
            SELECT 1 FROM entry
            WHERE tenant = NEW.tenant AND approval_id = NEW.approval_id AND number = NEW.number
            AND approval_id <> ''))
        OR (NEW.approval_id = '' AND EXISTS (
            SELECT 1 FROM entry
            WHERE tenant = NEW.tenant AND cause_id = NEW.cause_id AND approval_id = ''))
        BEGIN SELECT RAISE(ABORT, 'entry is append-only: the place is taken'); END""",
    *(
        f"""CREATE TRIGGER {table}_is_never_replaced BEFORE INSERT ON {table}
            WHEN EXISTS (SELECT 1 FROM {table} WHERE tenant = NEW.tenant AND "{place}" = NEW."{place}")
            BEGIN SELECT RAISE(ABORT, '{table} is append-only: the place is taken'); END"""  # noqa: S608  # names of ours
        for table, place in (("tree", "index"), ("checkpoint", "size"))
    ),
)


def _object(statement: str) -> SchemaObject:
    kind, name = statement.replace(" UNIQUE ", " ").split()[1:3]
    return SchemaObject.of(kind.lower(), name, statement)


EXPECTED = tuple(_object(statement) for statement in _STATEMENTS)
"""The schema that AuditService's migrations make."""
