"""Queries of requests: answered from the view, within the caller's visibility."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import aclosing, contextmanager
from datetime import UTC, datetime

from placet.approval.v1 import approval_pb2, approval_service_pb2
from placet.event.v1 import event_pb2
from placet_approval.adapters.audit_log import AuditLog
from placet_approval.content.warnings import RENDERING
from placet_approval.errors import content_lost, erased, not_yet_read, unknown_approval
from placet_approval.projection.fold import AppliedEvent, fold_path, project_state
from placet_approval.projection.present import present_result
from placet_approval.projection.projections import Projections
from placet_approval.store.filters import Filter
from placet_approval.store.pending_commands import PendingCommands
from placet_approval.store.policies import PolicyStore
from placet_approval.store.requests import Content, Request, RequestStore
from placet_approval.store.view import ProjectedApproval, ViewStore
from placet_approval.visibility import Visibility
from placet_logtail import Listener
from placet_rpc import deadlines
from placet_rpc.calls import stopping
from placet_rpc.errors import DataLoss, NotFound

# Timeout for the view in calls without a deadline.
VIEW_TIMEOUT = 5.0
# Timeout for the first event of a request that was just accepted.
FIRST_EVENT_TIMEOUT = 2.0


class Queries:
    """Reads requests. Raises NotFound (UNKNOWN_APPROVAL) for those that the caller may not see."""

    def __init__(
        self,
        requests: RequestStore,
        pending: PendingCommands,
        policies: PolicyStore,
        views: ViewStore,
        projections: Projections,
        log: AuditLog,
        sign_of_life: float,
    ) -> None:
        self._requests = requests
        self._pending = pending
        self._policies = policies
        self._views = views
        self._projections = projections
        self._log = log
        self._sign_of_life = sign_of_life

    async def up_to(self, tenant: str, log_index: int = 0) -> None:
        """Waits until the view holds everything up to `log_index`, and has caught up since the start.

        Raises Unavailable (NOT_YET_READ).
        """
        timeout = deadlines.waiting_time(VIEW_TIMEOUT)
        deadline = time.monotonic() + timeout
        projection = self._projections.of(tenant)
        if not await projection.caught_up(timeout):
            raise not_yet_read()
        if log_index and not await projection.reached(log_index, deadline - time.monotonic()):
            raise not_yet_read(await projection.view_position() - 1, log_index)

    async def get(self, visible: Visibility, approval_id: str) -> approval_pb2.Approval:
        """A request in the BASIC view."""
        return (await self._projected(visible, approval_id)).approval

    async def fill(self, tenant: str, approvals: Sequence[approval_pb2.Approval]) -> None:
        """Adds the fields that the FULL view has beyond the BASIC one."""
        paths = await self._views.paths(tenant, [approval.approval_id for approval in approvals])
        for approval in approvals:
            path = paths[approval.approval_id]
            if not path:
                path = await self._log.events_of(tenant, approval.approval_id)
            # More events may have been appended since the request was read.
            approval.path.extend(path[: approval.last_number])
            approval.rendering = RENDERING

    async def page(
        self, visible: Visibility, wanted: Filter, size: int, token: str
    ) -> tuple[list[approval_pb2.Approval], str]:
        """One page of requests, and the token of the next."""
        return await self._views.page(visible, wanted, size, token)

    async def outcome(self, visible: Visibility, approval_id: str, timeout: float) -> approval_pb2.Approval:
        """The request once it is closed, or its state after `timeout` seconds or at a server stop."""
        deadline, stop = time.monotonic() + timeout, stopping()
        with (
            self._projections.of(visible.tenant).listening(approval_id) as listener,
            _when(stop, listener.wake),
        ):
            projected = await self._projected(visible, approval_id)
            while (
                not (_is_closed(projected) or stop.is_set())
                and (remaining := deadline - time.monotonic()) > 0
            ):
                events = await listener.next(remaining)
                projected = events[-1].projected if events else await self._projected(visible, approval_id)
        return projected.approval

    async def watch(
        self, visible: Visibility, wanted: Filter, from_index: int | None
    ) -> AsyncIterator[approval_service_pb2.WatchApprovalsResponse]:
        """Streams matching events of visible requests, from an index on or from now, without end.

        Raises Unavailable (NOT_YET_READ) if it is not known where now is: the log has never been heard.
        """
        projection = self._projections.of(visible.tenant)
        start = await projection.head() if from_index is None else from_index
        if start is None:
            raise not_yet_read()
        watch = projection.watch(
            start, lambda applied: _is_wanted(applied, visible, wanted), self._sign_of_life
        )
        async with aclosing(watch) as batches:
            async for batch in batches:
                for applied in batch.items:
                    yield approval_service_pb2.WatchApprovalsResponse(
                        approval=applied.projected.approval,
                        entry=applied.stored,
                        next_log_index=applied.index + 1,
                    )
                if not batch.items:
                    yield approval_service_pb2.WatchApprovalsResponse(next_log_index=batch.next)

    async def content(self, visible: Visibility, approval_id: str, digest: bytes) -> tuple[Content, Request]:
        """A request's content, and the request.

        Raises NotFound (UNKNOWN_APPROVAL; ERASED for callers who see everything), DataLoss (CONTENT_LOST).
        """
        found = await self._requests.content(visible.tenant, approval_id, digest)
        if found is None or not await self._is_logged(found[1]):
            raise await self._without_content(visible, approval_id, digest)
        if not visible.everything:
            await self._projected(visible, approval_id)
        return found

    async def command(
        self, visible: Visibility, approval_id: str, command_id: str
    ) -> approval_pb2.CommandResult:
        """The result of a command. Raises NotFound (UNKNOWN_COMMAND)."""
        await self._projected(visible, approval_id)
        is_pending = await self._pending.has(visible.tenant, approval_id, command_id)
        state = fold_path(await self._views.path(visible.tenant, approval_id), self._log.keys)
        if not is_pending and (state is None or command_id not in state.commands):
            # Processed and not pending any more, while the view is behind.
            state = fold_path(await self._log.events_of(visible.tenant, approval_id), self._log.keys)
        if is_pending or (state is not None and command_id in state.commands):
            return present_result(state, command_id)
        raise NotFound(
            f"no command {command_id} reached request {approval_id}",
            reason="UNKNOWN_COMMAND",
            metadata={"command_id": command_id},
        )

    async def _is_logged(self, request: Request) -> bool:
        """False if the log holds another request with this id, which intake has not compared yet."""
        first = await self._views.first(request.tenant, request.approval_id)
        return first is None or first.entry.event.received.request_digest == request.payload_digest

    async def _without_content(
        self, visible: Visibility, approval_id: str, digest: bytes
    ) -> NotFound | DataLoss:
        approval = (await self._projected(visible, approval_id)).approval
        if approval.HasField("erasure"):
            return erased(approval) if visible.everything else unknown_approval(approval_id)
        return (
            content_lost(approval_id) if approval.content_digest == digest else unknown_approval(approval_id)
        )

    async def _projected(self, visible: Visibility, approval_id: str) -> ProjectedApproval:
        await self.up_to(visible.tenant)
        # Listen before reading the view: events that it does not hold yet reach the listener.
        with self._projections.of(visible.tenant).listening(approval_id) as listener:
            found = await self._views.get(visible.tenant, approval_id)
            projected = (
                await self._after_first_event(found, listener) if isinstance(found, Request) else found
            )
        if projected is None or not visible.covers(projected.approval.requester, projected.asked):
            raise unknown_approval(approval_id)
        return projected

    async def _after_first_event(
        self, request: Request, listener: Listener[AppliedEvent]
    ) -> ProjectedApproval | None:
        """A request without events in the view: waits for its first event, then reads the log."""
        events = await listener.next(FIRST_EVENT_TIMEOUT)
        if events:
            return events[-1].projected
        state = fold_path(await self._log.events_of(request.tenant, request.approval_id), self._log.keys)
        if state is None:
            return None
        policy = await self._policies.by_digest(request.policy_digest)
        return project_state(state, request.labels, None if policy is None else policy.policy)


@contextmanager
def _when(event: asyncio.Event, act: Callable[[], None]) -> Iterator[None]:
    """Calls `act` when an event is set within the block."""
    task = asyncio.ensure_future(event.wait())
    task.add_done_callback(lambda _: act())
    try:
        yield
    finally:
        task.cancel()


def _is_closed(projected: ProjectedApproval) -> bool:
    """True if closed, not only decided: one append has both events, but a batch may end between them."""
    return projected.approval.outcome.HasField("waited")


def _is_wanted(applied: AppliedEvent, visible: Visibility, wanted: Filter) -> bool:
    approval, asked = applied.projected.approval, applied.projected.asked
    if not visible.covers(approval.requester, asked):
        return False
    if wanted.states and event_pb2.State.Name(approval.state) not in wanted.states:
        return False
    if wanted.policy not in ("", approval.policy) or wanted.subject_id not in ("", approval.subject_id):
        return False
    if wanted.requester not in ("", approval.requester):
        return False
    if any(approval.labels.get(key) != value for key, value in wanted.labels):
        return False
    if wanted.approver and wanted.approver not in asked:
        return False
    if not _is_within(approval.create_time.ToDatetime(tzinfo=UTC), wanted):
        return False
    return not wanted.waiting_for or (asked.get(wanted.waiting_for, False) and approval.waiting_for_approval)


def _is_within(create_time: datetime, wanted: Filter) -> bool:
    after = wanted.from_create_time is None or create_time >= wanted.from_create_time
    return after and (wanted.until_create_time is None or create_time < wanted.until_create_time)
