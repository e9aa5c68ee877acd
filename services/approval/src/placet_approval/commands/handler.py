"""The handler of commands: refuses junk, so that it never grows a history; signals the rest to the workflow,
and reads the result from the log's tail."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from placet.event.v1 import error_reason_pb2, event_pb2
from placet_approval.adapters.audit_log import AuditLog
from placet_approval.adapters.temporal import NoSuchWorkflow, Workflows
from placet_approval.errors import refused, unknown_approval
from placet_approval.projection.fold import AppliedEvent, folded
from placet_approval.projection.present import present
from placet_approval.projection.projections import Projections
from placet_approval.recovery.workflows import Reviver
from placet_approval.store.pending_commands import SIGNAL_INTERVAL, PendingCommands, id_reused
from placet_approval.store.view import ViewStore
from placet_domain.commands import BaseCommand
from placet_domain.events import ErrorReason, State
from placet_domain.rules.refusals import explain_refusal
from placet_domain.state import ApprovalState
from placet_logtail import Listener
from placet_rpc import deadlines
from placet_rpc.errors import DeadlineExceeded, Unavailable

# Timeout for reading the log when the view may be stale; on timeout the check is left to the workflow.
LOG_TIMEOUT = 0.3
# Timeout for an effect to appear in the view.
VIEW_TIMEOUT = 2.0
# Part of the caller's time that is kept for the answer.
ANSWER_MARGIN = 0.3


@dataclass(frozen=True)
class Effect:
    """A command that took effect: the index of its last entry, and the state after it."""

    log_index: int
    state: State


@dataclass(frozen=True)
class _Submission:
    """A command on its way, with what its sender waits on."""

    tenant: str
    approval_id: str
    command: BaseCommand
    # By time.monotonic, until when the sender waits for the result.
    deadline: float
    listener: Listener[AppliedEvent]


class CommandHandler:
    """Brings commands to workflows."""

    def __init__(
        self,
        pending: PendingCommands,
        views: ViewStore,
        projections: Projections,
        log: AuditLog,
        workflows: Workflows,
        reviver: Reviver,
    ) -> None:
        self._pending = pending
        self._views = views
        self._projections = projections
        self._log = log
        self._workflows = workflows
        self._reviver = reviver

    async def submit(
        self, tenant: str, approval_id: str, command: BaseCommand, budget: float
    ) -> Effect | None:
        """The command's effect, which the next read shows. None when it is durable but was not processed
        within `budget` seconds, or is not shown a moment later.

        Raises its refusal: NotFound, AlreadyExists, FailedPrecondition, PermissionDenied or InvalidArgument;
        ResourceExhausted when too many of its sender's are pending; and what `Workflows` raises.
        """
        # The listener before the view: what the view does not know yet reaches the listener.
        with self._projections.of(tenant).listening(approval_id) as listener:
            sent = _Submission(tenant, approval_id, command, time.monotonic() + budget, listener)
            state = await self._known_state(sent)
            if state is not None and command.id in state.commands:
                effect = _effect_in(state, command) or await self._result(sent, sent.deadline)
            else:
                if state is not None:
                    _check(state, command)
                effect = await self._bring(sent, state)
            return effect if effect is not None and await self._shows(tenant, effect) else None

    async def _known_state(self, sent: _Submission) -> ApprovalState | None:
        """The state to check the command against; None when none is current enough, and the workflow decides.

        The view may be behind the log. What it says of closing, content and requester stays true; that
        somebody was not asked may have changed since, so for that the log itself is read.
        """
        context = await self._views.command_context(sent.tenant, sent.approval_id)
        if not context.exists:
            raise unknown_approval(sent.approval_id)
        seen = folded(context.path)
        if seen is not None and sent.command.refusal(seen) not in _MAY_BE_STALE:
            return seen
        try:
            return folded(await self._log.events_of(sent.tenant, sent.approval_id, LOG_TIMEOUT))
        except (Unavailable, DeadlineExceeded):
            return None

    async def _bring(self, sent: _Submission, state: ApprovalState | None) -> Effect | None:
        """Stores and signals a command, and waits for its result."""
        processed = state.commands.keys() if state is not None else frozenset[str]()
        while True:
            now = datetime.now(UTC)
            if await self._pending.claim(sent.tenant, sent.approval_id, sent.command, now, processed):
                effect = await self._signal(sent)
                if effect is not None:
                    return effect
            # Whoever claimed it before may have died: after the interval it is claimed anew.
            patience = min(sent.deadline, time.monotonic() + SIGNAL_INTERVAL.total_seconds())
            effect = await self._result(sent, patience)
            if effect is not None or time.monotonic() >= sent.deadline:
                return effect

    async def _signal(self, sent: _Submission) -> Effect | None:
        """Signals a command that this call claimed; its effect, if a workflow that has ended processed it."""
        try:
            try:
                await self._workflows.command(sent.approval_id, sent.command)
            except NoSuchWorkflow:
                return await self._without_workflow(sent)
        except BaseException:
            await self._pending.release(sent.tenant, sent.approval_id, sent.command.id)
            raise
        return None

    async def _without_workflow(self, sent: _Submission) -> Effect | None:
        """Ends a command whose request has no running workflow: it was processed, must be refused, or the
        workflow is started again with it."""
        state = folded(await self._log.events_of(sent.tenant, sent.approval_id))
        if state is not None:
            if sent.command.id in state.commands:
                return _effect_in(state, sent.command)
            _check(state, sent.command)
        try:
            await self._reviver.revive(sent.tenant, sent.approval_id)
            await self._workflows.command(sent.approval_id, sent.command)
        except NoSuchWorkflow as error:
            raise Unavailable(
                "The request is being started; send the same call again",
                reason="DEPENDENCY_UNAVAILABLE",
                metadata={"dependency": "temporal"},
            ) from error
        return None

    async def _result(self, sent: _Submission, deadline: float) -> Effect | None:
        """The command's effect, from the tail or from the view, which another replica may have written; None
        when neither has it at the deadline."""
        while True:
            news = await sent.listener.next(deadline - time.monotonic())
            effect = effect_of(news, sent.command) if news else await self._in_view(sent)
            if effect is not None or (not news and time.monotonic() >= deadline):
                return effect

    async def _in_view(self, sent: _Submission) -> Effect | None:
        state = folded(await self._views.path(sent.tenant, sent.approval_id))
        if state is None or sent.command.id not in state.commands:
            return None
        return _effect_in(state, sent.command)

    async def _shows(self, tenant: str, effect: Effect) -> bool:
        """Waits until the view holds an effect: learned from the log itself, it may be ahead of the view."""
        left = deadlines.remaining()
        patience = VIEW_TIMEOUT if left is None else min(VIEW_TIMEOUT, left - ANSWER_MARGIN)
        return await self._projections.of(tenant).reached(effect.log_index, patience)


# Refusals that newer events may have overtaken.
_MAY_BE_STALE = frozenset({ErrorReason.NOT_ASKED, ErrorReason.NOT_INVOLVED})


def _check(state: ApprovalState, command: BaseCommand) -> None:
    """Raises the command's refusal, if the workflow would refuse it in this state too."""
    refusal = command.refusal(state)
    # The rendering in force changes with releases. The workflow may have the command from before: it compares
    # with what was in force then, and would let it take effect after it was refused here.
    if refusal is not None and refusal is not ErrorReason.RENDERING_CHANGED:
        raise refused(refusal, explain_refusal(state, refusal), present(state, {}))


