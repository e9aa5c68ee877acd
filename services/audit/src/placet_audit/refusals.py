"""Calls that this service refused at its own door, recorded in its own log."""

from __future__ import annotations

import logging
import time
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable

from placet.audit.v1 import event_pb2
from placet_audit.domain import TENANT_LEVEL, Append
from placet_audit.leaf import seal
from placet_rpc.identity import Principal

_LOG = logging.getLogger("placet.audit.refusals")


class Refusals:
    """Records refusals of authority as events of the refused caller's tenant.

    At most `per_minute` for each tenant, so that nobody fills the log by being refused; what is beyond
    goes to the service's own log only. placet_rpc calls it, one at a time and beside the refused call.
    """

    def __init__(self, append: Callable[[Append], Awaitable[object]], *, per_minute: int) -> None:
        self._append = append
        self._per_minute = per_minute
        self._minute = 0
        self._recorded: Counter[str] = Counter()

    async def record(self, method: str, reason: str, principal: Principal, approval_id: str) -> None:
        """Append one refusal. Raises what the append raises."""
        if not self._within_bound(principal.tenant):
            _LOG.warning("refusal of %s (%s) not recorded: too many in a minute", method, reason)
            return
        event = refusal_event(method, reason, principal, approval_id)
        entry = event_pb2.Entry(tenant=principal.tenant, event=event)
        await self._append(Append(principal.tenant, TENANT_LEVEL, 0, (seal(entry),)))

    def _within_bound(self, tenant: str) -> bool:
        minute = int(time.monotonic() // 60)
        if minute != self._minute:
            self._minute = minute
            self._recorded.clear()
        self._recorded[tenant] += 1
        return self._recorded[tenant] <= self._per_minute


def refusal_event(method: str, reason: str, principal: Principal, approval_id: str) -> event_pb2.Event:
    """The event that says whom this service refused; its cause id is its own."""
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
    event.time.FromMicroseconds(time.time_ns() // 1000)
    return event
