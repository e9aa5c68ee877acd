"""Runs functions in limited child processes, in turns per tenant."""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import os
import pickle
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar, TypeVarTuple, cast

from placet_jobs.child_process import DEFAULT_LIMITS, Limits, answer_job
from placet_jobs.fair_semaphore import FairSemaphore

_T = TypeVar("_T")
_Ts = TypeVarTuple("_Ts")
_LOG = logging.getLogger(__name__)
_FORKS = multiprocessing.get_context("forkserver")
# The objects of all children of this process share a table, which is not safe between threads.
_TABLE = threading.Lock()
# Of all runners, which share the fork server.
_PRELOADED = {answer_job.__module__}
# Seconds in which a child that has answered ends by itself.
_LAST_STEPS = 1.0

SLOTS: Final = max(2, os.cpu_count() or 1)
"""Children at once, each on a core; a tenant has one fewer at most."""
WAITING: Final = 32
"""Waiters of one tenant at most; each holds its content in memory."""


class OverLimit(Exception):
    """The job was ended at one of its limits: the content is too much."""


class OutOfTime(OverLimit):
    """The job took too much time."""


class OutOfMemory(OverLimit):
    """The job took too much memory."""


class JobFailed(Exception):
    """The child ended without an answer, and not at a limit."""


class JobRunner:
    """Runs functions of modules in children. It belongs to one event loop."""

    def __init__(self, modules: Sequence[str], limits: Limits = DEFAULT_LIMITS, slots: int = SLOTS) -> None:
        """`modules`: imported once and for all children. They start no thread and open nothing.

        The fork server starts with the first job of the process, and ends with the process.
        """
        self._limits = limits
        self._turns = FairSemaphore(slots, WAITING)
        self._threads = ThreadPoolExecutor(slots, "placet-jobs")
        _PRELOADED.update(modules)
        _FORKS.set_forkserver_preload(sorted(_PRELOADED))

    async def run(self, tenant: str, work: Callable[[*_Ts], _T], *arguments: *_Ts) -> _T:
        """Returns or raises what `work(*arguments)` does in a child. All of them can be pickled.

        A cancelled call ends its child. Raises OutOfTime, OutOfMemory, JobFailed, and ResourceExhausted
        (TENANT_BUSY) if too many jobs of the tenant wait.
        """
        async with self._turns.slot(tenant):
            job = _Job(self._limits, work, arguments)
            ended = asyncio.get_running_loop().run_in_executor(self._threads, job.run)
            try:
                succeeded, result = await asyncio.shield(ended)
            except asyncio.CancelledError:
                job.kill()
                # Its slot is free when it has ended.
                await asyncio.wait([ended])
                ended.exception()
                raise
        if not succeeded:
            raise OutOfMemory if isinstance(result, MemoryError) else cast(Exception, result)
        return cast(_T, result)


class _Job:
    """One child; `run` on a thread of its own, `kill` from any."""

    def __init__(self, limits: Limits, work: Callable[..., object], arguments: tuple[object, ...]) -> None:
        self._limits = limits
        self._receiver, self._sender = _FORKS.Pipe(duplex=False)
        self._process = _FORKS.Process(
            target=answer_job, args=(self._sender, limits, work, arguments), daemon=True
        )
        self._killed = False

    def run(self) -> tuple[bool, object]:
        """The child's answer. Raises OutOfTime or JobFailed."""
        with self._receiver:
            with self._sender, _TABLE:
                self._process.start()
            if self._killed:
                self.kill()
            answer = self._received()
        with _TABLE:
            status = self._end()
        if answer is not None:
            return cast(tuple[bool, object], pickle.loads(answer))  # noqa: S301 (of our own child)
        if self._killed or status < 0:
            # Killed here, by the kernel at a limit, or by what the content did to a library.
            raise OutOfTime
        raise JobFailed(
            f"the process of {self._process.name} ended with status {status} and without an answer"
        )

    def kill(self) -> None:
        """Ends the child, at once or when it has started."""
        self._killed = True
        if self._process.pid is not None:
            self._process.kill()

    def _received(self) -> bytes | None:
        try:
            if self._receiver.poll(self._limits.seconds):
                return self._receiver.recv_bytes()
            self.kill()
        except (EOFError, OSError):
            # It ended before or within its answer.
            pass
        return None

    def _end(self) -> int:
        """Waits for the child's end, and returns its status: negative for the signal that ended it."""
        self._process.join(_LAST_STEPS)
        if self._process.exitcode is None:
            self._process.kill()
            self._process.join()
        return cast(int, self._process.exitcode)
