"""The schema that makes a log append-only: what is gone, changed or extra in it is told."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from placet_storage import Database
from placet_testing.sample_home import SampleLog
from placet_verify import Check, SqliteSource, Verification
from placet_verify.postgresql import PostgresqlSource

pytestmark = pytest.mark.integration

TABLES = ("entry", "tree", "checkpoint")
TRIGGERS = [
    f"{table}_is_never_{refused}" for table in TABLES for refused in ("updated", "deleted", "replaced")
]


@pytest.fixture
def database(sample: SampleLog, tmp_path: Path) -> Path:
    """The sample's database, to be changed."""
    path = tmp_path / "audit.db"
    shutil.copy(sample.home.database("audit"), path)
    return path


def executed(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA writable_schema=ON")
        for statement in statements:
            connection.execute(statement)


def told(sample: SampleLog, path: Path) -> list[str]:
    """The findings about the schema, which are about nothing else; without their check there are none."""
    with closing(SqliteSource(path)) as source:
        findings = sample.findings(source)
        assert {one.check for one in findings} <= {Check.SCHEMA}
        assert sample.findings(source, without={Check.SCHEMA}) == []
    return [one.what for one in findings]


@pytest.mark.parametrize("trigger", TRIGGERS)
def test_a_trigger_that_is_gone_is_told(sample: SampleLog, database: Path, trigger: str) -> None:
    executed(database, f"DROP TRIGGER {trigger}")
    assert told(sample, database) == [f"the trigger {trigger} of its schema is gone"]


@pytest.mark.parametrize("trigger", TRIGGERS)
def test_a_trigger_that_refuses_nothing_any_more_is_told(
    sample: SampleLog, database: Path, trigger: str
) -> None:
    table = trigger.partition("_")[0]
    executed(
        database,
        f"DROP TRIGGER {trigger}",
        f"CREATE TRIGGER {trigger} BEFORE UPDATE ON {table} BEGIN SELECT 1; END",
    )
    (what,) = told(sample, database)
    assert what.startswith(f"the trigger {trigger} of its schema was changed: CREATE TRIGGER {trigger}")


EXTRA = {
    "CREATE TABLE notes (text TEXT)": "table notes",
    "CREATE VIEW seen AS SELECT * FROM entry": "view seen",
    "CREATE INDEX found ON entry (leaf)": "index found",
    "CREATE TRIGGER silent BEFORE INSERT ON entry BEGIN SELECT RAISE(IGNORE); END": "trigger silent",
}


@pytest.mark.parametrize("statement", EXTRA)
def test_what_is_extra_is_told(sample: SampleLog, database: Path, statement: str) -> None:
    executed(database, statement)
    assert told(sample, database) == [
        f"there is a {EXTRA[statement]} in its schema, which is none of the log's"
    ]


def test_an_index_that_is_gone_and_a_table_that_was_changed_are_told(
    sample: SampleLog, database: Path
) -> None:
    executed(database, "DROP INDEX entry_cause", "ALTER TABLE checkpoint ADD COLUMN more TEXT")
    changed, gone = sorted(told(sample, database), key=len, reverse=True)
    assert changed.startswith("the table checkpoint of its schema was changed: CREATE TABLE checkpoint")
    assert gone == "the index entry_cause of its schema is gone"


def test_statistics_of_the_database_are_none_of_its_schema(sample: SampleLog, database: Path) -> None:
    executed(database, "ANALYZE")
    assert told(sample, database) == []


def test_a_view_in_the_place_of_a_table_is_told_and_not_read(sample: SampleLog, database: Path) -> None:
    """It could have rows without end."""
    endless = (
        "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n) "
        "SELECT 'a' AS tenant, i AS \"index\", '' AS approval_id, 0 AS number, '' AS cause_id, x'' AS leaf"
    )
    executed(database, "ALTER TABLE entry RENAME TO other", f"CREATE VIEW entry AS {endless} FROM n")
    with closing(SqliteSource(database)) as source:
        found = sample.findings(source)
    assert "whose logs there are cannot be read: entry is no table" in [one.what for one in found]
    assert "there is a view entry in its schema, which is none of the log's" in [one.what for one in found]


def postgresql_findings(sample: SampleLog, url: str) -> list[str]:
    with closing(PostgresqlSource(url)) as source:
        verification = Verification(source, sample.keys)
        assert list(verification.run())
        assert {one.check for one in verification.findings} <= {Check.SCHEMA}
        return [one.what for one in verification.findings]


POSTGRESQL: dict[str, list[str]] = {
    "DROP TRIGGER entry_is_append_only ON entry": ["the trigger entry_is_append_only of its schema is gone"],
    "ALTER TABLE tree DISABLE TRIGGER tree_is_append_only": [
        "the trigger tree_is_append_only of its schema was changed: CREATE TRIGGER tree_is_append_only BEFORE"
    ],
    "CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS "
    "$$ BEGIN RETURN NULL; END $$": [
        "the function refuse_change of its schema was changed: BEGIN RETURN NULL; END"
    ],
    "CREATE RULE silent AS ON INSERT TO entry DO INSTEAD NOTHING": ["there is a rule silent in its schema"],
    "CREATE TABLE notes (text text)": ["there is a table notes in its schema"],
    "DROP INDEX entry_cause": ["the index entry_cause of its schema is gone"],
    "ALTER TABLE checkpoint ENABLE ROW LEVEL SECURITY": ["the table checkpoint of its schema was changed"],
    "ALTER TABLE disclosure DROP CONSTRAINT disclosure_tenant_index_fkey": [
        "the constraint disclosure_tenant_index_fkey of its schema is gone"
    ],
}


async def test_in_postgresql_what_is_gone_changed_or_extra_is_told(
    postgres_url: str, sample: SampleLog
) -> None:
    import psycopg

    await (await Database.open(postgres_url, migrations="placet_audit")).close()
    assert postgresql_findings(sample, postgres_url) == []
    for statement, sentences in POSTGRESQL.items():
        with psycopg.connect(postgres_url) as connection:
            connection.execute(statement)
            connection.commit()
        found = postgresql_findings(sample, postgres_url)
        assert all(any(one.startswith(sentence) for one in found) for sentence in sentences), (
            statement,
            found,
        )
    assert len(postgresql_findings(sample, postgres_url)) == len(POSTGRESQL)
