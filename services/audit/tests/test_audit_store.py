"""The store's promises, on SQLite and on PostgreSQL."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from placet.event.v1 import error_reason_pb2, event_pb2
from placet_audit import tables
from placet_audit.domain import MAX_PAGE_BYTES, TENANT_LEVEL, Append, Draft, Placed
from placet_audit.log_keys import LogKeys
from placet_audit.store import Store, lock
from placet_rpc.errors import FailedPrecondition
from placet_storage import Database, DatabaseUnavailable
from placet_testing.databases import schema_differences

MakeAppend = Callable[..., Append]


async def append(store: Store, *appends: Append) -> list[Placed]:
    results = await store.append(appends)
    return [placed for placed in results if isinstance(placed, Placed)]


def test_the_migrations_build_the_tables_that_the_queries_use(database: Database, database_url: str) -> None:
    assert schema_differences(database_url, tables.metadata) == []


async def test_what_is_read_is_what_was_appended(store: Store, make_append: MakeAppend) -> None:
    (placed,) = await append(store, make_append("r1", 1, "a", "b"))

    assert placed.complete
    assert (await store.entries("default", 0, 10)).entries == list(placed.new)
    assert (await store.entries_of_request("default", "r1", limit=10)).entries == list(placed.new)


async def test_each_tenant_has_its_own_dense_log(store: Store, make_append: MakeAppend) -> None:
    await append(
        store,
        make_append("r1", 1, "a", "b", tenant="red"),
        make_append("r1", 1, "c", tenant="blue"),
        make_append(TENANT_LEVEL, 0, "a", tenant="blue"),
        make_append("r2", 1, "d", tenant="red"),
    )
    await append(store, make_append("r1", 3, "e", tenant="red"))

    for tenant, causes in {"red": ["a", "b", "d", "e"], "blue": ["c", "a"]}.items():
        entries = (await store.entries(tenant, 0, 10)).entries
        assert [entry.index for entry in entries] == list(range(len(causes)))
        assert [entry.draft.cause_id for entry in entries] == causes
        assert await store.size(tenant) == len(causes)
    assert await store.size("green") == 0


async def test_one_that_would_leave_a_gap_harms_no_other_of_its_batch(
    store: Store, make_append: MakeAppend
) -> None:
    results = await store.append(
        [make_append("r1", 1, "a"), make_append("r2", 5, "b"), make_append("r1", 2, "c")]
    )

    assert isinstance(results[1], FailedPrecondition)
    assert results[1].metadata == {"expected_next": "5", "next": "1"}
    causes = [entry.draft.cause_id for entry in (await store.entries("default", 0, 10)).entries]
    assert causes == ["a", "c"]


async def test_a_batch_sees_what_it_places_itself(store: Store, make_append: MakeAppend) -> None:
    first, second = await append(store, make_append("r1", 1, "a"), make_append("r1", 1, "b"))

    assert first.complete
    assert second == Placed(new=(), complete=False)


async def test_an_event_of_the_tenant_is_stored_once_by_its_cause(
    store: Store, make_append: MakeAppend
) -> None:
    await append(store, make_append(TENANT_LEVEL, 0, "a"))
    (again,) = await append(store, make_append(TENANT_LEVEL, 0, "a", "b", "b"))

    assert [entry.draft.cause_id for entry in again.new] == ["b"]
    assert not again.complete
    stored = (await store.entries_by_cause("default", ["a", "b"])).entries
    assert [(entry.index, entry.draft.cause_id) for entry in stored] == [(0, "a"), (1, "b")]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE entry SET cause_id = 'forged'",
        "UPDATE entry SET leaf = leaf",
        "DELETE FROM entry",
        "DELETE FROM entry WHERE number = 2",
    ],
)
async def test_the_database_refuses_to_change_or_delete_an_entry(
    store: Store, database: Database, make_append: MakeAppend, statement: str
) -> None:
    await append(store, make_append("r1", 1, "a", "b"))
    before = await store.entries("default", 0, 10)
    await delete_disclosures(database)  # what refers to entries must not be what protects them

    with pytest.raises(DBAPIError, match="append-only"):
        await database.transact(execute, sa.text(statement))

    after = await store.entries("default", 0, 10)
    assert [entry.draft.leaf for entry in after.entries] == [entry.draft.leaf for entry in before.entries]


def execute(connection: sa.Connection, statement: sa.Executable) -> None:
    connection.execute(statement)


async def delete_disclosures(database: Database) -> None:
    await database.transact(execute, sa.delete(tables.disclosure))


async def test_sqlite_refuses_to_replace_an_entry(
    sqlite_url: str, make_append: MakeAppend, log_keys: LogKeys
) -> None:
    database = await Database.open(sqlite_url, migrations="placet_audit")
    store = Store(database, log_keys)
    await append(store, make_append("r1", 1, "a"), make_append(TENANT_LEVEL, 0, "t"))
    await delete_disclosures(database)

    for row in ["0, 'r9', 9, 'x'", "7, 'r1', 1, 'x'", "7, '', 0, 't'"]:
        replace = sa.text(f"INSERT OR REPLACE INTO entry VALUES ('default', {row}, x'00')")
        with pytest.raises(DBAPIError, match="append-only"):
            await database.transact(execute, replace)

    assert [e.draft.cause_id for e in (await store.entries("default", 0, 10)).entries] == ["a", "t"]
    await database.close()


@pytest.mark.integration
async def test_postgresql_refuses_to_truncate_the_log(
    postgres_url: str, make_append: MakeAppend, log_keys: LogKeys
) -> None:
    database = await Database.open(postgres_url, migrations="placet_audit")
    store = Store(database, log_keys)
    await append(store, make_append("r1", 1, "a"))

    with pytest.raises(DBAPIError, match="append-only"):
        await database.transact(execute, sa.text("TRUNCATE entry CASCADE"))

    assert await store.size("default") == 1
    await database.close()


async def test_one_field_can_be_erased_and_the_rest_stays(
    store: Store, database: Database, make_append: MakeAppend
) -> None:
    (placed,) = await append(store, make_append("r1", 1, "a"))

    await database.transact(
        execute, sa.delete(tables.disclosure).where(tables.disclosure.c.path == "event.received.title")
    )

    (entry,) = (await store.entries("default", 0, 10)).entries
    assert entry.draft.leaf == placed.new[0].draft.leaf
    assert [disclosure.path for disclosure in entry.draft.disclosures] == ["event.actor.name"]


async def test_every_text_that_a_person_can_send_is_stored(store: Store, make_append: MakeAppend) -> None:
    whole = make_append("r1", 1, "a")
    (draft,) = whole.drafts
    odd = tuple(type(d)(d.path, d.salt, "nul \0, \u202e, 𝔘, \n") for d in draft.disclosures)
    wish = Append("default", "r1", 1, (Draft(draft.number, draft.cause_id, draft.leaf, odd),))

    await append(store, wish)

    (entry,) = (await store.entries("default", 0, 10)).entries
    assert entry.draft.disclosures == odd


async def test_pages_join_without_gap_or_overlap_and_say_whether_more_follow(
    store: Store, make_append: MakeAppend
) -> None:
    for number in range(1, 124):
        await append(store, make_append("r1", number, f"a{number}"), make_append("r2", number, f"b{number}"))

    for limit in (1, 99, 100, 101, 246, 1000):
        read, more = 0, True
        while more:
            page = await store.entries("default", read, limit)
            assert [entry.index for entry in page.entries] == list(range(read, min(read + limit, 246)))
            read, more = read + len(page.entries), page.more
        assert read == 246
    of_request = await store.entries_of_request("default", "r2", from_index=3, from_number=2, limit=100)
    assert [entry.draft.number for entry in of_request.entries] == list(range(2, 102))
    assert of_request.more
    assert await store.entries("default", 2**64 - 1, 10) == type(of_request)([], more=False)


def large_draft(number: int, filling: str) -> Draft:
    entry = event_pb2.Entry(tenant=filling, approval_id="r1", number=number)
    # Neither needs an attestation.
    getattr(entry.event, "received" if number == 1 else "refused").SetInParent()
    if number > 1:
        entry.event.actor.kind = event_pb2.ACTOR_KIND_SERVICE
        entry.event.refused.reason = error_reason_pb2.ERROR_REASON_UNDECODABLE
    return Draft(number, f"c{number}", entry.SerializeToString())


async def test_a_page_holds_no_more_than_fits_a_message(store: Store) -> None:
    large = "x" * (MAX_PAGE_BYTES // 3)
    for number in range(1, 5):
        await append(store, Append("default", "r1", number, (large_draft(number, large),)))

    page = await store.entries("default", 0, 1000)

    assert [entry.index for entry in page.entries] == [0, 1]
    assert page.more


async def test_several_processes_on_one_database_never_fork_a_log(
    database_url: str, make_append: MakeAppend, log_keys: LogKeys
) -> None:
    databases = [await Database.open(database_url, migrations="placet_audit") for _ in range(3)]
    stores = [Store(database, log_keys) for database in databases]

    async def race(store: Store, name: str) -> int:
        won = 0
        for number in range(1, 21):
            (placed,) = await append(store, make_append("shared", number, f"{name}{number}"))
            won += bool(placed.new)
            await append(store, make_append(f"own-{name}", number, f"own{number}"))
        return won

    wins = await asyncio.gather(*(race(store, f"p{i}-") for i, store in enumerate(stores)))

    assert sum(wins) == 20
    entries = (await stores[0].entries("default", 0, 1000)).entries
    assert [entry.index for entry in entries] == list(range(80))
    shared = [entry.draft.number for entry in entries if entry.approval_id == "shared"]
    assert shared == list(range(1, 21))
    for database in databases:
        await database.close()


@pytest.mark.integration
async def test_a_replica_that_hangs_in_mid_batch_does_not_stop_the_others_for_long(
    postgres_url: str, make_append: MakeAppend, log_keys: LogKeys
) -> None:
    hanging, healthy = [await Database.open(postgres_url, migrations="placet_audit") for _ in range(2)]
    wish = make_append("r1", 1, "a")

    held, go_on = asyncio.Event(), threading.Event()
    holding = asyncio.create_task(hold_the_lock(hanging, held, go_on))
    async with asyncio.timeout(30):
        await held.wait()
        while not await append_unless_locked(Store(healthy, log_keys), wish):
            continue
    go_on.set()
    with pytest.raises(DatabaseUnavailable):
        await holding

    assert await Store(healthy, log_keys).size("default") == 1
    for database in (hanging, healthy):
        await database.close()


async def hold_the_lock(hanging: Database, held: asyncio.Event, go_on: threading.Event) -> None:
    loop = asyncio.get_running_loop()

    def work(connection: sa.Connection) -> None:
        lock(connection)
        loop.call_soon_threadsafe(held.set)
        assert go_on.wait(30)
        connection.execute(sa.text("SELECT 1"))

    await hanging.transact(work)


async def append_unless_locked(store: Store, wish: Append) -> bool:
    try:
        await store.append([wish])
    except DatabaseUnavailable:
        return False
    return True
