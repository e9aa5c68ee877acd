"""Threads that run transactions, so that each costs the event loop one turn and not one per statement."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from typing import TypeVar

from sqlalchemy import Connection, Engine

from placet_storage.errors import DatabaseUnavailable

T = TypeVar("T")


class Executor:
    """Runs transactions on an engine, on as many threads as it has connections.

    `patience`: seconds that a transaction waits for a thread, at most.
    """

    def __init__(self, engine: Engine, threads: ThreadPoolExecutor, patience: float) -> None:
        self._engine = engine
        self._threads = threads
        self._patience = patience

    async def run(self, work: Callable[[Connection], T]) -> T:
        """Runs `work` in one transaction on a thread that sees the caller's context variables.

        A cancelled caller returns at once. Its transaction is then rolled back, unless its commit had begun;
        the thread is free again when the current statement ends. Raises DatabaseUnavailable if no thread
        became free in time, and whatever `work` and the driver raise.
        """
        caller = _Caller()
        future = self._threads.submit(copy_context().run, self._transact, work, caller)
        # This bounds the wait for a thread only. A transaction that has begun cannot be cancelled; the
        # database bounds its waits.
        timer = asyncio.get_running_loop().call_later(self._patience, caller.time_out, future)
        try:
            return await asyncio.wrap_future(future)
        except asyncio.CancelledError as cancelled:
            if caller.timed_out and not _is_cancelled():
                raise DatabaseUnavailable("no connection became free in time") from cancelled
            caller.is_gone = True
            raise
        finally:
            timer.cancel()

    def _transact(self, work: Callable[[Connection], T], caller: _Caller) -> T:
        with self._engine.begin() as connection:
            result = work(connection)
            if caller.is_gone:
                raise _Abandoned
        return result

    async def close(self) -> None:
        """Waits for the running transactions, then closes the connections. Safe to call twice."""
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        self._threads.shutdown()
        self._engine.dispose()


class _Caller:
    """State of the caller of one transaction. Each field is only ever set, and by one thread."""

    __slots__ = ("is_gone", "timed_out")

    def __init__(self) -> None:
        self.timed_out = False
        self.is_gone = False

    def time_out(self, future: Future[T]) -> None:
        """Cancels the transaction if it has not begun."""
        self.timed_out = future.cancel()


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


class _Abandoned(Exception):
    """Rolls back a transaction whose caller was cancelled; never reaches a caller."""
