"""Threads that do transactions, so that each costs the event loop one turn and not one per statement."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import TypeVar

from sqlalchemy import Connection, Engine

from placet_storage.errors import DatabaseUnavailable

T = TypeVar("T")


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
        abandoned = threading.Event()
        turn = self._threads.submit(copy_context().run, self._transact, work, abandoned)
        answer = asyncio.wrap_future(turn)
        try:
            # This bounds the wait for a turn only: what has begun has bounds of its own.
            await asyncio.wait([answer], timeout=self._patience)
            if not answer.done() and turn.cancel():
                raise DatabaseUnavailable("no connection became free in time")
            return await answer
        except asyncio.CancelledError:
            abandoned.set()
            answer.cancel()  # and with it the turn, if it has not come yet
            raise

    def _transact(self, work: Callable[[Connection], T], abandoned: threading.Event) -> T:
        with self._engine.begin() as connection:
            result = work(connection)
            if abandoned.is_set():
                raise _Abandoned
        return result

    async def close(self) -> None:
        """Waits for the transactions under way, then closes the connections. Safe to call twice."""
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        self._threads.shutdown()
        self._engine.dispose()


class _Abandoned(Exception):
    """Undoes a transaction that nobody waits for; nobody sees it."""
