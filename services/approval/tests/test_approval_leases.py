"""Who writes the view is one process at a time, alike on SQLite and PostgreSQL."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from placet_approval.store.view import ViewStore
from placet_storage import Database

NOW = datetime(2030, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
SECOND = timedelta(seconds=1)


@pytest.fixture
def views(database: Database) -> ViewStore:
    return ViewStore(database)


async def test_a_lease_has_one_holder_until_it_runs_out(views: ViewStore) -> None:
    assert await views.hold_leases(["a", "b"], "first", NOW, 4 * SECOND) == {"a", "b"}

    assert await views.hold_leases(["c", "b", "a"], "second", NOW + 3 * SECOND, 4 * SECOND) == {"c"}
    assert await views.hold_leases(["a"], "first", NOW + 3 * SECOND, 4 * SECOND) == {"a"}
    assert await views.hold_leases(["a", "b"], "second", NOW + 5 * SECOND, 4 * SECOND) == {"b"}
    assert await views.hold_leases([], "second", NOW, SECOND) == set()


async def test_a_lease_that_is_given_back_is_free_at_once(views: ViewStore) -> None:
    await views.hold_leases(["a"], "first", NOW, 4 * SECOND)
    await views.hold_leases(["b"], "other", NOW, 4 * SECOND)

    await views.release_leases("first")

    assert await views.hold_leases(["a", "b"], "second", NOW, 4 * SECOND) == {"a"}


async def test_of_many_who_want_a_lease_at_once_one_gets_it(views: ViewStore) -> None:
    names = ["a", "b", "c"]
    held = await asyncio.gather(
        *(views.hold_leases(names, f"holder-{number}", NOW, SECOND) for number in range(8))
    )

    for name in names:
        assert sum(name in one for one in held) == 1
