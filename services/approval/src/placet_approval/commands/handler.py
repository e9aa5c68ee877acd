"""Command handler: refuses invalid commands early, signals the rest to the workflow, awaits the result.

The early refusal keeps invalid commands out of workflow histories. Results come from the log's tail.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from placet.event.v1 import error_reason_pb2, event_pb2
from placet_approval.adapters.audit_log import AuditLog
from placet_approval.adapters.temporal import NoSuchWorkflow, Workflows
from placet_approval.errors import not_yet_read, refused, unknown_approval
from placet_approval.projection.fold import AppliedEvent, fold_path
from placet_approval.projection.present import present
from placet_approval.projection.projections import Projections
from placet_approval.recovery.workflows import WorkflowRecovery
from placet_approval.store.pending_commands import SIGNAL_INTERVAL, PendingCommands, id_reused
from placet_approval.store.view import ViewStore
from placet_domain.commands import BaseCommand
from placet_domain.events import ErrorReason, State
from placet_domain.rules.refusals import explain_refusal
from placet_domain.state import ApprovalState
from placet_logtail import Listener
from placet_rpc import deadlines
from placet_rpc.errors import (
    DeadlineExceeded,
    FailedPrecondition,
    InvalidArgument,
    PermissionDenied,
    Unavailable,
)

# Timeout for reading the log when the view may be stale; on timeout the workflow alone checks.
LOG_TIMEOUT = 0.3
# Timeout for an effect to appear in the view.
VIEW_TIMEOUT = 2.0


@dataclass(frozen=True)
class Effect:
    """A command that took effect: the index of its last entry, and the state after it."""

    log_index: int
    state: State


@dataclass(frozen=True)
class _Submission:
    """A submitted command, with its sender's deadline and listener."""

    tenant: str
    approval_id: str
    command: BaseCommand
    # By time.monotonic: end of the wait for the result.
    deadline: float
    listener: Listener[AppliedEvent]


class CommandHandler:
    """Submits commands to workflows."""

    def __init__(
        self,
        pending: PendingCommands,
        views: ViewStore,
        projections: Projections,
        log: AuditLog,
        workflows: Workflows,
        workflow_recovery: WorkflowRecovery,
    ) -> None:
        self._pending = pending
        self._views = views
        self._projections = projections
        self._log = log
        self._workflows = workflows
        self._workflow_recovery = workflow_recovery

    async def submit(
        self, tenant: str, approval_id: str, command: BaseCommand, budget: float
    ) -> Effect | None:
        """Submits a command; returns its effect, which the next read includes.

        Returns None when it is durable but was not processed within `budget` seconds, or is not in the view
        within VIEW_TIMEOUT. Raises its refusal: NotFound, AlreadyExists, FailedPrecondition,
        PermissionDenied or InvalidArgument; ResourceExhausted when too many commands of its sender are
        pending; and what `Workflows` raises.
        """
        # Listen before reading the view: events that it does not hold yet reach the listener.
        with self._projections.of(tenant).listening(approval_id) as listener:
            sent = _Submission(tenant, approval_id, command, time.monotonic() + budget, listener)
            state = await self._known_state(sent)
            if state is not None and command.id in state.commands:
                effect = _effect_in(state, command) or await self._result(sent, sent.deadline)
            else:
                if state is not None:
                    _check(state, command)
                effect = await self._deliver(sent, state)
            return effect if effect is not None and await self._reaches_view(tenant, effect) else None

    async def _known_state(self, sent: _Submission) -> ApprovalState | None:
        """The state for the early check; None when none is current enough, and the workflow checks alone.

        The view may be behind the log. Closing, content and requester do not change; the people asked
        may, so a refusal because of those is checked against the log itself.
        """
        context = await self._views.command_context(sent.tenant, sent.approval_id)
        if not context.exists:
            # The view may have been behind the log, of which this database may hold no request.
            if not await self._projections.of(sent.tenant).caught_up(deadlines.waiting_time(VIEW_TIMEOUT)):
                raise not_yet_read()
            context = await self._views.command_context(sent.tenant, sent.approval_id)
        if not context.exists:
            raise unknown_approval(sent.approval_id)
        state = fold_path(context.path)
        if state is not None and sent.command.refusal(state) not in _MAY_BE_STALE:
            return state
        try:
            return fold_path(await self._log.events_of(sent.tenant, sent.approval_id, LOG_TIMEOUT))
        except (Unavailable, DeadlineExceeded):
            return None

    async def _deliver(self, sent: _Submission, state: ApprovalState | None) -> Effect | None:
        """Stores and signals a command, and waits for its result."""
        processed = state.commands.keys() if state is not None else frozenset[str]()
        while True:
            now = datetime.now(UTC)
            if await self._pending.claim(sent.tenant, sent.approval_id, sent.command, now, processed):
                effect = await self._signal(sent)
                if effect is not None:
                    return effect
            # The process that claimed it may have died: after the interval it is claimed again.
            until = min(sent.deadline, time.monotonic() + SIGNAL_INTERVAL.total_seconds())
            effect = await self._result(sent, until)
            if effect is not None or time.monotonic() >= sent.deadline:
                return effect

    async def _signal(self, sent: _Submission) -> Effect | None:
        """Signals a claimed command; returns its effect if a workflow that has ended processed it."""
        try:
            try:
                await self._workflows.command(sent.approval_id, sent.command)
            except NoSuchWorkflow:
                return await self._without_workflow(sent)
        except (FailedPrecondition, PermissionDenied, InvalidArgument):
            # Refused for good: a later start must not process it.
            await self._pending.forget(sent.tenant, sent.approval_id, [sent.command.id])
            raise
        except BaseException:
            await self._pending.release(sent.tenant, sent.approval_id, sent.command.id)
            raise
        return None

    async def _without_workflow(self, sent: _Submission) -> Effect | None:
        """Handles a command whose workflow does not run: returns its result, or restarts the workflow."""
        state = fold_path(await self._log.events_of(sent.tenant, sent.approval_id))
        if state is not None:
            if sent.command.id in state.commands:
                return _effect_in(state, sent.command)
            _check(state, sent.command)
        try:
            await self._workflow_recovery.restart(sent.tenant, sent.approval_id)
            await self._workflows.command(sent.approval_id, sent.command)
        except NoSuchWorkflow as error:
            raise Unavailable(
                "The request is being started; send the same call again",
                reason="DEPENDENCY_UNAVAILABLE",
                metadata={"dependency": "temporal"},
            ) from error
        return None

    async def _result(self, sent: _Submission, deadline: float) -> Effect | None:
        """The command's effect, from the tail or from the view, which another replica may have written.

        None when neither has it at the deadline.
        """
        while True:
            events = await sent.listener.next(deadline - time.monotonic())
            effect = effect_of(events, sent.command) if events else await self._effect_in_view(sent)
            if effect is not None or (not events and time.monotonic() >= deadline):
                return effect

    async def _effect_in_view(self, sent: _Submission) -> Effect | None:
        state = fold_path(await self._views.path(sent.tenant, sent.approval_id))
        if state is None or sent.command.id not in state.commands:
            return None
        return _effect_in(state, sent.command)

    async def _reaches_view(self, tenant: str, effect: Effect) -> bool:
        """Waits until the view holds an effect, which may come from the log ahead of the view."""
        timeout = deadlines.waiting_time(VIEW_TIMEOUT)
        return await self._projections.of(tenant).reached(effect.log_index, timeout)


