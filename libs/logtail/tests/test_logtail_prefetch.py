"""Items that arrive during work are handled as one batch; none is lost or put out of order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest

from placet_logtail.prefetch import prefetch


class Stream:
    """A stream in a test's hand."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[int | Exception | None] = asyncio.Queue()
        self.taken = 0
        self.closed = False

    def send(self, *items: int | Exception | None) -> None:
        """Numbers; None ends the stream."""
        for item in items:
            self._queue.put_nowait(item)

    async def read(self) -> AsyncIterator[int]:
        """The batches that were sent."""
        try:
            while (item := await self._queue.get()) is not None:
                if isinstance(item, Exception):
                    raise item
                self.taken += 1
                yield item
        finally:
            self.closed = True


async def settled() -> None:
    """Until nothing more can happen by itself."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_what_is_alone_is_told_at_once_and_what_came_meanwhile_together() -> None:
    stream = Stream()
    async with aclosing(prefetch(stream.read(), 10)) as batches:
        stream.send(1)
        assert await anext(batches) == [1]
        stream.send(2, 3, 4)
        await settled()
        assert await anext(batches) == [2, 3, 4]


async def test_no_more_is_read_ahead_than_was_asked_for() -> None:
    stream = Stream()
    stream.send(*range(10))
    async with aclosing(prefetch(stream.read(), 4)) as batches:
        assert await anext(batches) == [0, 1, 2, 3]
        await settled()
        assert stream.taken == 8
        assert await anext(batches) == [4, 5, 6, 7]
        assert await anext(batches) == [8, 9]


async def test_what_came_before_the_end_is_told_and_then_how_it_ended() -> None:
    stream, found = Stream(), list[int]()
    stream.send(1, 2, ConnectionError("gone"))

    async def read() -> None:
        async for batch in prefetch(stream.read(), 10):
            found.extend(batch)

    with pytest.raises(ConnectionError, match="gone"):
        await read()
    assert found == [1, 2]


async def test_it_ends_with_its_stream() -> None:
    stream = Stream()
    stream.send(1, None)
    assert [batch async for batch in prefetch(stream.read(), 10)] == [[1]]
    stream.send(None)
    assert [batch async for batch in prefetch(stream.read(), 10)] == []


async def test_who_leaves_ends_the_reading() -> None:
    stream = Stream()
    stream.send(1)
    async with aclosing(prefetch(stream.read(), 10)) as batches:
        await anext(batches)
    assert stream.closed
