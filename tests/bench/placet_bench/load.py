"""Closed load: so many callers, each with one request at a time."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from placet_bench.cpu import Meter

# One request, from creation to its recorded outcome.
Play = Callable[[], Awaitable[object]]

# Nothing takes this long; a request that hangs ends the measurement with words.
REQUEST_LIMIT = 120.0


@dataclass(frozen=True)
class Run:
    """One round: `cpu` in seconds by process, `caller_cpu` in seconds of whoever called."""

    requests: int
    seconds: float
    cpu: dict[str, float]
    caller_cpu: float

    @property
    def per_second(self) -> float:
        """Requests created, asked, decided and recorded per second."""
        return self.requests / self.seconds

    def cpu_ms(self, *without: str) -> float:
        """CPU milliseconds per request, of all processes but those named."""
        used = sum(seconds for name, seconds in self.cpu.items() if name not in without)
        return 1000 * used / self.requests

    def cpu_ms_of(self, name: str) -> float | None:
        """CPU milliseconds per request of one process; None when it took no part."""
        return 1000 * self.cpu[name] / self.requests if name in self.cpu else None

    @property
    def caller_ms(self) -> float:
        """CPU milliseconds per request of the caller itself, which `cpu` does not hold."""
        return 1000 * self.caller_cpu / self.requests


async def run(play: Play, requests: int, concurrency: int, meter: Meter) -> Run:
    """Plays so many requests, from rest to rest. The time ends with the last outcome, the CPU with the
    rest: notices and spans that come after an outcome belong to its price."""
    before, own_before, begun = meter.read(), own_seconds(), time.perf_counter()
    await play_all(play, requests, concurrency)
    seconds, own = time.perf_counter() - begun, own_seconds() - own_before
    await meter.rest()
    after = meter.read()
    return Run(requests, seconds, {name: after[name] - before.get(name, 0.0) for name in after}, own)


async def play_at_rate(play: Play, requests: int, per_second: float) -> None:
    """An open load: so many requests begin each second, however long they take."""
    start = time.perf_counter()

    async def in_turn(number: int) -> None:
        await asyncio.sleep(max(start + number / per_second - time.perf_counter(), 0))
        async with asyncio.timeout(REQUEST_LIMIT):
            await play()

    async with asyncio.TaskGroup() as callers:
        for number in range(requests):
            callers.create_task(in_turn(number))


async def play_all(play: Play, requests: int, concurrency: int) -> None:
    """Plays so many requests, at most `concurrency` at a time."""
    left = iter(range(requests))

    async def caller() -> None:
        for _ in left:
            async with asyncio.timeout(REQUEST_LIMIT):
                await play()

    async with asyncio.TaskGroup() as callers:
        for _ in range(concurrency):
            callers.create_task(caller())


def own_seconds() -> float:
    """CPU seconds of this process."""
    times = os.times()
    return times.user + times.system
