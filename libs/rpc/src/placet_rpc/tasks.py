"""Background work on the event loop: periodic runs, and one run for concurrent callers of the same key."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Hashable
from contextlib import asynccontextmanager
from functools import partial
from typing import Generic, TypeVar

from placet_rpc.errors import PlacetError

_K = TypeVar("_K", bound=Hashable)
_T = TypeVar("_T")
_LOG = logging.getLogger(__name__)


async def run_periodically(work: Callable[[], Awaitable[object]], interval: float, waits: str) -> None:
    """Runs `work` now and then every `interval` seconds, until cancelled.

    An error never ends the loop: the next run tries again. The log names `waits`, what has to wait for that:
    in one line if a service or database does not answer, else with the stack trace.
    """
    while True:
        try:
            await work()
        except Exception as error:  # noqa: BLE001 (one failure must not end the loop for good)
            expected = hasattr(error, "grpc_kind")
            _LOG.warning("%s: %s", waits, error, exc_info=None if expected else error)
        await asyncio.sleep(interval)


@asynccontextmanager
async def periodically(
    work: Callable[[], Awaitable[object]], interval: float, waits: str
) -> AsyncIterator[None]:
    """Runs `run_periodically` while its block runs."""
    task = asyncio.create_task(run_periodically(work, interval, waits))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


class SingleFlight(Generic[_K, _T]):
    """Concurrent calls with an equal key share one run of the work; nothing is kept once it has ended."""

    def __init__(self) -> None:
        self._running: dict[_K, asyncio.Task[_T]] = {}

    def __len__(self) -> int:
        """The number of runs in flight."""
        return len(self._running)

    def __contains__(self, key: _K) -> bool:
        """True while a run for `key` is in flight."""
        return key in self._running

    def join(self, key: _K, work: Callable[[], Coroutine[object, object, _T]]) -> asyncio.Task[_T]:
        """The run in flight for `key`, or a new one of `work`. It goes on when its callers are gone."""
        task = self._running.get(key)
        if task is None:
            task = self._running[key] = asyncio.create_task(work())
            task.add_done_callback(partial(self._ended, key))
        return task

    async def run(self, key: _K, work: Callable[[], Coroutine[object, object, _T]]) -> _T:
        """The result of the run for `key`, which ends with the caller that began it.

        When that caller is cancelled, the next one runs its own `work`: a run has its caller's deadline.
        """
        while True:
            leads = key not in self
            task = self.join(key, work)
            try:
                await asyncio.wait([task])
            except asyncio.CancelledError:
                if leads:
                    task.cancel()
                    await asyncio.wait([task])
                raise
            if leads or not task.cancelled():
                return task.result()

    async def drain(self) -> None:
        """Waits until all runs in flight have ended."""
        await asyncio.gather(*self._running.values(), return_exceptions=True)

    def _ended(self, key: _K, task: asyncio.Task[_T]) -> None:
        del self._running[key]
        # Reading the exception marks it as retrieved, for a run whose callers are all gone.
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, PlacetError):
            _LOG.warning("work that callers shared failed: %r", error)
