"""Refusals of authority, recorded in the audit log of the refused caller's tenant.

A service wires `RefusalRecorder(...).record` as its server's `on_access_refused`.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable

from placet.audit.v1 import audit_service_pb2
from placet.audit.v1.audit_service_pb2_grpc import AuditServiceStub
from placet.event.v1 import event_pb2
from placet_rpc.identity import Principal, acting_for

_LOG = logging.getLogger("placet.rpc.recording")

# Appends an event to a tenant's own log, once by its cause id.
AppendForTenant = Callable[[str, event_pb2.Event], Awaitable[object]]


class RefusalRecorder:
    """Records refusals of authority.

    At most `per_minute` for each tenant, so that nobody fills the log by being refused; what is beyond goes
    to the service's own log only. placet_rpc calls it, one at a time and beside the refused call.
    """

    def __init__(self, append: AppendForTenant, *, per_minute: int) -> None:
        self._append = append
        self._per_minute = per_minute
        self._minute = 0
        self._recorded: Counter[str] = Counter()

    async def record(self, method: str, reason: str, principal: Principal, approval_id: str) -> None:
        """Appends one refusal. Raises what the append raises."""
        if not self._within_bound(principal.tenant):
            _LOG.warning("refusal of %s (%s) not recorded: too many in a minute", method, reason)
            return
        await self._append(principal.tenant, refusal_event(method, reason, principal, approval_id))

    def _within_bound(self, tenant: str) -> bool:
        minute = int(time.monotonic() // 60)
        if minute != self._minute:
            self._minute = minute
            self._recorded.clear()
        self._recorded[tenant] += 1
        return self._recorded[tenant] <= self._per_minute


def appending_to(audit: AuditServiceStub) -> AppendForTenant:
    """Appends by AuditService. Raises placet_rpc's typed errors."""

    async def append(tenant: str, event: event_pb2.Event) -> None:
        with acting_for(tenant):
            await audit.AppendEvents(audit_service_pb2.AppendEventsRequest(events=[event]))

    return append


def refusal_event(method: str, reason: str, principal: Principal, approval_id: str) -> event_pb2.Event:
    """The event that says who was refused what; its cause id is its own."""
    event = event_pb2.Event(
        actor=event_pb2.Actor(
            kind=event_pb2.ACTOR_KIND_PERSON if principal.is_person else event_pb2.ACTOR_KIND_SERVICE,
            name=event_pb2.Erasable(value=principal.subject),
            authenticated_by=principal.authenticated_by[:200] if principal.is_person else "",
        ),
        cause_id=f"refusal-{uuid.uuid4()}",
        access_refused=event_pb2.AccessRefused(
            method=method[:200], reason=reason[:200], approval_id=approval_id[:36]
        ),
    )
    event.time.FromMicroseconds(time.time_ns() // 1000)
    return event
