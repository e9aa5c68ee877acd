"""The stream of notifications: complete, in order, live, each to whom it concerns."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from datetime import UTC, datetime, timedelta

import pytest

from placet_logtail import Batch, LiveStream
from placet_notification.domain import Notification, Payload
from placet_notification.store import Lease, Store
from placet_rpc.errors import OutOfRange

MakePayload = Callable[..., Payload]


async def tell(store: Store, payload: Payload, *keys: int, tenant: str = "default") -> None:
    now = datetime.now(UTC)
    for key in keys:
        await store.claim(tenant, str(key), payload, Lease("x", now, now + timedelta(seconds=9)))


Follower = AsyncGenerator[Batch[Notification], None]


def streaming(store: Store, *, sign_of_life: float = 5.0, poll: float = 1.0) -> LiveStream[Notification]:
    return LiveStream(store, sign_of_life=sign_of_life, poll=poll)


def following(
    stream: LiveStream[Notification],
    store: Store,
    start: int = 1,
    *,
    recipient: str | None = None,
    tenant: str = "default",
) -> Follower:
    return stream.follow(tenant, start, lambda cursor: store.read(tenant, cursor, recipient))


async def take(follower: Follower, count: int) -> list[int]:
    """The cursors of the next `count` notifications or more; signs of life are passed over."""
    cursors: list[int] = []
    async with asyncio.timeout(10):
        while len(cursors) < count:
            cursors += [notification.cursor for notification in (await anext(follower)).items]
    return cursors


async def sign(follower: Follower) -> int:
    """Where to resume, by the next batch, which is a sign of life."""
    batch = await anext(follower)
    assert not batch.items
    return batch.next


async def test_history_comes_first_then_a_sign_of_life_then_what_is_new(
    store: Store, make_payload: MakePayload
) -> None:
    stream = streaming(store)
    await tell(store, make_payload(), *range(130))
    async with aclosing(following(stream, store, start=6)) as follower:
        assert await take(follower, 125) == list(range(6, 131))
        assert await sign(follower) == 131
        waiting = asyncio.create_task(take(follower, 1))
        await asyncio.sleep(0)
        await tell(store, make_payload(), 130)
        stream.wake("default")
        assert await waiting == [131]


async def test_a_stream_resumes_from_where_it_was_left(
    sqlite_store: Store, make_payload: MakePayload
) -> None:
    stream = streaming(sqlite_store)
    await tell(sqlite_store, make_payload(), *range(6))
    async with aclosing(following(stream, sqlite_store)) as follower:
        resume_at = (await anext(follower)).next
    await tell(sqlite_store, make_payload(), 6, 7)
    async with aclosing(following(stream, sqlite_store, resume_at)) as follower:
        assert await take(follower, 2) == [7, 8]
    async with aclosing(following(stream, sqlite_store, start=5)) as follower:
        assert await take(follower, 4) == [5, 6, 7, 8]


async def test_people_see_their_own_and_resume_past_the_others(
    sqlite_store: Store, make_payload: MakePayload
) -> None:
    stream = streaming(sqlite_store)
    await tell(sqlite_store, make_payload(recipient="alice@example.com"), 1)
    await tell(sqlite_store, make_payload(recipient="bob@example.com"), 2, 3)
    async with aclosing(following(stream, sqlite_store, recipient="alice@example.com")) as follower:
        assert await take(follower, 1) == [1]
        assert await sign(follower) == 4


async def test_tenants_have_their_own_streams(sqlite_store: Store, make_payload: MakePayload) -> None:
    stream = streaming(sqlite_store)
    await tell(sqlite_store, make_payload(), 1, 2)
    await tell(sqlite_store, make_payload(), 1, tenant="other")
    async with aclosing(following(stream, sqlite_store, tenant="other")) as follower:
        assert await take(follower, 1) == [1]
        assert await sign(follower) == 2


async def test_signs_of_life_come_regularly(sqlite_store: Store) -> None:
    stream = streaming(sqlite_store, sign_of_life=0.05)
    async with aclosing(following(stream, sqlite_store)) as follower, asyncio.timeout(10):
        assert [await sign(follower) for _ in range(3)] == [1] * 3


async def test_signs_of_life_come_even_while_others_are_told(
    sqlite_store: Store, make_payload: MakePayload
) -> None:
    stream = streaming(sqlite_store, sign_of_life=0.1)

    async def tell_bob() -> None:
        for number in range(10_000):
            await tell(sqlite_store, make_payload(recipient="bob@example.com"), number)
            stream.wake("default")
            await asyncio.sleep(0.01)

    telling = asyncio.create_task(tell_bob())
    async with (
        aclosing(following(stream, sqlite_store, recipient="alice@example.com")) as follower,
        asyncio.timeout(10),
    ):
        cursors = [await sign(follower) for _ in range(4)]
    telling.cancel()
    await asyncio.wait([telling])
    assert cursors == sorted(cursors)
    assert cursors[-1] > 1


async def test_what_another_replica_adds_is_seen_without_being_told(
    store: Store, make_payload: MakePayload
) -> None:
    stream = streaming(store, sign_of_life=60, poll=0.05)
    async with stream, aclosing(following(stream, store)) as follower:
        assert await sign(follower) == 1
        waiting = asyncio.create_task(take(follower, 1))
        await asyncio.sleep(0)
        await tell(store, make_payload(), 1)
        assert await waiting == [1]


async def test_a_follower_that_does_not_read_holds_one_page(
    sqlite_store: Store, make_payload: MakePayload, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = streaming(sqlite_store)
    await tell(sqlite_store, make_payload(), *range(120))
    read_from: list[int] = []
    read = sqlite_store.read

    async def counted(tenant: str, cursor: int, recipient: str | None = None) -> object:
        read_from.append(cursor)
        return await read(tenant, cursor, recipient)

    monkeypatch.setattr(sqlite_store, "read", counted)
    async with (
        aclosing(following(stream, sqlite_store)) as follower,
        aclosing(following(stream, sqlite_store)) as reader,
    ):
        assert len((await anext(follower)).items) == 100
        stream.wake("default")
        # One that reads has read everything meanwhile.
        assert len((await anext(reader)).items) == 100
        assert len((await anext(reader)).items) == 20
        assert read_from == [1, 1, 101]


@pytest.mark.parametrize("start", [4, 2**63, 2**64 - 1])
async def test_a_cursor_that_was_never_given_is_refused(
    store: Store, make_payload: MakePayload, start: int
) -> None:
    stream = streaming(store)
    await tell(store, make_payload(), 1, 2)
    async with aclosing(following(stream, store, start=start)) as follower:
        with pytest.raises(OutOfRange, match="The stream ends at 3"):
            await anext(follower)
