"""Waiting for a condition, within a bound."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, overload

T = TypeVar("T")

# Bounds of waits: generous, because machines differ; nothing waits longer than it must.
SOON = 30.0
EVENTUALLY = 90.0


@overload
async def until(
    ask: Callable[[], Awaitable[T | None]], what: str = ..., within: float = ..., *, pause: float = ...
) -> T: ...


@overload
async def until(
    ask: Callable[[], T | None], what: str = ..., within: float = ..., *, pause: float = ...
) -> T: ...


async def until(
    ask: Callable[[], Any],  # Any: the overloads say which
    what: str = "the condition holds",
    within: float = SOON,
    *,
    pause: float = 0.02,
) -> Any:  # Any: as above
    """Asks again until the answer is truthy; answers that. Raises AssertionError, which names `what`, after
    `within` seconds.

    It asks `pause` seconds apart, and later as far apart as an eighth of the time it has waited, a second
    at most: many who wait for something slow would else keep it from happening.
    """
    began = time.monotonic()
    while True:
        found = ask()
        answer = await found if inspect.isawaitable(found) else found
        if answer:
            return answer
        waited = time.monotonic() - began
        assert waited < within, f"not within {within} s: {what}"
        await asyncio.sleep(max(pause, min(waited / 8, 1)))
