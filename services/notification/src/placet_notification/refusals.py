"""Calls that this service refused at its door, recorded in the log of the refused caller's tenant."""

import time
import uuid
from collections import Counter

from placet.audit.v1 import audit_service_pb2, audit_service_pb2_grpc, event_pb2
from placet_rpc.identity import Principal, acting_for
from placet_telemetry import log

_LOG = log(__name__)


class Refusals:
    """Tells AuditService of refusals of authority.

    At most `per_minute` for each tenant, so that nobody fills the log by being refused; what is beyond goes
    to the service's own log only. placet_rpc calls it, one at a time and beside the refused call.
    """

    def __init__(self, audit: audit_service_pb2_grpc.AuditServiceStub, *, per_minute: int) -> None:
        self._audit = audit
        self._per_minute = per_minute
        self._minute = 0
        self._recorded: Counter[str] = Counter()

    async def record(self, method: str, reason: str, principal: Principal, approval_id: str) -> None:
        """Appends one refusal. Raises what AppendEvents raises."""
        if not self._within_bound(principal.tenant):
            _LOG.warning("refusal not recorded: too many in a minute", method=method, reason=reason)
            return
        event = _refusal(method, reason, principal, approval_id)
        with acting_for(principal.tenant):
            await self._audit.AppendEvents(audit_service_pb2.AppendEventsRequest(events=[event]))

    def _within_bound(self, tenant: str) -> bool:
        minute = int(time.monotonic() // 60)
        if minute != self._minute:
            self._minute = minute
            self._recorded.clear()
        self._recorded[tenant] += 1
        return self._recorded[tenant] <= self._per_minute


def _refusal(method: str, reason: str, principal: Principal, approval_id: str) -> event_pb2.Event:
    is_person = "@" in principal.subject
    event = event_pb2.Event(
        actor=event_pb2.Actor(
            kind=event_pb2.ACTOR_KIND_PERSON if is_person else event_pb2.ACTOR_KIND_SERVICE,
            name=event_pb2.Erasable(value=principal.subject),
            authenticated_by=principal.authenticated_by[:200] if is_person else "",
        ),
        cause_id=f"refusal-{uuid.uuid4()}",
        access_refused=event_pb2.AccessRefused(
            method=method[:200], reason=reason[:200], approval_id=approval_id[:36]
        ),
    )
    event.time.GetCurrentTime()
    return event
