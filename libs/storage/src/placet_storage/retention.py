"""Deletion of rows by age."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

PURGE_SECONDS = 3600.0
"""Interval between purges."""


async def purge_old(purge: Callable[[datetime], Awaitable[int]], keep: timedelta) -> None:
    """Purges what is older than `keep`. Raises what `purge` raises; the next purge deletes the rest.

    `purge` deletes some of what is older than a time, and returns how much; 0 when nothing is left.
    """
    before = datetime.now(UTC) - keep
    while await purge(before):
        pass
