"""Erasure of a closed request: checks it, erases in the log, and waits until the view follows."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from placet.event.v1 import event_pb2
from placet_approval.adapters.audit_log import AuditLog
from placet_approval.errors import unknown_approval
from placet_approval.projection.projections import Projections
from placet_approval.store.requests import RequestStore
from placet_rpc import deadlines
from placet_rpc.errors import FailedPrecondition
from placet_rpc.identity import Principal, actor_of

# Timeout for an erasure to reach the view; it is durable before.
VIEW_TIMEOUT = 2.0


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
        close_time = _close_time(path)
        if close_time is None:
            raise _not_closed(approval_id)
        kept_until = close_time + self._retention
        if not before_retention and datetime.now(UTC) < kept_until:
            raise _retained(kept_until)
        entry = await self._log.erase(caller.tenant, approval_id, actor_of(caller), reason)
        await self._projections.of(caller.tenant).reached(entry.index, deadlines.waiting_time(VIEW_TIMEOUT))
        return entry


def _close_time(path: Iterable[event_pb2.LogEntry]) -> datetime | None:
    for stored in path:
        event = stored.entry.event
        if event.HasField("closed"):
            return event.time.ToDatetime(tzinfo=UTC)
    return None


def _not_closed(approval_id: str) -> FailedPrecondition:
    return FailedPrecondition(
        f"request {approval_id} is open; only closed requests can be erased",
        reason="NOT_CLOSED",
        metadata={"approval_id": approval_id},
    )


def _retained(until: datetime) -> FailedPrecondition:
    return FailedPrecondition(
        f"the request must be kept until {until:%Y-%m-%d %H:%M:%S} UTC; to erase it before, set"
        " before_retention",
        reason="RETAINED",
        metadata={"until": f"{until:%Y-%m-%dT%H:%M:%SZ}"},
    )
