"""Active calls of a server: their number, and their end at a stop."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from placet_rpc import deadlines
from placet_rpc.errors import RPC_DOMAIN, ResourceExhausted, Unavailable

_stopping: ContextVar[asyncio.Event | None] = ContextVar("placet_stopping", default=None)


def stopping() -> asyncio.Event:
    """Set once the server that handles this call begins to stop: a long poll answers early then.

    Outside of a call it is an event that is never set.
    """
    return _stopping.get() or asyncio.Event()


def stopping_error() -> Unavailable:
    """The error of a call that a stopping server cannot handle to its end."""
    return Unavailable(
        "the service is stopping; the same call again reaches another", reason="STOPPING", domain=RPC_DOMAIN
    )


@dataclass(eq=False)
class _Call:
    name: str
    streaming: bool
    task: asyncio.Task[object] | None = field(default_factory=asyncio.current_task)


class Calls:
    """All calls of one server that have begun and whose handlers' `finally` has not ended."""

    def __init__(self, limit: int) -> None:
        """`limit` is how many calls may be handled at once."""
        self.stopping = asyncio.Event()
        self._limit = limit
        self._active: set[_Call] = set()
        self._ended: set[asyncio.Task[object]] = set()
        self._idle = asyncio.Event()
        self._idle.set()

    @contextmanager
    def track(self, name: str, *, streaming: bool, remaining: float | None) -> Iterator[None]:
        """Counts a call as active while inside. `remaining` is what its caller gave it, in seconds."""
        call = _Call(name, streaming)
        self._active.add(call)
        self._idle.clear()
        _stopping.set(self.stopping)
        deadlines.enter(remaining)
        try:
            yield
        finally:
            # By identity, not by task: an abandoned stream is closed by another task.
            self._active.discard(call)
            if call.task is not None:
                self._ended.discard(call.task)
            if not self._active:
                self._idle.set()

    def admit(self, *, streaming: bool) -> None:
        """Refuses a call beyond the limit, and a stream that would have to end at once."""
        if len(self._active) > self._limit:
            raise ResourceExhausted(
                f"the service handles {self._limit} calls already; try later",
                reason="TOO_MANY_CALLS",
                metadata={"limit": str(self._limit)},
                domain=RPC_DOMAIN,
            )
        if streaming and self.stopping.is_set():
            raise stopping_error()

    def end_streams(self) -> None:
        """Ends all streams, which would else last for the whole grace; their readers resume elsewhere."""
        for call in self._active:
            if call.streaming and call.task is not None:
                self._ended.add(call.task)
                call.task.cancel()

    def ended_by_stop(self) -> bool:
        """True if `end_streams` cancelled the present task; that cancellation is then taken back."""
        task = asyncio.current_task()
        if task is None or task not in self._ended:
            return False
        self._ended.discard(task)
        task.uncancel()
        return True

    async def drained(self, seconds: float) -> list[str]:
        """Waits until no call is active, at most `seconds`; the names of those that still are."""
        try:
            async with asyncio.timeout(seconds):
                await self._idle.wait()
        except TimeoutError:
            return sorted(call.name for call in self._active)
        return []
