"""Slots are given in turns: nobody waits behind a key that has many waiters."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from placet_jobs import FairSemaphore
from placet_rpc.errors import ResourceExhausted


class Workers:
    """Tasks that hold a slot until the test ends them; `began` names their keys in order."""

    def __init__(self, semaphore: FairSemaphore) -> None:
        self._semaphore = semaphore
        self._ends: list[asyncio.Event] = []
        self.began: list[str] = []

    async def work(self, key: str) -> None:
        async with self._semaphore.slot(key):
            self.began.append(key)
            self._ends.append(end := asyncio.Event())
            await end.wait()

    async def start(self, keys: Sequence[str]) -> list[asyncio.Task[None]]:
        tasks = [asyncio.create_task(self.work(key)) for key in keys]
        await settled()
        return tasks

    async def end_next(self) -> None:
        self._ends.pop(0).set()
        await settled()

    async def end_all(self) -> None:
        while self._ends:
            await self.end_next()


async def settled() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_a_key_with_one_waiter_is_next_however_many_another_has() -> None:
    workers = Workers(FairSemaphore(1, waiting=100))
    await workers.start(["many"] * 50)
    await workers.start(["one", "other"])
    await workers.end_next()
    await workers.end_next()
    await workers.end_next()
    assert workers.began[:4] == ["many", "many", "one", "other"]
    await workers.end_all()
    assert workers.began.count("many") == 50


async def test_one_slot_stays_free_for_another_key() -> None:
    workers = Workers(FairSemaphore(3, waiting=100))
    await workers.start(["many"] * 10)
    assert workers.began == ["many"] * 2
    await workers.start(["one"])
    assert workers.began == ["many", "many", "one"]
    await workers.end_all()


async def test_too_many_waiters_of_one_key_are_refused_and_no_one_else_is() -> None:
    workers = Workers(FairSemaphore(1, waiting=2))
    tasks = await workers.start(["many"] * 4)
    with pytest.raises(ResourceExhausted) as refused:
        await tasks[3]
    assert (refused.value.reason, refused.value.domain) == ("TENANT_BUSY", "rpc.placet")
    assert refused.value.metadata == {"limit": "2"}
    await workers.start(["one"])
    await workers.end_all()
    assert workers.began == ["many", "many", "one", "many"]


@given(
    slots=st.integers(1, 4),
    steps=st.lists(st.tuples(st.sampled_from(["start", "cancel", "end"]), st.integers(0, 30)), max_size=60),
)
async def test_no_slot_is_lost_or_given_twice(slots: int, steps: list[tuple[str, int]]) -> None:
    semaphore = FairSemaphore(slots, waiting=5)
    tasks: list[tuple[asyncio.Task[None], asyncio.Event]] = []
    held = 0

    async def work(key: str, end: asyncio.Event) -> None:
        nonlocal held
        async with semaphore.slot(key):
            held += 1
            assert held <= slots
            try:
                await end.wait()
            finally:
                held -= 1

    for step, number in steps:
        if step == "start":
            end = asyncio.Event()
            tasks.append((asyncio.create_task(work("abc"[number % 3], end)), end))
        elif tasks and step == "cancel":
            tasks[number % len(tasks)][0].cancel()
        elif tasks:
            tasks[number % len(tasks)][1].set()
        if number % 2:
            await settled()
    for _, end in tasks:
        end.set()
    ended = await asyncio.gather(*(task for task, _ in tasks), return_exceptions=True)
    assert {type(one) for one in ended} <= {type(None), asyncio.CancelledError, ResourceExhausted}
    # All are free again: as many as one key may have begin at once.
    workers = Workers(semaphore)
    await workers.start(["a"] * 5 + ["b"])
    assert len(workers.began) == slots
    await workers.end_all()
