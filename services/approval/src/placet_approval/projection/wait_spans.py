"""Spans of waits: one per wait, recorded when it ends, with its true length, in its request's trace."""

from __future__ import annotations

from opentelemetry.trace import get_tracer

from placet_domain.events import Decided, LogEntry, TimedOut
from placet_domain.state import ApprovalState
from placet_telemetry import record_wait


def record_waits(before: ApprovalState, stored: LogEntry) -> None:
    """Records the wait that this entry ends, if it ends one. `before` is the request's state before it.

    The span's id follows from the event's number, so that recording it again gives the same span. The
    decision that ended it, made in another trace, is linked.
    """
    event = stored.entry.event
    tier = before.open_tier
    if tier is None or not isinstance(event.body, Decided | TimedOut):
        return
    ended_by = "timeout" if isinstance(event.body, TimedOut) else event.body.source.lower()
    record_wait(
        get_tracer("placet.approval"),
        f"wait for {tier.name}",
        before.traceparent,
        f"{before.approval_id}/{stored.entry.number}",
        tier.open_time,
        event.time,
        {"placet.approval_id": before.approval_id, "placet.tier": tier.tier, "placet.ended_by": ended_by},
        [event.traceparent] if event.traceparent else [],
    )
