"""Waiting for a condition, within a bound."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

# Bounds of waits: generous, because machines differ; nothing waits longer than it must.
SOON = 30.0
EVENTUALLY = 90.0


async def until(
    ask: Callable[[], Awaitable[T | None]], what: str, within: float = SOON, *, pause: float = 0.02
) -> T:
    """Asks again until the answer is neither None nor False. Raises AssertionError after `within` seconds."""
    deadline = time.monotonic() + within
    while True:
        answer = await ask()
        if answer is not None and answer is not False:
            return answer
        assert time.monotonic() < deadline, f"not within {within} s: {what}"
        await asyncio.sleep(pause)
