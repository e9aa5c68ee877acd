"""The stream of notifications: complete, in order, live, each to whom it concerns."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from datetime import UTC, datetime, timedelta

import pytest

from placet_notification.domain import Payload
from placet_notification.store import Lease, Store
from placet_notification.stream import Step, Stream
from placet_rpc.errors import OutOfRange

MakePayload = Callable[..., Payload]


async def tell(store: Store, payload: Payload, *keys: int, tenant: str = "default") -> None:
    now = datetime.now(UTC)
    for key in keys:
        await store.claim(tenant, str(key), payload, Lease("x", now, now + timedelta(seconds=9)))


def following(
    stream: Stream, after: int = 0, *, recipient: str | None = None, tenant: str = "default"
) -> AsyncGenerator[Step, None]:
    return stream.follow(tenant, after, recipient=recipient)


async def take(follower: AsyncGenerator[Step, None], count: int) -> list[int]:
    """The cursors of the next `count` notifications; signs of life are passed over."""
    cursors: list[int] = []
    async with asyncio.timeout(10):
        while len(cursors) < count:
            step = await anext(follower)
            if step.notification is not None:
                assert step.cursor == step.notification.cursor
                cursors.append(step.cursor)
    return cursors


async def test_history_comes_first_then_a_sign_of_life_then_what_is_new(
    store: Store, make_payload: MakePayload
) -> None:
    stream = Stream(store)
    await tell(store, make_payload(), *range(130))
    async with aclosing(following(stream, after=5)) as follower:
        assert await take(follower, 125) == list(range(6, 131))
        assert await anext(follower) == Step(None, 130)
        waiting = asyncio.create_task(take(follower, 1))
        await asyncio.sleep(0)
        await tell(store, make_payload(), 130)
        stream.ring("default")
        assert await waiting == [131]
    await stream.close()


async def test_a_stream_resumes_after_the_cursor_seen_last(
    sqlite_store: Store, make_payload: MakePayload
) -> None:
    stream = Stream(sqlite_store)
    await tell(sqlite_store, make_payload(), *range(6))
    async with aclosing(following(stream)) as follower:
        first = await take(follower, 4)
    async with aclosing(following(stream, after=first[-1])) as follower:
        assert await take(follower, 2) == [5, 6]
    await stream.close()


async def test_people_see_their_own_and_resume_past_the_others(
    sqlite_store: Store, make_payload: MakePayload
) -> None:
    stream = Stream(sqlite_store)
    await tell(sqlite_store, make_payload(recipient="alice@example.com"), 1)
    await tell(sqlite_store, make_payload(recipient="bob@example.com"), 2, 3)
    async with aclosing(following(stream, recipient="alice@example.com")) as follower:
        assert await take(follower, 1) == [1]
        assert await anext(follower) == Step(None, 3)
    await stream.close()


async def test_tenants_have_their_own_streams(sqlite_store: Store, make_payload: MakePayload) -> None:
    stream = Stream(sqlite_store)
    await tell(sqlite_store, make_payload(), 1, 2)
    await tell(sqlite_store, make_payload(), 1, tenant="other")
    async with aclosing(following(stream, tenant="other")) as follower:
        assert await take(follower, 1) == [1]
        assert await anext(follower) == Step(None, 1)
    await stream.close()


async def test_signs_of_life_come_regularly(sqlite_store: Store) -> None:
    stream = Stream(sqlite_store, sign_of_life=0.05)
    async with aclosing(following(stream)) as follower, asyncio.timeout(10):
        assert [await anext(follower) for _ in range(3)] == [Step(None, 0)] * 3
    await stream.close()


async def test_signs_of_life_come_even_while_others_are_told(
    sqlite_store: Store, make_payload: MakePayload
) -> None:
    stream = Stream(sqlite_store, sign_of_life=0.1)

    async def tell_bob() -> None:
        for number in range(10_000):
            await tell(sqlite_store, make_payload(recipient="bob@example.com"), number)
            stream.ring("default")
            await asyncio.sleep(0.01)

    telling = asyncio.create_task(tell_bob())
    async with aclosing(following(stream, recipient="alice@example.com")) as follower, asyncio.timeout(10):
        cursors = [(await anext(follower)).cursor for _ in range(4)]
    telling.cancel()
    await asyncio.wait([telling])
    assert cursors == sorted(cursors)
    assert cursors[-1] > 0
    await stream.close()


async def test_what_another_replica_adds_is_seen_without_being_told(
    store: Store, make_payload: MakePayload
) -> None:
    stream = Stream(store, sign_of_life=60, poll=0.05)
    async with aclosing(following(stream)) as follower:
        assert await anext(follower) == Step(None, 0)
        waiting = asyncio.create_task(take(follower, 1))
        await asyncio.sleep(0)
        await tell(store, make_payload(), 1)
        assert await waiting == [1]
    await stream.close()


async def test_a_follower_that_does_not_read_holds_one_page(
    sqlite_store: Store, make_payload: MakePayload, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = Stream(sqlite_store)
    await tell(sqlite_store, make_payload(), *range(120))
    limits: list[int] = []
    after = sqlite_store.after

    async def counted(tenant: str, cursor: int, *, recipient: str | None, limit: int) -> object:
        limits.append(limit)
        return await after(tenant, cursor, recipient=recipient, limit=limit)

    monkeypatch.setattr(sqlite_store, "after", counted)
    async with aclosing(following(stream)) as follower:
        await anext(follower)
        stream.ring("default")
        await asyncio.sleep(0.05)
        assert limits == [100]
    await stream.close()


@pytest.mark.parametrize("after", [3, 2**63, 2**64 - 1])
async def test_a_cursor_that_was_never_given_is_refused(
    store: Store, make_payload: MakePayload, after: int
) -> None:
    stream = Stream(store)
    await tell(store, make_payload(), 1, 2)
    async with aclosing(following(stream, after=after)) as follower:
        with pytest.raises(OutOfRange, match="the stream ends at 2"):
            await anext(follower)
    await stream.close()
