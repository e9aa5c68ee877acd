"""Wake-ups: `Wakeup` for all followers of a stream, `Listeners` for those of one key."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

T = TypeVar("T")

# Items kept for a listener that does not take them; one that misses more must read the store.
LISTENER_LIMIT = 1000


async def wait_for(event: asyncio.Event, seconds: float) -> bool:
    """Waits until the event is set, at most so many seconds; False when they passed."""
    try:
        async with asyncio.timeout(max(seconds, 0)):
            return await event.wait()
    except TimeoutError:
        return False


class Wakeup:
    """Wakes all waiters. A waiter that arms it before it reads misses nothing written after that."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def arm(self) -> asyncio.Event:
        """The event that the next `wake` sets."""
        return self._event

    def wake(self) -> None:
        """Sets the event of all who armed it until now."""
        event, self._event = self._event, asyncio.Event()
        event.set()


class Listener(Generic[T]):
    """Gathers the items of one key."""

    def __init__(self) -> None:
        self._items: deque[T] = deque()
        self._missed = False
        self._woken = asyncio.Event()

    def put(self, item: T) -> None:
        """Adds an item and wakes the waiter."""
        if len(self._items) >= LISTENER_LIMIT:
            self._items.clear()
            self._missed = True
        if not self._missed:
            self._items.append(item)
        self.wake()

    def wake(self) -> None:
        """Ends the wait without an item."""
        self._woken.set()

    async def next(self, timeout: float) -> list[T]:
        """The items since the last call; waits for one, at most `timeout` seconds.

        An empty list: the time is over, or items were missed here that must be looked up where they are
        stored.
        """
        await wait_for(self._woken, timeout)
        self._woken.clear()
        items, self._items, self._missed = list(self._items), deque(), False
        return items


class Listeners(Generic[T]):
    """The listeners of all keys."""

    def __init__(self) -> None:
        self._by_key: dict[str, set[Listener[T]]] = {}

    @contextmanager
    def listening(self, key: str) -> Iterator[Listener[T]]:
        """A listener to one key, from now on."""
        listener: Listener[T] = Listener()
        listeners = self._by_key.setdefault(key, set())
        listeners.add(listener)
        try:
            yield listener
        finally:
            listeners.discard(listener)
            if not listeners and self._by_key.get(key) is listeners:
                del self._by_key[key]

    def publish(self, key: str, item: T) -> None:
        """Gives an item to the listeners of its key."""
        for listener in self._by_key.get(key, ()):
            listener.put(item)

    def wake(self) -> None:
        """Ends the wait of all listeners, because items were missed."""
        for listeners in self._by_key.values():
            for listener in listeners:
                listener.wake()
