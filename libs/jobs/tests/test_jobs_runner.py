"""A job is ended at its limits, or with its caller, and keeps no other tenant waiting."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from placet_jobs import JobFailed, JobRunner, Limits, OutOfMemory, OutOfTime
from placet_rpc.errors import ResourceExhausted
from placet_testing.conditions import until
from placet_testing.jobs import (
    crash,
    end_without_a_word,
    hold_the_interpreter,
    refuse,
    refuse_strangely,
    take_memory,
)

pytestmark = pytest.mark.integration

MODULE = hold_the_interpreter.__module__
# No limit is reached while a test looks.
UNLIMITED = Limits(cpu_seconds=600, seconds=600)


def runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def test_a_job_answers_from_another_process() -> None:
    jobs = JobRunner([MODULE])
    assert await jobs.run("a", os.getpid) != os.getpid()
    assert await jobs.run("a", "x".__mul__, 1 << 22) == "x" * (1 << 22)


@pytest.mark.parametrize("limits", [Limits(cpu_seconds=1, seconds=60), Limits(cpu_seconds=60, seconds=0.5)])
async def test_a_job_that_holds_the_interpreter_is_killed_and_the_loop_never_waits(limits: Limits) -> None:
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0.01)
            turns += 1

    counting = asyncio.create_task(count())
    with pytest.raises(OutOfTime):
        await JobRunner([MODULE], limits).run("a", hold_the_interpreter)
    counting.cancel()
    assert turns > 5


async def test_another_tenant_is_served_while_one_is_stuck(tmp_path: Path) -> None:
    jobs = JobRunner([MODULE], UNLIMITED, slots=2)
    stuck = [
        asyncio.create_task(jobs.run("stuck", hold_the_interpreter, tmp_path / str(number)))
        for number in range(5)
    ]
    await until(lambda: (tmp_path / "0").exists())
    for _ in range(3):
        assert await jobs.run("other", len, "abc") == 3
    assert not any(job.done() for job in stuck)
    assert not (tmp_path / "1").exists()
    for job in stuck:
        job.cancel()
    await asyncio.wait(stuck)


async def test_a_caller_who_goes_away_ends_the_job(tmp_path: Path) -> None:
    jobs = JobRunner([MODULE], UNLIMITED, slots=1)
    job = asyncio.create_task(jobs.run("a", hold_the_interpreter, tmp_path))
    pid = int(await until(lambda: next((path.name for path in tmp_path.iterdir()), "")))
    job.cancel()
    await asyncio.wait([job])
    assert job.cancelled()
    assert not runs(pid)
    assert await jobs.run("a", len, "abc") == 3


async def test_a_job_that_takes_too_much_memory_is_refused() -> None:
    with pytest.raises(OutOfMemory):
        await JobRunner([MODULE], Limits(mebibytes=256)).run("a", take_memory)


async def test_limits_that_cannot_be_set_are_an_error_and_no_limit_reached() -> None:
    with pytest.raises(OverflowError):
        await JobRunner([MODULE], Limits(mebibytes=1 << 60)).run("a", len, "abc")


async def test_an_error_of_the_work_is_raised_here() -> None:
    jobs = JobRunner([MODULE])
    with pytest.raises(ResourceExhausted) as refused:
        await jobs.run("a", refuse)
    assert (refused.value.message, refused.value.reason) == ("too many wait", "TENANT_BUSY")
    with pytest.raises(RuntimeError, match="Unsendable: so strange"):
        await jobs.run("a", refuse_strangely)


async def test_a_child_that_ends_otherwise_is_no_answer() -> None:
    jobs = JobRunner([MODULE])
    with pytest.raises(JobFailed, match="status 3"):
        await jobs.run("a", end_without_a_word)
    with pytest.raises(OutOfTime):
        await jobs.run("a", crash)
