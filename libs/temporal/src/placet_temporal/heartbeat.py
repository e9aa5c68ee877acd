"""Heartbeats: with them Temporal retries an activity soon after its worker died, not at its timeout."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

from temporalio import activity


@asynccontextmanager
async def heartbeats(seconds: float, progress: Callable[[], object] | None = None) -> AsyncIterator[None]:
    """Sends a heartbeat every `seconds` while its block runs, with `progress()` for the next attempt; with
    progress also once at the end, after an error too.

    The first waits, because it goes out at once: work that ends sooner costs none. The SDK passes on those
    after it every 0.8 of the heartbeat timeout.
    """

    def beat() -> None:
        activity.heartbeat(*([] if progress is None else [progress()]))

    async def keep_beating() -> None:
        while True:
            await asyncio.sleep(seconds)
            beat()

    task = asyncio.create_task(keep_beating())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        if progress is not None:
            beat()
