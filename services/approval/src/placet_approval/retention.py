"""Checks of an erasure: the request is closed, and its retention is over."""

from __future__ import annotations

from datetime import datetime, timedelta

from placet_rpc.errors import FailedPrecondition


def check_closed(approval_id: str, close_time: datetime | None) -> datetime:
    """The time at which the request was closed. Raises FailedPrecondition (NOT_CLOSED)."""
    if close_time is None:
        raise FailedPrecondition(
            f"request {approval_id} is open; only closed requests can be erased",
            reason="NOT_CLOSED",
            metadata={"approval_id": approval_id},
        )
    return close_time


def check_kept(close_time: datetime, retention: timedelta, now: datetime) -> None:
    """Raises FailedPrecondition (RETAINED) until `retention` has passed since a request was closed."""
    until = close_time + retention
    if now < until:
        raise FailedPrecondition(
            f"the request must be kept until {until:%Y-%m-%d %H:%M:%S} UTC; to erase it before, set"
            " before_retention",
            reason="RETAINED",
            metadata={"until": f"{until:%Y-%m-%dT%H:%M:%SZ}"},
        )
