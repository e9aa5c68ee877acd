"""The newest items of a stream, kept in memory for its followers, within a bound."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import Generic, TypeVar

from placet_logtail.stream import Batch

T = TypeVar("T")


class RecentItems(Generic[T]):
    """All items between positions `start` and `end`. A position may hold no item.

    Beyond `limit`, the sum of the items' sizes, the oldest half goes at once, so that it is done rarely.
    """

    def __init__(self, limit: int) -> None:
        self.start = 0
        self.end = 0
        self._limit = limit
        self._size = 0
        self._positions: list[int] = []
        self._sizes: list[int] = []
        self._items: list[T] = []

    def restart(self, position: int) -> None:
        """Keeps nothing, and goes on from a position."""
        self._drop(len(self._items))
        self.start = self.end = position

    def forget(self) -> None:
        """Keeps nothing of what there was until now."""
        self.restart(self.end)

    def add(self, position: int, item: T, size: int = 1) -> None:
        """Keeps an item that lies at or beyond `end`."""
        self._positions.append(position)
        self._sizes.append(size)
        self._items.append(item)
        self._size += size
        self.end = position + 1
        if self._size > self._limit:
            self._drop(self._surplus())

    def extend_to(self, end: int) -> None:
        """Moves the end: no item lies between the last one and `end`."""
        self.end = max(self.end, end)

    def get(self, position: int) -> T | None:
        """The item at a position, while it is kept."""
        place = bisect_left(self._positions, position)
        found = place < len(self._positions) and self._positions[place] == position
        return self._items[place] if found else None

    def read(self, position: int, limit: int, size_limit: int) -> Batch[T] | None:
        """The items from a position on, at most `limit`, and no more than `size_limit` but for the first.

        None when items from there on are not kept.
        """
        if position < self.start:
            return None
        first = bisect_left(self._positions, position)
        last = first + _count(self._sizes[first : first + limit], size_limit)
        following = self._positions[last] if last < len(self._positions) else max(self.end, position)
        return Batch(self._items[first:last], following, self.end)

    def _surplus(self) -> int:
        """The number of oldest items to drop."""
        kept, number = self._size, 0
        while number < len(self._sizes) and kept > self._limit // 2:
            kept -= self._sizes[number]
            number += 1
        return number

    def _drop(self, number: int) -> None:
        if number:
            self.start = self._positions[number - 1] + 1
            self._size -= sum(self._sizes[:number])
            del self._positions[:number], self._sizes[:number], self._items[:number]


def _count(sizes: Sequence[int], limit: int) -> int:
    """The number of items that fit a limit; one at least, if there is any."""
    total = 0
    for number, size in enumerate(sizes):
        total += size
        if number and total > limit:
            return number
    return len(sizes)
