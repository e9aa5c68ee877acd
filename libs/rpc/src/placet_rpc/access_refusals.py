"""Audit of refused calls: each refusal of authority becomes an event in the log of the caller's tenant.

A service passes `RefusalRecorder(...).record` to its server as `on_access_refused`.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from contextvars import Context
from dataclasses import dataclass

from placet.audit.v1 import audit_service_pb2
from placet.audit.v1.audit_service_pb2_grpc import AuditServiceStub
from placet.event.v1 import event_pb2
from placet_rpc.identity import Principal, acting_for, actor_of

# Takes method ("/placet.approval.v1.ApprovalService/GetApproval"), reason ("NOT_ASKED"), caller, approval id.
OnAccessRefused = Callable[[str, str, Principal, str], Awaitable[None]]
# Appends an event to a tenant's own log, once by its cause id.
AppendForTenant = Callable[[str, event_pb2.Event], Awaitable[object]]

_QUEUE_LIMIT = 1000
_HOOK_SECONDS = 10.0
_LOG = logging.getLogger(__name__)


class RefusalRecorder:
    """Records refusals of authority, at most `per_minute` for each tenant; more are only logged.

    The bound keeps a caller from filling the log by being refused. `Refusals` calls `record`, one at a time.
    """

    def __init__(self, append: AppendForTenant, *, program: str, per_minute: int) -> None:
        """`program`: name of the service that refuses, which its events' cause ids begin with."""
        self._append = append
        self._program = program
        self._per_minute = per_minute
        self._minute = 0
        self._recorded: Counter[str] = Counter()

    async def record(self, method: str, reason: str, principal: Principal, approval_id: str) -> None:
        """Appends one refusal. Raises what the append raises."""
        if not self._within_bound(principal.tenant):
            _LOG.warning("refusal of %s (%s) not recorded: too many in a minute", method, reason)
            return
        event = refusal_event(method, reason, principal, approval_id, program=self._program)
        await self._append(principal.tenant, event)

    def _within_bound(self, tenant: str) -> bool:
        minute = int(time.monotonic() // 60)
        if minute != self._minute:
            self._minute = minute
            self._recorded.clear()
        self._recorded[tenant] += 1
        return self._recorded[tenant] <= self._per_minute


def appending_to(audit: AuditServiceStub) -> AppendForTenant:
    """Appends through AuditService. Raises placet_rpc's typed errors."""

    async def append(tenant: str, event: event_pb2.Event) -> None:
        with acting_for(tenant):
            await audit.AppendEvents(audit_service_pb2.AppendEventsRequest(events=[event]))

    return append


def refusal_event(
    method: str, reason: str, principal: Principal, approval_id: str, *, program: str
) -> event_pb2.Event:
    """The event of one refused call, with a cause id of its own."""
    event = event_pb2.Event(
        actor=actor_of(principal),
        cause_id=f"{program}/refusal/{uuid.uuid4()}",
        access_refused=event_pb2.AccessRefused(
            method=method[:200], reason=reason[:200], approval_id=approval_id[:36]
        ),
    )
    event.time.FromMicroseconds(time.time_ns() // 1000)
    return event


@dataclass(frozen=True)
class _Refusal:
    method: str
    reason: str
    principal: Principal
    approval_id: str


class Refusals:
    """Passes refusals to a hook, one after the other. Never delays or fails the call that was refused."""

    def __init__(self, hook: OnAccessRefused | None) -> None:
        """Without a hook, refusals stand in the request log only."""
        self._hook = hook
        self._queue: asyncio.Queue[_Refusal] = asyncio.Queue(_QUEUE_LIMIT)
        self._task: asyncio.Task[None] | None = None
        self._dropped = 0

    def start(self) -> None:
        """Begins to call the hook."""
        if self._hook is not None:
            # An empty context: the hook's calls belong to no refused call's trace, tenant or deadline.
            self._task = asyncio.create_task(self._call_hook(self._hook), context=Context())

    def report(self, method: str, reason: str, principal: Principal, approval_id: str) -> None:
        """Queues a refusal; when the queue is full it is dropped, and the log says so."""
        if self._task is None:
            return
        try:
            self._queue.put_nowait(_Refusal(method, reason, principal, approval_id))
        except asyncio.QueueFull:
            self._dropped += 1
            if self._dropped.bit_count() == 1:  # at 1, 2, 4, 8, …: a flood must not flood the log
                _LOG.error("%d refusals of authority could not be recorded: the queue is full", self._dropped)

    async def stop(self, seconds: float) -> None:
        """Lets the hook take what is queued, for at most `seconds`, then ends."""
        if self._task is None:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._queue.join()
        if not self._queue.empty():
            _LOG.error("%d refusals of authority could not be recorded before the stop", self._queue.qsize())
        self._task.cancel()
        await asyncio.wait([self._task])
        self._task = None

    async def _call_hook(self, hook: OnAccessRefused) -> None:
        while True:
            refusal = await self._queue.get()
            try:
                async with asyncio.timeout(_HOOK_SECONDS):
                    await hook(refusal.method, refusal.reason, refusal.principal, refusal.approval_id)
            except Exception:  # noqa: BLE001 (the hook is the service's; the next refusal must still be recorded)
                _LOG.exception("a refusal of authority could not be recorded: %s", refusal)
            finally:
                self._queue.task_done()