# Refusals that newer events may invalidate.
_MAY_BE_STALE = frozenset({ErrorReason.NOT_ASKED, ErrorReason.NOT_INVOLVED, ErrorReason.ALREADY_VOTED})


def _check(state: ApprovalState, command: BaseCommand) -> None:
    """Raises the command's refusal, if the workflow would refuse it in this state as well."""
    refusal = command.refusal(state)
    # The rendering in force changes with releases. The workflow compares with the one in force when the
    # command was stored, and may accept it after a refusal here.
    if refusal is not None and refusal is not ErrorReason.RENDERING_CHANGED:
        raise refused(refusal, explain_refusal(state, refusal), present(state, {}))


def effect_of(events: Iterable[AppliedEvent], command: BaseCommand) -> Effect | None:
    """The command's effect in these events; None unless they include the last event that it caused."""
    return next(filter(None, (_effect_by(applied, command) for applied in events)), None)


def _effect_by(applied: AppliedEvent, command: BaseCommand) -> Effect | None:
    event = applied.stored.entry.event
    if event.cause_id != command.id:
        return None
    if event.command_digest.hex() != command.digest():
        raise id_reused(command)
    if event.WhichOneof("body") == "refused":
        reason = error_reason_pb2.ErrorReason.Name(event.refused.reason).removeprefix("ERROR_REASON_")
        raise refused(ErrorReason(reason), event.refused.message.value, applied.projected.approval)
    # The events of one append may arrive in several batches.
    if not event.ends_command:
        return None
    state = State(event_pb2.State.Name(applied.projected.approval.state).removeprefix("STATE_"))
    return Effect(applied.stored.index, state)


def _effect_in(state: ApprovalState, command: BaseCommand) -> Effect | None:
    """The effect of a processed command; None while its last event is missing from this state."""
    result = state.commands[command.id]
    if result.digest != command.digest():
        raise id_reused(command)
    if result.refusal is not None:
        raise refused(result.refusal, result.message, present(state, {}))
    return Effect(result.log_index, state.state) if result.is_complete else None
