"""Erasure of a closed request: erases in the log on the operator's word, and waits until the view follows."""

from __future__ import annotations

from placet.event.v1 import event_pb2
from placet_approval.adapters.audit_log import AuditLog
from placet_approval.errors import not_erasable, unknown_approval
from placet_approval.projection.projections import Projections
from placet_approval.store.requests import RequestStore
from placet_rpc import deadlines
from placet_rpc.errors import FailedPrecondition, NotFound

# Timeout for an erasure to reach the view; it is durable before.
VIEW_TIMEOUT = 2.0


class Eraser:
    """Erases requests. AuditService judges who asks, and for how long a request must be kept."""

    def __init__(self, requests: RequestStore, projections: Projections, log: AuditLog) -> None:
        self._requests = requests
        self._projections = projections
        self._log = log

    async def erase(
        self, tenant: str, approval_id: str, reason: str, *, before_retention: bool
    ) -> event_pb2.LogEntry:
        """Erases a request; returns the `erased` entry, the last one if it was erased before.

        Raises NotFound (UNKNOWN_APPROVAL), FailedPrecondition (NOT_CLOSED, RETAINED), Unavailable.
        """
        try:
            entry = await self._log.erase(tenant, approval_id, reason, before_retention=before_retention)
        except NotFound as error:
            if await self._requests.get(tenant, approval_id) is None:
                raise unknown_approval(approval_id) from error
            # Its intake was interrupted before the log had it.
            raise not_erasable("NOT_CLOSED", {"approval_id": approval_id}) from error
        except FailedPrecondition as error:
            raise not_erasable(error.reason, error.metadata) from error
        await self._projections.of(tenant).reached(entry.index, deadlines.waiting_time(VIEW_TIMEOUT))
        return entry
