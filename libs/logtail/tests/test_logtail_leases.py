"""One process at a time holds a lease, alike on SQLite and PostgreSQL."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from placet_logtail import LeaseStore, LogTables
from placet_storage import Database

NOW = datetime(2030, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
SECOND = timedelta(seconds=1)


@pytest.fixture
def leases(database: Database, tables: LogTables) -> LeaseStore:
    return LeaseStore(database, tables)


def of(*tenants: str) -> set[tuple[str, str]]:
    return {("view", tenant) for tenant in tenants}


async def test_a_lease_has_one_holder_until_it_runs_out(leases: LeaseStore) -> None:
    assert await leases.hold(of("a", "b"), "first", NOW, 4 * SECOND) == of("a", "b")

    assert await leases.hold(of("c", "b", "a"), "second", NOW + 3 * SECOND, 4 * SECOND) == of("c")
    assert await leases.hold(of("a"), "first", NOW + 3 * SECOND, 4 * SECOND) == of("a")
    assert await leases.hold(of("a", "b"), "second", NOW + 5 * SECOND, 4 * SECOND) == of("b")
    assert await leases.hold(of(), "second", NOW, SECOND) == set()


async def test_a_wrong_clock_keeps_no_lease(leases: LeaseStore) -> None:
    await leases.hold(of("a", "b"), "ahead", NOW + timedelta(days=40), 4 * SECOND)
    await leases.hold(of("c"), "a little ahead", NOW + 3 * SECOND, 4 * SECOND)

    assert await leases.hold(of("a", "c"), "right", NOW, 4 * SECOND) == of("a")
    assert await leases.hold(of("a"), "second", NOW + SECOND, 4 * SECOND) == set()
    # However far a clock is behind.
    assert await leases.hold(of("b"), "behind", NOW - timedelta(days=40), 4 * SECOND) == of("b")
    assert await leases.hold(of("b"), "right", NOW, 4 * SECOND) == of("b")


async def test_a_lease_that_is_given_back_is_free_at_once(leases: LeaseStore) -> None:
    await leases.hold(of("a"), "first", NOW, 4 * SECOND)
    await leases.hold(of("b"), "other", NOW, 4 * SECOND)

    await leases.release("first")

    assert await leases.hold(of("a", "b"), "second", NOW, 4 * SECOND) == of("a")


async def test_of_many_who_want_a_lease_at_once_one_gets_it(leases: LeaseStore) -> None:
    names = of("a", "b", "c")
    held = await asyncio.gather(*(leases.hold(names, f"holder-{number}", NOW, SECOND) for number in range(8)))

    for name in names:
        assert sum(name in one for one in held) == 1
