"""Deadlines: time that the call being handled leaves for the calls that it makes."""

from __future__ import annotations

import time
from contextvars import ContextVar

from placet_rpc.errors import DeadlineExceeded

# Share of the caller's time that a server keeps, so that it can still answer what timed out.
_KEPT_SHARE = 0.1
_KEPT_AT_MOST = 0.1  # seconds
# Seconds that a call which waits for something keeps for its answer.
_ANSWER_MARGIN = 0.3

_incoming: ContextVar[float | None] = ContextVar("placet_incoming_deadline", default=None)


def enter(remaining: float | None) -> None:
    """Sets the deadline of the call being handled, `remaining` seconds from now; None: no deadline."""
    # Never reset, for the reason given in identity.enter.
    _incoming.set(None if remaining is None else time.monotonic() + remaining)


def remaining() -> float | None:
    """Seconds left of the call being handled, at least 0; None without a call or a limit."""
    deadline = _incoming.get()
    return None if deadline is None else max(0.0, deadline - time.monotonic())


def waiting_time(limit: float) -> float:
    """Seconds that the call being handled may wait: `limit`, or its remaining time less that of an answer."""
    left = remaining()
    return limit if left is None else max(min(limit, left - _ANSWER_MARGIN), 0)


def outgoing_timeout(wanted: float) -> float:
    """Seconds that a call made now may take: `wanted`, or what is left of the incoming one less a little.

    Raises DeadlineExceeded when nothing is left.
    """
    left = remaining()
    if left is None:
        return wanted
    usable = left - min(left * _KEPT_SHARE, _KEPT_AT_MOST)
    if usable <= 0:
        raise DeadlineExceeded("the call's deadline passed before another service was called")
    return min(wanted, usable)
