"""A stream that several replicas write: live, cheap however many follow, and it ends when it cannot know."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing

import pytest

from placet_logtail import Batch, LiveStream
from placet_rpc.errors import OutOfRange, Unavailable
from placet_storage import DatabaseUnavailable

TENANT = "home"
NEVER = 3600.0
Follower = AsyncGenerator[Batch[str], None]


class CountedStore:
    """A store in memory that counts what is asked of it, and can be away."""

    def __init__(self) -> None:
        self.items: list[str] = []
        self.reads = 0
        self.away = False

    async def ends(self, tenants: Sequence[str]) -> Mapping[str, int]:
        if self.away:
            raise DatabaseUnavailable("away")
        return {TENANT: len(self.items)}

    async def read(self, tenant: str, position: int) -> Batch[str]:
        self.reads += 1
        items = self.items[position : position + 2]
        return Batch(items, position + len(items), len(self.items))

    def write(self, stream: LiveStream[str], *items: str) -> None:
        """As this process writes."""
        position = len(self.items)
        self.items += items
        stream.publish(TENANT, position, items)


def streaming(store: CountedStore, *, poll: float = NEVER, keep: int = 1000) -> LiveStream[str]:
    return LiveStream(
        store, poll=poll, sign_of_life=NEVER, keep=keep, size=len, erases=lambda item: item == "erased"
    )


async def take(follower: Follower, count: int) -> list[str]:
    found: list[str] = []
    async with asyncio.timeout(60):
        while len(found) < count:
            found += (await anext(follower)).items
    return found


@pytest.mark.slow
async def test_a_thousand_followers_ask_the_store_nothing_and_share_each_item() -> None:
    store = CountedStore()
    stream = streaming(store)
    followers = [stream.follow(TENANT, 0) for _ in range(1000)]
    await asyncio.gather(*(anext(follower) for follower in followers))

    for number in range(10):
        store.write(stream, f"item {number}")
        batches = await asyncio.gather(*(anext(follower) for follower in followers))
        assert all(batch == Batch([f"item {number}"], number + 1, number + 1) for batch in batches)
        assert len({id(batch.items[0]) for batch in batches}) == 1

    assert store.reads == 0
    for follower in followers:
        await follower.aclose()


@pytest.mark.parametrize("keep", [0, 1, 1000])
async def test_what_another_process_wrote_is_seen(keep: int) -> None:
    store = CountedStore()
    async with (
        streaming(store, poll=0.01, keep=keep) as stream,
        aclosing(stream.follow(TENANT, 0)) as follower,
    ):
        assert await anext(follower) == Batch((), 0, 0)
        store.items += ["a", "b", "c"]
        assert await take(follower, 3) == ["a", "b", "c"]
        store.items += ["d"]
        store.write(stream, "e")
        stream.wake(TENANT)
        assert await take(follower, 2) == ["d", "e"]


async def test_who_is_too_slow_for_what_is_kept_reads_the_store_without_a_gap() -> None:
    store = CountedStore()
    stream = streaming(store, keep=4)
    async with aclosing(stream.follow(TENANT, 0)) as follower:
        await anext(follower)
        written = [f"{number:02}" for number in range(9)]
        for item in written:
            store.write(stream, item)
        assert await take(follower, 9) == written
    assert store.reads


async def test_what_was_kept_before_an_erasure_is_read_anew() -> None:
    store = CountedStore()
    stream = streaming(store)
    async with aclosing(stream.follow(TENANT, 0)) as live:
        await anext(live)
        store.write(stream, "secret")
        assert await take(live, 1) == ["secret"]
        store.items[0] = "-"
        store.write(stream, "erased")
        async with aclosing(stream.follow(TENANT, 0)) as anew:
            assert await take(anew, 2) == ["-", "erased"]


async def test_followers_end_unavailable_while_the_store_cannot_be_read_and_can_resume() -> None:
    store = CountedStore()
    async with streaming(store, poll=0.01) as stream:
        follower = stream.follow(TENANT, 0)
        await anext(follower)
        store.away = True
        with pytest.raises(Unavailable, match="cannot be read"):
            await take(follower, 1)
        store.away = False

        async with aclosing(stream.follow(TENANT, 0)) as resumed:
            assert await anext(resumed) == Batch((), 0, 0)


@pytest.mark.parametrize("keep", [0, 1000])
async def test_followers_end_unavailable_when_the_stream_is_put_back_and_can_resume_where_it_ends(
    keep: int,
) -> None:
    store = CountedStore()
    async with streaming(store, poll=0.01, keep=keep) as stream:
        reading, idle = stream.follow(TENANT, 0), stream.follow(TENANT, 0)
        await anext(reading)
        await anext(idle)
        store.items += ["a", "b", "c"]
        assert await take(reading, 3) == ["a", "b", "c"]

        del store.items[1:]
        for follower in (reading, idle):
            with pytest.raises(Unavailable, match="shorter than it was"):
                await take(follower, 4)

        async with aclosing(stream.follow(TENANT, 1)) as resumed:
            assert await anext(resumed) == Batch((), 1, 1)
            store.items += ["other"]
            assert await take(resumed, 1) == ["other"]


async def test_a_position_beyond_the_end_is_refused() -> None:
    store = CountedStore()
    store.items += ["a"]
    with pytest.raises(OutOfRange, match="Resume from 1 at most") as refusal:
        await anext(streaming(store).follow(TENANT, 2))
    assert refusal.value.reason == "BEYOND_END"
    assert refusal.value.metadata == {"from": "2", "end": "1"}


async def test_nothing_is_kept_for_a_tenant_that_nobody_follows() -> None:
    store = CountedStore()
    stream = streaming(store)
    async with aclosing(stream.follow(TENANT, 0)) as follower:
        await anext(follower)
        store.write(stream, "a")
        assert stream.followed == {TENANT}
        assert stream.kept(TENANT, 0) == "a"
    assert stream.followed == frozenset()
    assert stream.kept(TENANT, 0) is None
