"""DecisionService's parts on real databases, and documents that the tests share."""

from collections.abc import AsyncIterator, Callable

import pytest

from placet_decision.domain import Case, Document
from placet_decision.store import Store
from placet_storage import Database

MakeCase = Callable[..., Case]


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    """The answers' store, on SQLite and then on PostgreSQL."""
    database = await Database.open(database_url, migrations="placet_decision")
    yield Store(database)
    await database.close()


@pytest.fixture
async def sqlite_store(sqlite_url: str) -> AsyncIterator[Store]:
    """A store for tests that are not about databases."""
    database = await Database.open(sqlite_url, migrations="placet_decision")
    yield Store(database)
    await database.close()


@pytest.fixture
def make_case() -> MakeCase:
    """A case about a text."""

    def make(text: str, title: str = "A request", **more: object) -> Case:
        return Case(Document(title, text, "text/plain"), **more)  # type: ignore[arg-type]  # a test's shorthand

    return make
