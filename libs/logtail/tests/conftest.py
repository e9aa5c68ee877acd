"""A database with the tables of consumers, on SQLite and then on PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import sqlalchemy as sa

from placet_logtail import LogTables
from placet_storage import Database
from placet_storage.engines import locate, open_executors

METADATA = sa.MetaData()
TABLES = LogTables(METADATA)


@pytest.fixture
def tables() -> LogTables:
    """The tables."""
    return TABLES


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """The database."""
    location = locate(database_url)
    database = Database(location, open_executors(location, 10))
    await database.transact(METADATA.create_all)
    yield database
    await database.close()
