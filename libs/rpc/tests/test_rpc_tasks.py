"""Background work: periodic runs that no error ends, and one run for concurrent callers of a key."""

from __future__ import annotations

import asyncio

import pytest

from placet_rpc.errors import Unavailable
from placet_rpc.tasks import SingleFlight, periodically


@pytest.mark.parametrize("error", [Unavailable("AuditService is away"), KeyError("a mistake of ours")])
async def test_no_error_ends_periodic_work(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    runs, enough = 0, asyncio.Event()

    async def work() -> None:
        nonlocal runs
        runs += 1
        if runs == 3:
            enough.set()
        raise error

    async with asyncio.timeout(10), periodically(work, 0, "requests wait"):
        await enough.wait()

    record = caplog.records[0]
    assert record.getMessage() == f"requests wait: {error}"
    assert bool(record.exc_info) is isinstance(error, KeyError)


class Work:
    """Counts its runs; each waits until it may end."""

    def __init__(self) -> None:
        self.runs = 0
        self.started = asyncio.Event()
        self.go = asyncio.Event()

    async def __call__(self) -> int:
        self.runs += 1
        self.started.set()
        await self.go.wait()
        return self.runs


async def test_concurrent_calls_with_one_key_share_one_run() -> None:
    flights: SingleFlight[str, int] = SingleFlight()
    work = Work()
    calls = [asyncio.create_task(flights.run("key", work)) for _ in range(10)]
    await work.started.wait()
    assert ("key" in flights, "other" in flights, len(flights)) == (True, False, 1)

    work.go.set()

    assert await asyncio.gather(*calls) == [1] * 10
    assert len(flights) == 0
    assert await flights.run("key", work) == 2


async def test_a_caller_that_gives_up_leaves_the_work_to_the_next() -> None:
    flights: SingleFlight[str, int] = SingleFlight()
    abandoned, work = Work(), Work()
    first = asyncio.create_task(flights.run("key", abandoned))
    await abandoned.started.wait()
    second = asyncio.create_task(flights.run("key", work))
    first.cancel()
    work.go.set()

    async with asyncio.timeout(10):
        assert await second == 1
        with pytest.raises(asyncio.CancelledError):
            await first


async def test_one_that_only_joined_and_gives_up_disturbs_nobody() -> None:
    flights: SingleFlight[str, int] = SingleFlight()
    work = Work()
    first = asyncio.create_task(flights.run("key", work))
    await work.started.wait()
    second = asyncio.create_task(flights.run("key", work))
    await asyncio.sleep(0)
    second.cancel()
    await asyncio.wait([second])
    work.go.set()

    assert await first == 1


async def test_a_joined_run_goes_on_without_its_callers_and_can_be_drained() -> None:
    flights: SingleFlight[str, int] = SingleFlight()
    work = Work()
    run = flights.join("key", work)
    waiting = asyncio.create_task(asyncio.wait([run]))
    await work.started.wait()
    waiting.cancel()
    work.go.set()
    await flights.drain()

    assert run.result() == 1
    assert flights.join("key", work) is not run
    await flights.drain()
