"""The serving side of every resumable stream: history, then what is new, and signs of life."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeAlias, TypeVar

from placet_logtail.wakeup import Wakeup, wait_for
from placet_rpc.errors import OutOfRange

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Batch(Generic[T_co]):
    """Some items of a stream, in order; none as a sign of life.

    `next`: the position to resume from. `end`: the first position that the stream does not hold yet, as known
    when this was read; a follower has caught up when `next` is not less.
    """

    items: Sequence[T_co]
    next: int
    end: int


# Some items from a position on; fewer than there are only if `next` is less than `end`.
Read: TypeAlias = Callable[[int], Awaitable[Batch[T]]]


async def follow(
    read: Read[T], wakeup: Wakeup, start: int, sign_of_life: float
) -> AsyncGenerator[Batch[T], None]:
    """The stream from position `start` on (inclusive), without gap or repetition, without end.

    A batch without items comes first when the follower has caught up, then after `sign_of_life` seconds in
    which nothing was sent. Raises OutOfRange (BEYOND_END) for a position beyond the stream's end, and what
    `read` raises.
    """
    position = start
    due: float | None = None
    while True:
        woken = wakeup.arm()
        batch = await read(position)
        if position > batch.end:
            raise beyond_end(position, batch.end)
        position = batch.next
        if batch.items:
            yield batch
            due = None if due is None else time.monotonic() + sign_of_life
        if position < batch.end:
            continue
        if due is None or time.monotonic() >= due:
            yield Batch((), position, batch.end)
            due = time.monotonic() + sign_of_life
        await wait_for(woken, due - time.monotonic())


def beyond_end(position: int, end: int) -> OutOfRange:
    """The refusal of a position that the stream has never reached."""
    return OutOfRange(
        f"The stream ends at {end}; it does not reach {position}. Resume from {end} at most.",
        reason="BEYOND_END",
        metadata={"from": str(position), "end": str(end)},
    )
