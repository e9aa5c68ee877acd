"""A semaphore whose waiters take turns by key."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from placet_rpc.errors import RPC_DOMAIN, ResourceExhausted

# Seconds in which some of those that wait had their turn.
_RETRY_AFTER = 1.0


class FairSemaphore:
    """Slots that keys get in turns (round robin). It belongs to one event loop.

    A key holds all slots but one at most, so that another key finds one free however long the first works.
    """

    def __init__(self, slots: int, waiting: int) -> None:
        """`slots`: held at once in all. `waiting`: waiters of one key at once."""
        self._free = slots
        self._most_held = max(1, slots - 1)
        self._most_waiting = waiting
        self._held: Counter[str] = Counter()
        # In the order of their turns.
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}

    @asynccontextmanager
    async def slot(self, key: str) -> AsyncIterator[None]:
        """Holds a slot while the context lasts.

        Raises ResourceExhausted (TENANT_BUSY) if too many of the key wait already.
        """
        await self._acquire(key)
        try:
            yield
        finally:
            self._release(key)

    async def _acquire(self, key: str) -> None:
        if self._may_have(key):
            # Whoever waits may not have one now: a slot that becomes free is given away at once.
            self._take(key)
            return
        queue = self._waiting.setdefault(key, deque())
        if len(queue) >= self._most_waiting:
            raise ResourceExhausted(
                f"{self._most_waiting} contents of this tenant wait for their turn already; try later",
                reason="TENANT_BUSY",
                metadata={"limit": str(self._most_waiting)},
                domain=RPC_DOMAIN,
                retry_after=_RETRY_AFTER,
            )
        turn = asyncio.get_running_loop().create_future()
        queue.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                self._leave(key, turn)
            else:
                # The slot was given at the same moment.
                self._release(key)
            raise

    def _may_have(self, key: str) -> bool:
        return self._free > 0 and self._held[key] < self._most_held

    def _take(self, key: str) -> None:
        self._free -= 1
        self._held[key] += 1

    def _release(self, key: str) -> None:
        self._free += 1
        self._held[key] -= 1
        if not self._held[key]:
            del self._held[key]
        self._give()

    def _give(self) -> None:
        """Gives free slots to waiters: to each key one, then to each the next."""
        while (key := next(filter(self._may_have, self._waiting), None)) is not None:
            queue = self._waiting.pop(key)
            turn = queue.popleft()
            if queue:
                # Behind all others.
                self._waiting[key] = queue
            if not turn.cancelled():
                self._take(key)
                turn.set_result(None)

    def _leave(self, key: str, turn: asyncio.Future[None]) -> None:
        queue = self._waiting.get(key, deque())
        if turn in queue:
            queue.remove(turn)
            if not queue:
                del self._waiting[key]
