"""Prefetch: reads a stream while the last of it is worked on, so that what came meanwhile is done at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from typing import TypeVar

T = TypeVar("T")


async def prefetch(source: AsyncIterator[T], limit: int) -> AsyncGenerator[list[T], None]:
    """All that has come since the last list, as soon as there is something, and at most `limit` at once.

    Reads no further than that ahead. Ends as `source` ends, after what came before: raises what it raised.
    """
    come: list[T] = []
    news, room = asyncio.Event(), asyncio.Event()

    async def read() -> None:
        async for one in source:
            come.append(one)
            news.set()
            if len(come) >= limit:
                room.clear()
                await room.wait()

    reading = asyncio.create_task(read())
    reading.add_done_callback(lambda _: news.set())
    try:
        while come or not reading.done():
            await news.wait()
            news.clear()
            batch, come[:] = list(come), []
            room.set()
            if batch:
                yield batch
        await reading
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
