"""Erasure of a closed request: checks it, erases in the log, and waits until the view follows."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from placet.event.v1 import event_pb2
from placet_approval.adapters.audit_log import AuditLog
from placet_approval.errors import unknown_approval
from placet_approval.projection.projections import Projections
from placet_approval.retention import check_closed, check_kept
from placet_approval.store.requests import RequestStore
from placet_rpc import deadlines
from placet_rpc.identity import Principal, actor_of

# Timeout for an erasure to reach the view; it is durable before.
VIEW_TIMEOUT = 2.0
# Part of the caller's deadline that is kept for the answer.
ANSWER_MARGIN = 0.3


class Eraser:
    """Erases requests."""

    def __init__(
        self,
        requests: RequestStore,
        projections: Projections,
        log: AuditLog,
        retention: timedelta,
    ) -> None:
        """`retention`: the time after closing during which a request must be kept."""
        self._requests = requests
        self._projections = projections
        self._log = log
        self._retention = retention

    async def erase(
        self, caller: Principal, approval_id: str, reason: str, *, before_retention: bool
    ) -> event_pb2.LogEntry:
        """Erases a request; returns the `erased` entry, the last one if it was erased before.

        Raises NotFound (UNKNOWN_APPROVAL), FailedPrecondition (NOT_CLOSED, RETAINED), Unavailable.
        """
        # The log itself: the view may lag behind it.
        path = await self._log.events_of(caller.tenant, approval_id)
        if not path and await self._requests.get(caller.tenant, approval_id) is None:
            raise unknown_approval(approval_id)
        close_time = check_closed(approval_id, _close_time(path))
        if not before_retention:
            check_kept(close_time, self._retention, datetime.now(UTC))
        entry = await self._log.erase(caller.tenant, approval_id, actor_of(caller), reason)
        await self._projections.of(caller.tenant).reached(entry.index, _view_timeout())
        return entry


def _close_time(path: Iterable[event_pb2.LogEntry]) -> datetime | None:
    for stored in path:
        event = stored.entry.event
        if event.HasField("closed"):
            return event.time.ToDatetime(tzinfo=UTC)
    return None


def _view_timeout() -> float:
    left = deadlines.remaining()
    return VIEW_TIMEOUT if left is None else max(min(VIEW_TIMEOUT, left - ANSWER_MARGIN), 0)
