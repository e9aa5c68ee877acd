"""The door for commands: junk is refused here, so that it never grows a history; the rest goes to the
workflow as a signal, and the log's tail tells what became of it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime

from placet.audit.v1 import event_pb2
from placet_approval.feed import Feed, Happened, Listener
from placet_approval.log import AuditLog
from placet_approval.requests import RequestStore
from placet_approval.temporal import NoSuchWorkflow, Workflows
from placet_approval.views import ViewStore
from placet_events import from_proto
from placet_rpc.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    PlacetError,
    Unavailable,
)
from placet_workflows import machine
from placet_workflows.commands import Command
from placet_workflows.events import LogEntry, RefusalReason, State
from placet_workflows.state import ApprovalState, Judged

# Seconds that an effect may wait for the view.
VIEW_WAIT = 2.0


@dataclass(frozen=True)
class Effect:
    """A command that took effect: where, and the state that it left."""

    log_index: int
    state: State


class Door:
    """Brings commands to workflows."""

    def __init__(
        self,
        requests: RequestStore,
        views: ViewStore,
        feed: Feed,
        log: AuditLog,
        workflows: Workflows,
        judge_budget: float,
    ) -> None:
        self._requests = requests
        self._views = views
        self._feed = feed
        self._log = log
        self._workflows = workflows
        self._judge_budget = judge_budget

    async def submit(self, tenant: str, approval_id: str, command: Command) -> Effect | None:
        """The command's effect; None when it is durable but was not judged within the budget.

        Raises its refusal: NotFound, AlreadyExists, FailedPrecondition, PermissionDenied or InvalidArgument;
        and Unavailable while Temporal does not answer.
        """
        known = await self._known(tenant, approval_id, command)
        if known is not None:
            already = known.judged.get(command.id)
            if already is not None:
                return _effect_of(known, already, command)
            refusal = machine.refusal_of(known, command)
            if refusal is not None:
                raise refused(refusal, machine.explain_refusal(known, refusal), known)
        elif await self._requests.get(tenant, approval_id) is None:
            raise unknown_approval(approval_id)
        await self._refuse_reuse(tenant, approval_id, command)
        effect = await self._signal(tenant, approval_id, command)
        if effect is not None:
            # Learned from the log itself, it may be ahead of the view; but the next read must show it.
            await self._feed.of(tenant).reached(effect.log_index, VIEW_WAIT)
        return effect

    async def _known(self, tenant: str, approval_id: str, command: Command) -> ApprovalState | None:
        """The state to judge the command by; None when none is known well enough, and the workflow judges.

        The view may be behind the log. What it says of closing, content and requester stays true; that
        somebody was not asked may have changed since, so for that the log itself is asked.
        """
        seen = _folded(await self._views.path(tenant, approval_id))
        if seen is not None and machine.refusal_of(seen, command) is not RefusalReason.NOT_ASKED:
            return seen
        return await self._from_log(tenant, approval_id)

    async def _from_log(self, tenant: str, approval_id: str) -> ApprovalState | None:
        """The state by the log itself; None when it does not answer, and then the workflow judges."""
        try:
            return _folded(await self._log.events_of(tenant, approval_id))
        except Unavailable:
            return None

    async def _refuse_reuse(self, tenant: str, approval_id: str, command: Command) -> None:
        accepted = await self._requests.accepted_digest(tenant, approval_id, command.id)
        if accepted is not None and accepted != bytes.fromhex(command.digest()):
            raise _reused(command)

    async def _signal(self, tenant: str, approval_id: str, command: Command) -> Effect | None:
        feed = self._feed.of(tenant)
        # The listener first: the answer may come before the signal's call returns.
        with feed.listening(approval_id) as listener:
            deadline = time.monotonic() + self._judge_budget
            try:
                await self._workflows.command(approval_id, command)
            except NoSuchWorkflow:
                return await self._without_workflow(tenant, approval_id, command)
            effect = await _heard(listener, command, deadline)
        if effect is None:
            digest = bytes.fromhex(command.digest())
            await self._requests.accept_command(tenant, approval_id, command.id, digest, datetime.now(UTC))
        return effect

    async def _without_workflow(self, tenant: str, approval_id: str, command: Command) -> Effect:
        """The workflow has ended, perhaps by this very command; or it was not started yet."""
        state = _folded(await self._log.events_of(tenant, approval_id))
        already = state.judged.get(command.id) if state else None
        if state is not None and already is not None:
            return _effect_of(state, already, command)
        if state is not None and state.decided is not None:
            raise refused(RefusalReason.CLOSED, machine.explain_refusal(state, RefusalReason.CLOSED), state)
        raise Unavailable(
            "The request is being started; send the same call again",
            reason="DEPENDENCY_UNAVAILABLE",
            metadata={"dependency": "temporal"},
        )


def _folded(path: list[event_pb2.LogEntry]) -> ApprovalState | None:
    if not path:
        return None
    state = ApprovalState()
    for stored in path:
        state.fold(from_proto(stored, LogEntry))
    return state


async def _heard(listener: Listener, command: Command, deadline: float) -> Effect | None:
    """What the tail says became of the command; None when the deadline passed first."""
    while (remaining := deadline - time.monotonic()) > 0:
        effect: Effect | None = None
        for happened in await listener.next(remaining):
            if happened.stored.entry.event.cause_id == command.id:
                effect = _effect_in(happened, command)
        if effect is not None:
            return effect
    return None


def _effect_in(happened: Happened, command: Command) -> Effect:
    event = happened.stored.entry.event
    if event.command_digest.hex() != command.digest():
        raise _reused(command)
    if event.WhichOneof("body") == "refused":
        reason = RefusalReason(
            event_pb2.RefusalReason.Name(event.refused.reason).removeprefix("REFUSAL_REASON_")
        )
        raise refused(reason, event.refused.message.value, None)
    state = State(event_pb2.State.Name(happened.shown.approval.state).removeprefix("STATE_"))
    return Effect(happened.stored.index, state)


def _effect_of(state: ApprovalState, judged: Judged, command: Command) -> Effect:
    if judged.digest != command.digest():
        raise _reused(command)
    if judged.refusal is not None:
        raise refused(judged.refusal, judged.message, state)
    return Effect(judged.log_index, state.state)


def _reused(command: Command) -> AlreadyExists:
    return AlreadyExists(
        f"the id {command.id} was used for another command; use a new one",
        reason="ID_REUSED",
        metadata={"command_id": command.id},
    )


def unknown_approval(approval_id: str) -> NotFound:
    """There is no such request, or it is not the caller's to see."""
    return NotFound(
        f"there is no request {approval_id}, or it is not yours to see",
        reason="UNKNOWN_APPROVAL",
        metadata={"approval_id": approval_id},
    )


REFUSALS: dict[RefusalReason, type[PlacetError]] = {
    RefusalReason.CLOSED: FailedPrecondition,
    RefusalReason.CONTENT_CHANGED: FailedPrecondition,
    RefusalReason.NOT_ASKED: PermissionDenied,
    RefusalReason.SELF_APPROVAL: PermissionDenied,
    RefusalReason.NOT_REQUESTER: PermissionDenied,
    RefusalReason.REASON_REQUIRED: InvalidArgument,
    RefusalReason.UNDECODABLE: InvalidArgument,
}


def refused(reason: RefusalReason, message: str, state: ApprovalState | None) -> PlacetError:
    """A refusal as the typed error that its sender gets."""
    metadata = {}
    if reason is RefusalReason.CLOSED and state is not None and state.decided is not None:
        metadata = {"state": state.decided.state.value, "approver": state.decided.approver}
    return REFUSALS[reason](message, reason=reason.value, metadata=metadata)
