"""Retries of calls while their failure is transient: every Placet call names an id, so a repeat is safe."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Final, TypeVar

from placet_rpc.errors import DeadlineExceeded, ResourceExhausted, Unavailable

_Answer = TypeVar("_Answer")

# Errors after which the call may or may not have taken effect, or that ask for another attempt.
TRANSIENT: Final = (Unavailable, DeadlineExceeded, ResourceExhausted)

_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 2.0


def pauses() -> Iterator[float]:
    """Seconds to wait before each further attempt: doubling to 2 s, each somewhere in its upper half."""
    pause = _FIRST_PAUSE
    while True:
        yield pause * random.uniform(0.5, 1)  # noqa: S311 (spreads callers out; nothing secret)
        pause = min(pause * 2, _LONGEST_PAUSE)


async def converge(call: Callable[[], Awaitable[_Answer]], *, patience: float) -> _Answer:
    """The first answer of `call`, which is made again while its failure is transient, not before the failure
    says when.

    Gives up, raising the last failure, when the next attempt would begin more than `patience` seconds after
    the first. `call` must do the same each time: same ids, same payload.
    """
    deadline = time.monotonic() + patience
    for pause in pauses():
        try:
            return await call()
        except TRANSIENT as error:
            pause = max(pause, error.retry_after)
            if time.monotonic() + pause > deadline:
                raise
        await asyncio.sleep(pause)
    raise AssertionError("pauses never end")
