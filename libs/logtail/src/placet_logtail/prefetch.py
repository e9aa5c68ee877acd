"""Prefetch: reads a stream ahead of its handler, so that items that arrive meanwhile are handled together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from typing import TypeVar

T = TypeVar("T")


async def prefetch(source: AsyncIterator[T], limit: int) -> AsyncGenerator[list[T], None]:
    """Yields all items read since the last list, as soon as there is one, and at most `limit` at once.

    Reads no further than that ahead. Ends as `source` ends, after the items before: raises what it raised.
    """
    items: list[T] = []
    filled, room = asyncio.Event(), asyncio.Event()

    async def read() -> None:
        async for one in source:
            items.append(one)
            filled.set()
            if len(items) >= limit:
                room.clear()
                await room.wait()

    reading = asyncio.create_task(read())
    reading.add_done_callback(lambda _: filled.set())
    try:
        while items or not reading.done():
            await filled.wait()
            filled.clear()
            batch, items[:] = list(items), []
            room.set()
            if batch:
                yield batch
        await reading
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
