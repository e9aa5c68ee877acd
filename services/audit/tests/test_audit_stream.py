"""Tails: complete, in order, live, and cheap however many there are."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any

import pytest

from placet.event.v1 import event_pb2
from placet_audit.domain import Append
from placet_audit.store import Store
from placet_logtail import Batch
from placet_rpc.errors import OutOfRange

MakeAppend = Callable[..., Append]
# The running log of conftest, which tests cannot import by name.
RunningLog = Any
Tail = AsyncGenerator[Batch[event_pb2.LogEntry], None]


async def read(tail: Tail, count: int) -> list[int]:
    """The indexes of the next `count` entries, within a generous bound."""
    indexes: list[int] = []
    async with asyncio.timeout(60):
        while len(indexes) < count:
            indexes += [entry.index for entry in (await anext(tail)).items]
    return indexes


async def test_a_tail_gives_history_then_says_that_it_is_current_then_goes_live(
    running: RunningLog, make_append: MakeAppend
) -> None:
    for number in range(1, 251):
        await running.sequencer.append(make_append("r1", number, f"c{number}"))

    async with aclosing(running.stream.follow("default", 7)) as tail:
        assert await read(tail, 243) == list(range(7, 250))
        current = await anext(tail)
        assert (list(current.items), current.end) == ([], 250)
        await running.sequencer.append(make_append("r1", 251, "live", "and more"))
        live = await anext(tail)
        assert [entry.entry.event.cause_id for entry in live.items] == ["live", "and more"]
        assert live.items[0].entry.event.actor.name.value == "alice@example.com"
        assert live.end == 252


async def test_a_tail_of_an_empty_log_is_current_at_once(running: RunningLog) -> None:
    async with aclosing(running.stream.follow("default", 0)) as tail:
        assert await anext(tail) == Batch((), 0, 0)


async def test_a_silent_tail_says_again_and_again_that_it_is_current(
    store: Store, start_log: Callable[..., RunningLog]
) -> None:
    async with start_log(store, sign_of_life=0.05) as log, aclosing(log.stream.follow("default", 0)) as tail:
        async with asyncio.timeout(60):
            batches = [await anext(tail) for _ in range(3)]

    assert batches == [Batch((), 0, 0)] * 3


async def test_a_tail_cannot_begin_beyond_the_end(running: RunningLog) -> None:
    with pytest.raises(OutOfRange) as refusal:
        await anext(running.stream.follow("default", 1))

    assert refusal.value.reason == "BEYOND_END"


async def test_a_tail_sees_its_own_tenant_only(running: RunningLog, make_append: MakeAppend) -> None:
    async with aclosing(running.stream.follow("red", 0)) as tail:
        await anext(tail)
        await running.sequencer.append(make_append("r1", 1, "blue", tenant="blue"))
        await running.sequencer.append(make_append("r1", 1, "red", tenant="red"))
        assert [e.entry.tenant for e in (await anext(tail)).items] == ["red"]


async def test_a_tail_sees_what_another_process_committed(
    running: RunningLog, store: Store, make_append: MakeAppend
) -> None:
    async with aclosing(running.stream.follow("default", 0)) as tail:
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
    async with start_log(store, keep_bytes=1) as log, aclosing(log.stream.follow("default", 0)) as tail:
        await anext(tail)
        for number in range(1, 31):
            await log.sequencer.append(make_append("r1", number, f"c{number}"))
        assert await read(tail, 30) == list(range(30))


async def test_nothing_is_kept_for_a_tenant_that_nobody_tails(
    running: RunningLog, make_append: MakeAppend
) -> None:
    async with aclosing(running.stream.follow("default", 0)) as tail:
        await anext(tail)
        await running.sequencer.append(make_append("r1", 1, "a", tenant="other"))
        assert running.stream.followed == {"default"}

    assert running.stream.followed == frozenset()