def effect_of(news: Iterable[AppliedEvent], command: BaseCommand) -> Effect | None:
    """The command's effect by these events; None unless the last one that it caused is among them."""
    return next(filter(None, (_effect_by(applied, command) for applied in news)), None)


def _effect_by(applied: AppliedEvent, command: BaseCommand) -> Effect | None:
    event = applied.stored.entry.event
    if event.cause_id != command.id:
        return None
    if event.command_digest.hex() != command.digest():
        raise id_reused(command)
    if event.WhichOneof("body") == "refused":
        reason = error_reason_pb2.ErrorReason.Name(event.refused.reason).removeprefix("ERROR_REASON_")
        raise refused(ErrorReason(reason), event.refused.message.value, applied.shown.approval)
    # The events of one append may come in pieces.
    if not event.ends_command:
        return None
    state = State(event_pb2.State.Name(applied.shown.approval.state).removeprefix("STATE_"))
    return Effect(applied.stored.index, state)


def _effect_in(state: ApprovalState, command: BaseCommand) -> Effect | None:
    """The effect of a command that was processed; None while not all of it is known here."""
    result = state.commands[command.id]
    if result.digest != command.digest():
        raise id_reused(command)
    if result.refusal is not None:
        raise refused(result.refusal, result.message, present(state, {}))
    return Effect(result.log_index, state.state) if result.is_complete else None
