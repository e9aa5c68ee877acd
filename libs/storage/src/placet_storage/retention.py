"""Deletion of rows by age."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

from placet_storage.errors import DatabaseUnavailable

_LOG = logging.getLogger("placet.storage")

PURGE_SECONDS = 3600.0
"""Interval between purges."""


@asynccontextmanager
async def purge_periodically(
    purge: Callable[[datetime], Awaitable[int]], keep: timedelta
) -> AsyncIterator[None]:
    """Purges what is older than `keep`, now and every PURGE_SECONDS, until the block ends.

    `purge` deletes some of what is older than a time, and returns how much; 0 when nothing is left. An error
    is logged, and the next interval tries again.
    """
    task = asyncio.create_task(_run(purge, keep))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def _run(purge: Callable[[datetime], Awaitable[int]], keep: timedelta) -> None:
    while True:
        try:
            before = datetime.now(UTC) - keep
            while await purge(before):
                pass
        except DatabaseUnavailable as error:
            _LOG.warning("rows past their retention cannot be deleted now: %s", error)
        except Exception:  # noqa: BLE001  # if the task ended, nothing would ever be purged
            _LOG.exception("rows past their retention cannot be deleted now")
        await asyncio.sleep(PURGE_SECONDS)
