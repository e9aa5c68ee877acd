"""The schema of a log in PostgreSQL."""

from __future__ import annotations

from placet_verify.schema import SchemaObject

QUERY = """
WITH own AS (SELECT current_schema()::regnamespace::oid AS oid),
relation AS (
    SELECT c.* FROM pg_class c JOIN own ON c.relnamespace = own.oid
    WHERE NOT EXISTS (
        SELECT FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = c.oid AND deptype = 'e')
)
SELECT CASE relkind WHEN 'r' THEN 'table' WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view'
            WHEN 'S' THEN 'sequence' WHEN 'f' THEN 'foreign table' ELSE 'partitioned table' END,
       relname,
       (SELECT string_agg(
            a.attname || ' ' || format_type(a.atttypid, a.atttypmod)
            || CASE WHEN a.attnotnull THEN ' NOT NULL' ELSE '' END, ', ' ORDER BY a.attnum)
        FROM pg_attribute a WHERE a.attrelid = relation.oid AND a.attnum > 0 AND NOT a.attisdropped)
       || CASE WHEN relrowsecurity THEN ' with row level security' ELSE '' END
FROM relation WHERE relkind IN ('r', 'v', 'm', 'S', 'f', 'p')
UNION ALL
SELECT 'constraint', conname, pg_get_constraintdef(c.oid, true)
FROM pg_constraint c JOIN relation ON c.conrelid = relation.oid WHERE contype IN ('p', 'f', 'u', 'c', 'x')
UNION ALL
SELECT 'index', i.relname, pg_get_indexdef(i.oid, 0, true)
FROM pg_index x JOIN relation ON x.indrelid = relation.oid JOIN pg_class i ON i.oid = x.indexrelid
UNION ALL
SELECT 'trigger', tgname,
       pg_get_triggerdef(t.oid, true) || CASE tgenabled WHEN 'O' THEN '' ELSE ', disabled' END
FROM pg_trigger t JOIN relation ON t.tgrelid = relation.oid WHERE NOT tgisinternal
UNION ALL
SELECT 'rule', rulename, pg_get_ruledef(r.oid, true)
FROM pg_rewrite r JOIN relation ON r.ev_class = relation.oid WHERE rulename <> '_RETURN'
UNION ALL
SELECT 'policy', polname, relname FROM pg_policy JOIN relation ON polrelid = relation.oid
UNION ALL
SELECT 'function', proname, prosrc
FROM pg_proc p JOIN own ON pronamespace = own.oid
WHERE NOT EXISTS (
    SELECT FROM pg_depend WHERE classid = 'pg_proc'::regclass AND objid = p.oid AND deptype = 'e')
ORDER BY 1, 2
"""
"""SQL that reads the schema that is searched first, without what belongs to extensions."""

_TABLES = {
    "alembic_version": "version_num character varying(32) NOT NULL",
    "entry": (
        "tenant text NOT NULL, index bigint NOT NULL, approval_id text NOT NULL, number integer NOT NULL, "
        "cause_id text NOT NULL, leaf bytea NOT NULL"
    ),
    "disclosure": (
        "tenant text NOT NULL, index bigint NOT NULL, path text NOT NULL, salt bytea NOT NULL, "
        "value bytea NOT NULL"
    ),
    "tree": "tenant text NOT NULL, index bigint NOT NULL, roots bytea NOT NULL",
    "checkpoint": "tenant text NOT NULL, size bigint NOT NULL, note text NOT NULL",
    "approved": "tenant text NOT NULL, policy text NOT NULL, time double precision NOT NULL",
}
_PRIMARY_KEYS = {
    "alembic_version_pkc": ("alembic_version", "version_num"),
    "entry_pkey": ("entry", "tenant, index"),
    "disclosure_pkey": ("disclosure", "tenant, index, path"),
    "tree_pkey": ("tree", "tenant, index"),
    "checkpoint_pkey": ("checkpoint", "tenant, size"),
}
_INDEXES = {
    "entry_number": "(tenant, approval_id, number) WHERE approval_id <> ''::text",
    "entry_cause": "(tenant, cause_id) WHERE approval_id = ''::text",
}
_FUNCTIONS = {
    "refuse_change": """
        BEGIN RAISE EXCEPTION '% is append-only: % refused', TG_TABLE_NAME, TG_OP; END""",
    "has_a_place": """
        BEGIN
            IF NOT EXISTS (SELECT 1 FROM tree WHERE tenant = NEW.tenant AND "index" = NEW."index") THEN
                RAISE EXCEPTION 'the entry has no place in the tree';
            END IF;
            RETURN NULL;
        END""",
}

EXPECTED = (
    *(SchemaObject.of("table", name, columns) for name, columns in _TABLES.items()),
    *(
        SchemaObject.of("constraint", name, f"PRIMARY KEY ({columns})")
        for name, (_, columns) in _PRIMARY_KEYS.items()
    ),
    *(
        SchemaObject.of("index", name, f"CREATE UNIQUE INDEX {name} ON {table} USING btree ({columns})")
        for name, (table, columns) in _PRIMARY_KEYS.items()
    ),
    *(
        SchemaObject.of("index", name, f"CREATE UNIQUE INDEX {name} ON entry USING btree {columns}")
        for name, columns in _INDEXES.items()
    ),
    SchemaObject.of(
        "index",
        "approved_time",
        'CREATE INDEX approved_time ON approved USING btree (tenant, policy, "time")',
    ),
    *(
        SchemaObject.of(
            "constraint",
            f"{table}_tenant_index_fkey",
            "FOREIGN KEY (tenant, index) REFERENCES entry(tenant, index)",
        )
        for table in ("disclosure", "tree")
    ),
    *(
        SchemaObject.of(
            "trigger",
            f"{table}_is_append_only",
            f"CREATE TRIGGER {table}_is_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()",
        )
        for table in ("entry", "tree", "checkpoint")
    ),
    SchemaObject.of(
        "trigger",
        "entry_has_a_place",
        "CREATE CONSTRAINT TRIGGER entry_has_a_place AFTER INSERT ON entry DEFERRABLE INITIALLY DEFERRED "
        "FOR EACH ROW EXECUTE FUNCTION has_a_place()",
    ),
    *(SchemaObject.of("function", name, body) for name, body in _FUNCTIONS.items()),
)
"""The schema that AuditService's migrations make."""
