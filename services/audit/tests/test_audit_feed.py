"""Tails: complete, in order, live, and cheap however many there are."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any

import pytest

from placet.event.v1 import event_pb2
from placet_audit.domain import Append, Entry, Page
from placet_audit.feed import Feed, Stretch
from placet_audit.store import Store
from placet_rpc.errors import OutOfRange, Unavailable
from placet_storage import DatabaseUnavailable

MakeAppend = Callable[..., Append]
# The running log of conftest, which tests cannot import by name.
RunningLog = Any
Tail = AsyncGenerator[Stretch[event_pb2.LogEntry], None]


async def read(tail: Tail, count: int) -> list[int]:
    """The indexes of the next `count` entries, within a generous bound."""
    indexes: list[int] = []
    async with asyncio.timeout(60):
        while len(indexes) < count:
            indexes += [entry.index for entry in (await anext(tail)).answers]
    return indexes


async def test_a_tail_gives_history_then_says_that_it_is_current_then_goes_live(
    running: RunningLog, make_append: MakeAppend
) -> None:
    for number in range(1, 251):
        await running.sequencer.append(make_append("r1", number, f"c{number}"))

    async with aclosing(running.feed.tail("default", 7)) as tail:
        assert await read(tail, 243) == list(range(7, 250))
        current = await anext(tail)
        assert (list(current.answers), current.size) == ([], 250)
        await running.sequencer.append(make_append("r1", 251, "live", "and more"))
        live = await anext(tail)
        assert [entry.entry.event.cause_id for entry in live.answers] == ["live", "and more"]
        assert live.answers[0].entry.event.actor.name.value == "alice@example.com"
        assert live.size == 252


async def test_a_tail_of_an_empty_log_is_current_at_once(running: RunningLog) -> None:
    async with aclosing(running.feed.tail("default", 0)) as tail:
        assert await anext(tail) == Stretch([], 0)


async def test_a_silent_tail_says_again_and_again_that_it_is_current(
    store: Store, start_log: Callable[..., RunningLog]
) -> None:
    async with start_log(store, pulse=0.05) as log, aclosing(log.feed.tail("default", 0)) as tail:
        async with asyncio.timeout(60):
            stretches = [await anext(tail) for _ in range(3)]

    assert stretches == [Stretch([], 0)] * 3


async def test_a_tail_cannot_begin_beyond_the_end(running: RunningLog) -> None:
    with pytest.raises(OutOfRange) as refusal:
        await anext(running.feed.tail("default", 1))

    assert refusal.value.reason == "BEYOND_END"


async def test_a_tail_sees_its_own_tenant_only(running: RunningLog, make_append: MakeAppend) -> None:
    async with aclosing(running.feed.tail("red", 0)) as tail:
        await anext(tail)
        await running.sequencer.append(make_append("r1", 1, "blue", tenant="blue"))
        await running.sequencer.append(make_append("r1", 1, "red", tenant="red"))
        assert [e.entry.tenant for e in (await anext(tail)).answers] == ["red"]


async def test_a_tail_sees_what_another_process_committed(
    running: RunningLog, store: Store, make_append: MakeAppend
) -> None:
    async with aclosing(running.feed.tail("default", 0)) as tail:
        await anext(tail)
        for number in range(1, 251):
            await store.append([make_append("r1", number, f"c{number}")])
        assert await read(tail, 250) == list(range(250))
        await store.append([make_append("r2", 1, "elsewhere")])
        await running.sequencer.append(make_append("r2", 2, "here"))
        assert await read(tail, 2) == [250, 251]


async def test_a_reader_too_slow_for_what_is_kept_pages_from_the_store_without_a_gap(
    store: Store, start_log: Callable[..., RunningLog], make_append: MakeAppend
) -> None:
    async with start_log(store, keep_bytes=1) as log, aclosing(log.feed.tail("default", 0)) as tail:
        await anext(tail)
        for number in range(1, 31):
            await log.sequencer.append(make_append("r1", number, f"c{number}"))
        assert await read(tail, 30) == list(range(30))


class CountedLog:
    """A store in memory that counts what is asked of it, and can be away."""

    def __init__(self) -> None:
        self.stored: list[Entry] = []
        self.asked = 0
        self.away = False

    async def size(self, tenant: str) -> int:
        return len(self.stored)

    async def entries(self, tenant: str, from_index: int, limit: int) -> Page:
        self.asked += 1
        if self.away:
            raise DatabaseUnavailable("away")
        return Page(self.stored[from_index : from_index + limit], more=from_index + limit < len(self.stored))

    def commit(self, feed: Feed[int], append: Append) -> None:
        index = len(self.stored)
        self.stored.append(Entry("default", index, append.approval_id, append.drafts[0]))
        feed.publish(self.stored[index:])


async def test_a_thousand_live_tails_ask_the_store_nothing_and_share_each_answer(
    make_append: MakeAppend,
) -> None:
    log, rendered = CountedLog(), []

    def render(entry: Entry) -> int:
        rendered.append(entry.index)
        return entry.index

    feed = Feed(log, render, keep_bytes=1 << 20, poll_interval=3600, pulse=3600)
    tails = [feed.tail("default", 0) for _ in range(1000)]
    await asyncio.gather(*(anext(tail) for tail in tails))

    for number in range(1, 11):
        log.commit(feed, make_append("r1", number, f"c{number}"))
        stretches = await asyncio.gather(*(anext(tail) for tail in tails))
        assert all(stretch == Stretch([number - 1], number) for stretch in stretches)

    assert log.asked == 0
    assert rendered == list(range(10))
    for tail in tails:
        await tail.aclose()


async def test_a_tail_ends_unavailable_while_the_store_cannot_be_read_and_can_be_resumed() -> None:
    log = CountedLog()
    feed = Feed(log, lambda entry: entry.index, keep_bytes=1 << 20, poll_interval=0.01, pulse=3600)
    polling = asyncio.create_task(feed.run())
    tail = feed.tail("default", 0)
    await anext(tail)

    log.away = True
    with pytest.raises(Unavailable):
        async with asyncio.timeout(60):
            await anext(tail)
    log.away = False

    async with aclosing(feed.tail("default", 0)) as resumed:
        assert await anext(resumed) == Stretch([], 0)
    feed.close()
    await polling


async def test_a_tail_ends_unavailable_when_the_log_is_put_back_and_can_be_resumed_where_it_ends_now(
    make_append: MakeAppend,
) -> None:
    log = CountedLog()
    feed = Feed(log, lambda entry: entry.index, keep_bytes=1 << 20, poll_interval=0.01, pulse=3600)
    polling = asyncio.create_task(feed.run())
    tail, idle = feed.tail("default", 0), feed.tail("default", 0)
    await anext(tail)
    await anext(idle)
    for number in range(1, 4):
        log.commit(feed, make_append("r1", number, f"c{number}"))
    assert await read_numbers(tail, 3) == [0, 1, 2]

    del log.stored[1:]
    for one in (tail, idle):
        with pytest.raises(Unavailable, match="shorter than it was"):
            await read_numbers(one, 4)

    async with aclosing(feed.tail("default", 1)) as resumed:
        assert await anext(resumed) == Stretch([], 1)
        log.commit(feed, make_append("r2", 1, "other"))
        assert await anext(resumed) == Stretch([1], 2)
    feed.close()
    await polling


async def read_numbers(tail: AsyncGenerator[Stretch[int], None], count: int) -> list[int]:
    found: list[int] = []
    async with asyncio.timeout(60):
        while len(found) < count:
            found += (await anext(tail)).answers
    return found


async def test_nothing_is_kept_for_a_tenant_that_nobody_tails(
    running: RunningLog, make_append: MakeAppend
) -> None:
    async with aclosing(running.feed.tail("default", 0)) as tail:
        await anext(tail)
        await running.sequencer.append(make_append("r1", 1, "a", tenant="other"))
        assert set(running.feed._recent) == {"default"}

    assert running.feed._recent == {}
