"""Threads that do transactions, so that each costs the event loop one turn and not one per statement."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from typing import TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.engine.interfaces import DBAPIConnection

from placet_storage.errors import DatabaseUnavailable

T = TypeVar("T")
C = TypeVar("C")


class Lane:
    """One way to a database: an engine, and as many threads as it has connections.

    `patience`: the seconds that a transaction waits for a thread at most.
    """

    def __init__(self, engine: Engine, threads: ThreadPoolExecutor, patience: float) -> None:
        self._engine = engine
        self._threads = threads
        self._patience = patience

    async def run(self, work: Callable[[Connection], T]) -> T:
        """Does `work` in one transaction, in turn, on a thread that sees the caller's context variables.

        A cancelled caller leaves at once. Its transaction is then undone, unless its commit had begun; the
        thread is free again when the statement under way ends. Raises DatabaseUnavailable if no thread
        became free in time, and whatever `work` and the driver raise.
        """
        return await self._in_turn(self._transact, work)

    async def run_outside(self, work: Callable[[DBAPIConnection], T]) -> T:
        """As `run`, on the driver's own connection and in no transaction: what `work` has done stays done."""
        return await self._in_turn(self._outside, work)

    async def _in_turn(self, way: Callable[[Callable[[C], T], _Caller], T], work: Callable[[C], T]) -> T:
        caller = _Caller()
        turn = self._threads.submit(copy_context().run, way, work, caller)
        # This bounds the wait for a turn only: what has begun cannot be cancelled, and has bounds of its own.
        patience = asyncio.get_running_loop().call_later(self._patience, caller.give_up, turn)
        try:
            return await asyncio.wrap_future(turn)
        except asyncio.CancelledError as cancelled:
            if caller.gave_up and not _is_cancelled():
                raise DatabaseUnavailable("no connection became free in time") from cancelled
            caller.is_gone = True
            raise
        finally:
            patience.cancel()

    def _transact(self, work: Callable[[Connection], T], caller: _Caller) -> T:
        with self._engine.begin() as connection:
            result = work(connection)
            if caller.is_gone:
                raise _Abandoned
        return result

    def _outside(self, work: Callable[[DBAPIConnection], T], _caller: _Caller) -> T:
        pooled = self._engine.raw_connection()
        try:
            driver = pooled.dbapi_connection
            if driver is None:
                raise AssertionError("a pooled connection is open")
            return work(driver)
        finally:
            pooled.close()

    async def close(self) -> None:
        """Waits for the transactions under way, then closes the connections. Safe to call twice."""
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        self._threads.shutdown()
        self._engine.dispose()


class _Caller:
    """Whoever waits for a transaction. Each of its fields is only ever set, and by one thread."""

    __slots__ = ("gave_up", "is_gone")

    def __init__(self) -> None:
        self.gave_up = False
        self.is_gone = False

    def give_up(self, turn: Future[T]) -> None:
        """Waits no longer, if the turn has not come; whoever waits for it then sees it cancelled."""
        self.gave_up = turn.cancel()


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


class _Abandoned(Exception):
    """Undoes a transaction that nobody waits for; nobody sees it."""
