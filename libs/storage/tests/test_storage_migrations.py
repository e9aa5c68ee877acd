"""Migrations bring any number of processes to the same schema, once."""

from __future__ import annotations

import asyncio
import importlib
import os
import sys
from pathlib import Path

import pytest
from sqlalchemy import Connection, text

from placet_storage import Database, DatabaseUnavailable, MigrationFailed
from placet_testing.databases import schema_differences

_OPEN = """
import asyncio, sys
from placet_storage import Database

async def main():
    database = await Database.open(sys.argv[1], migrations=sys.argv[2])
    insert = "INSERT INTO note (number, body) VALUES (%s, '')" % sys.argv[3]
    await database.transact(lambda connection: connection.exec_driver_sql(insert))
    await database.close()

asyncio.run(main())
"""


def rows(connection: Connection) -> int:
    return int(connection.execute(text("SELECT count(*) FROM note")).scalar_one())


async def test_migrations_build_exactly_the_tables_of_the_store(database_url: str, package: str) -> None:
    await (await Database.open(database_url, migrations=package)).close()
    assert schema_differences(database_url, importlib.import_module(f"{package}.store").metadata) == []


async def test_opening_again_keeps_what_is_there(database_url: str, package: str) -> None:
    for number in (1, 2):
        database = await Database.open(database_url, migrations=package)
        statement = text("INSERT INTO note (number, body) VALUES (:n, '')").bindparams(n=number)
        await database.transact(Connection.execute, statement)
        await database.close()
    database = await Database.open(database_url, migrations=package)
    assert await database.query(rows) == 2
    await database.close()


@pytest.mark.integration
async def test_many_processes_may_open_a_new_database_at_once(
    database_url: str, package: str, tmp_path: Path
) -> None:
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    processes = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", _OPEN, database_url, package, str(number), env=environment
        )
        for number in range(3)
    ]
    assert await asyncio.gather(*(process.wait() for process in processes)) == [0] * 3
    database = await Database.open(database_url, migrations=package)
    assert await database.query(rows) == 3
    await database.close()


async def test_several_databases_may_be_opened_at_once_in_one_process(package: str, tmp_path: Path) -> None:
    urls = [f"sqlite:///{tmp_path}/folder/{number}.db" for number in range(4)]
    databases = await asyncio.gather(*(Database.open(url, migrations=package) for url in urls))
    for database in databases:
        assert await database.query(rows) == 0
        await database.close()


async def test_a_migration_that_fails_leaves_the_schema_as_it_was(
    database_url: str, package: str, tmp_path: Path
) -> None:
    await (await Database.open(database_url, migrations=package)).close()
    broken = tmp_path / package / "migrations" / "versions" / "0003_broken.py"
    broken.write_text(
        "import sqlalchemy as sa\nfrom alembic import op\nrevision = '0003'\ndown_revision = '0002'\n"
        "def upgrade():\n    op.create_table('extra', sa.Column('x', sa.Integer))\n    raise LookupError\n"
    )
    with pytest.raises(LookupError):
        await Database.open(database_url, migrations=package)
    broken.unlink()
    assert schema_differences(database_url, importlib.import_module(f"{package}.store").metadata) == []


async def test_a_database_of_a_newer_program_is_refused(database_url: str, package: str) -> None:
    database = await Database.open(database_url, migrations=package)
    await database.transact(Connection.execute, text("UPDATE alembic_version SET version_num = '9999'"))
    await database.close()
    with pytest.raises(MigrationFailed, match="9999"):
        await Database.open(database_url, migrations=package)


async def test_a_file_that_is_no_database_is_named_as_such(tmp_path: Path, package: str) -> None:
    (tmp_path / "text.db").write_text("not a database, " * 100)
    with pytest.raises(MigrationFailed, match="not a database"):
        await Database.open(f"sqlite:///{tmp_path}/text.db", migrations=package)


async def test_a_folder_that_cannot_be_written_is_unavailable(tmp_path: Path, package: str) -> None:
    (tmp_path / "folder.db").mkdir()
    with pytest.raises(DatabaseUnavailable):
        await Database.open(f"sqlite:///{tmp_path}/folder.db", migrations=package)
