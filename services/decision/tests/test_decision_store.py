"""Stored assessments, on SQLite and on PostgreSQL, with two tenants; each key is answered once."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from placet_decision.idempotency import Call, IdempotentAnswers
from placet_decision.store import Answer, Store, answer, metadata
from placet_rpc.errors import AlreadyExists, NotFound, Unavailable
from placet_storage import Database
from placet_testing.databases import schema_differences

A = Call("tenant-a", "key-1", "approval-1", b"a" * 32)


def test_the_migrations_make_the_tables_of_the_store(database_url: str) -> None:
    async def migrate() -> None:
        await (await Database.open(database_url, migrations="placet_decision")).close()

    asyncio.run(migrate())
    assert schema_differences(database_url, metadata) == []


async def test_an_answer_is_found_again(store: Store) -> None:
    given = Answer(b"d" * 32, b"response\x00\xff")
    assert await store.find("tenant-a", "key-1") is None
    assert await store.keep("tenant-a", "key-1", "approval-1", given) == given
    assert await store.find("tenant-a", "key-1") == given


async def test_the_first_answer_stays(store: Store) -> None:
    first, second = Answer(b"d" * 32, b"first"), Answer(b"e" * 32, b"second")
    await store.keep("tenant-a", "key-1", "approval-1", first)
    assert await store.keep("tenant-a", "key-1", "approval-1", second) == first
    assert await store.find("tenant-a", "key-1") == first


async def test_tenants_share_no_keys(store: Store) -> None:
    of_a, of_b = Answer(b"d" * 32, b"of a"), Answer(b"e" * 32, b"of b")
    await store.keep("tenant-a", "key-1", "approval-1", of_a)
    assert await store.find("tenant-b", "key-1") is None
    assert await store.keep("tenant-b", "key-1", "approval-1", of_b) == of_b
    assert await store.find("tenant-a", "key-1") == of_a


async def test_answers_survive_a_restart(database_url: str) -> None:
    given = Answer(b"d" * 32, b"response")
    database = await Database.open(database_url, migrations="placet_decision")
    await Store(database).keep("tenant-a", "key-1", "approval-1", given)
    await database.close()
    database = await Database.open(database_url, migrations="placet_decision")
    assert await Store(database).find("tenant-a", "key-1") == given
    written = await database.query(
        lambda connection: connection.execute(sa.select(answer.c.created_at)).scalar_one()
    )
    assert abs((datetime.now(UTC) - written).total_seconds()) < 300
    await database.close()


async def test_replicas_that_answer_at_once_store_one_answer(database_url: str) -> None:
    replicas = [await Database.open(database_url, migrations="placet_decision") for _ in range(2)]
    stores = [Store(database) for database in replicas]
    # No lock spans processes: all of them work, and all of them get what was stored first.
    kept = await asyncio.gather(
        *(
            stores[number % 2].keep("tenant-a", "key-1", "approval-1", Answer(b"d" * 32, b"%d" % number))
            for number in range(10)
        )
    )
    assert len(set(kept)) == 1
    assert await stores[0].find("tenant-a", "key-1") == kept[0]
    for database in replicas:
        await database.close()


async def test_what_is_old_is_purged_and_the_same_call_is_a_new_one_then(
    database_url: str,
) -> None:
    database = await Database.open(database_url, migrations="placet_decision")
    store = Store(database)
    answers, work = IdempotentAnswers(store), Work()
    work.go.set()
    await answers.once(A, work)
    await database.transact(
        lambda connection: connection.execute(
            sa.update(answer).values(created_at=datetime.now(UTC) - timedelta(days=200))
        )
    )
    recent = Call("tenant-b", "key-1", "approval-2", b"b" * 32)
    await answers.once(recent, work)

    before = datetime.now(UTC) - timedelta(days=184)
    assert await store.purge(before) == 1
    assert await store.purge(before) == 0

    assert await answers.once(recent, work) == b"answer 2"
    assert await answers.once(A, work) == b"answer 3"
    await database.close()


async def test_answers_that_are_purged_meanwhile_do_no_harm(store: Store) -> None:
    given = [Answer(b"d" * 32, b"%d" % number) for number in range(40)]

    async def purge() -> None:
        for _ in given:
            await store.purge(datetime.now(UTC) + timedelta(days=1))

    kept, _ = await asyncio.gather(
        asyncio.gather(*(store.keep("tenant-a", "key-1", "approval-1", one) for one in given)), purge()
    )
    assert set(kept) <= set(given)


class Work:
    """Counts how often it is done; waits until it may answer."""

    def __init__(self) -> None:
        self.begun = 0
        self.started = asyncio.Event()
        self.go = asyncio.Event()

    async def __call__(self) -> bytes:
        self.begun += 1
        self.started.set()
        number = self.begun
        await self.go.wait()
        return b"answer %d" % number


async def test_calls_with_one_key_at_once_cost_one_piece_of_work(store: Store) -> None:
    answers, work = IdempotentAnswers(store), Work()
    calls = [asyncio.create_task(answers.once(A, work)) for _ in range(20)]
    work.go.set()
    assert set(await asyncio.gather(*calls)) == {b"answer 1"}
    assert work.begun == 1


async def test_a_key_that_is_worked_on_delays_no_other(sqlite_store: Store) -> None:
    answers, slow, quick = IdempotentAnswers(sqlite_store), Work(), Work()
    held = asyncio.create_task(answers.once(A, slow))
    quick.go.set()
    async with asyncio.timeout(10):
        await answers.once(Call("tenant-b", "key-1", "approval-1", b"b" * 32), quick)
        await answers.once(Call("tenant-a", "key-2", "approval-1", b"b" * 32), quick)
    assert not held.done()
    slow.go.set()
    assert await held == b"answer 1"


async def test_the_same_key_with_another_payload_is_an_error(store: Store) -> None:
    answers, work = IdempotentAnswers(store), Work()
    work.go.set()
    await answers.once(A, work)
    with pytest.raises(AlreadyExists) as raised:
        await answers.once(Call("tenant-a", "key-1", "approval-1", b"z" * 32), work)
    assert raised.value.reason == "ID_REUSED"
    assert raised.value.metadata == {"idempotency_key": "key-1"}
    assert await answers.once(A, work) == b"answer 1"
    assert work.begun == 1


async def test_cheap_work_is_done_again_and_the_first_answer_stands(store: Store) -> None:
    answers, work = IdempotentAnswers(store), Work()
    work.go.set()
    for _ in range(2):
        assert await answers.once(A, work, cheap=True) == b"answer 1"
    assert work.begun == 2
    with pytest.raises(AlreadyExists):
        await answers.once(Call("tenant-a", "key-1", "approval-1", b"z" * 32), work, cheap=True)


@pytest.mark.parametrize("cheap", [False, True])
async def test_the_first_answer_stands_although_the_work_can_no_longer_be_done(
    sqlite_store: Store, cheap: bool
) -> None:
    answers, work = IdempotentAnswers(sqlite_store), Work()
    work.go.set()

    async def fails() -> bytes:
        raise NotFound("erased", reason="UNKNOWN_CONTENT")

    with pytest.raises(NotFound):
        await answers.once(A, fails, cheap=cheap)
    assert await answers.once(A, work, cheap=cheap) == b"answer 1"
    assert await answers.once(A, fails, cheap=cheap) == b"answer 1"


async def test_a_failure_is_not_stored(store: Store) -> None:
    answers, work = IdempotentAnswers(store), Work()
    work.go.set()

    async def fails() -> bytes:
        raise Unavailable("down", reason="MODEL_UNAVAILABLE")

    with pytest.raises(Unavailable):
        await answers.once(A, fails)
    assert await answers.once(A, work) == b"answer 1"


async def test_a_caller_that_gives_up_leaves_the_work_to_the_next(sqlite_store: Store) -> None:
    answers, abandoned, work = IdempotentAnswers(sqlite_store), Work(), Work()
    first = asyncio.create_task(answers.once(A, abandoned))
    async with asyncio.timeout(10):
        await abandoned.started.wait()
    second = asyncio.create_task(answers.once(A, work))
    first.cancel()
    work.go.set()
    assert await second == b"answer 1"
    with pytest.raises(asyncio.CancelledError):
        await first
