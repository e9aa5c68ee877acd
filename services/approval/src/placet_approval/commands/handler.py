"""Command handler: refuses invalid commands early, signals the rest to the workflow, awaits the result.

The early refusal keeps invalid commands out of workflow histories. Results come from the log's tail.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

from placet_approval.adapters.audit_log import AuditLog
from placet_approval.adapters.temporal import NoSuchWorkflow, Workflows
from placet_approval.errors import not_yet_read, refused, unknown_approval
from placet_approval.projection.fold import AppliedEvent, RequestFold, fold_path
from placet_approval.projection.projections import Projections
from placet_approval.recovery.workflows import WorkflowRecovery
from placet_approval.store.pending_commands import SIGNAL_INTERVAL, PendingCommands, id_reused
from placet_approval.store.policies import PolicyStore
from placet_approval.store.view import ViewStore
from placet_domain.commands import BaseCommand
from placet_domain.events import ErrorReason
from placet_domain.rules.refusals import explain_refusal
from placet_domain.state import ApprovalState
from placet_logtail import Listener
from placet_rpc import deadlines
from placet_rpc.errors import DeadlineExceeded, PlacetError, Unavailable
from placet_rpc.tasks import SingleFlight

# Timeout for reading the log when the view may be stale; on timeout the workflow alone checks.
LOG_TIMEOUT = 0.3
# Timeout for an effect to appear in the view.
VIEW_TIMEOUT = 2.0


@dataclass(frozen=True)
class _Submission:
    """A submitted command, with its sender's deadline and listener."""

    tenant: str
    approval_id: str
    command: BaseCommand
    # By time.monotonic: end of the wait for the result.
    deadline: float
    listener: Listener[AppliedEvent]
    # The request as far as it was read from the view.
    viewed: RequestFold


class CommandHandler:
    """Submits commands to workflows."""

    def __init__(
        self,
        pending: PendingCommands,
        policies: PolicyStore,
        views: ViewStore,
        projections: Projections,
        log: AuditLog,
        workflows: Workflows,
        workflow_recovery: WorkflowRecovery,
    ) -> None:
        self._pending = pending
        self._policies = policies
        self._views = views
        self._projections = projections
        self._log = log
        self._workflows = workflows
        self._workflow_recovery = workflow_recovery
        self._claims: SingleFlight[tuple[str, ...], ApprovalState | None] = SingleFlight()
        self._signals: SingleFlight[tuple[str, ...], ApprovalState | None] = SingleFlight()

    async def submit(
        self, tenant: str, approval_id: str, command: BaseCommand, budget: float
    ) -> ApprovalState | None:
        """Submits a command; returns the request with its effect, which the next read includes.

        Returns None when it is durable and signalled but was not processed within `budget` seconds, or is not
        in the view within VIEW_TIMEOUT. Raises its refusal: NotFound, AlreadyExists, FailedPrecondition,
        PermissionDenied or InvalidArgument; ResourceExhausted when too many commands of its sender are
        pending; and what `Workflows` raises.
        """
        # Listen before reading the view: events that it does not hold yet reach the listener.
        with self._projections.of(tenant).listening(approval_id) as listener:
            deadline, viewed = time.monotonic() + budget, RequestFold(self._log.keys)
            sent = _Submission(tenant, approval_id, command, deadline, listener, viewed)
            known = await self._known_state(sent)
            if known is not None and command.id in known.commands:
                state = known if is_effective(known, command) else await self._result(sent, sent.deadline)
            else:
                if known is not None:
                    await self._check(known, command)
                state = await self._deliver(sent, known)
            return state if state is not None and await self._reaches_view(sent, state) else None

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
        for stored in context.path:
            sent.viewed.fold(stored)
        viewed = sent.viewed.state
        if viewed.received is not None and sent.command.refusal(viewed) not in _MAY_BE_STALE:
            return viewed
        try:
            path = await self._log.events_of(sent.tenant, sent.approval_id, LOG_TIMEOUT)
            return fold_path(path, self._log.keys)
        except (Unavailable, DeadlineExceeded):
            return None

    async def _deliver(self, sent: _Submission, known: ApprovalState | None) -> ApprovalState | None:
        """Stores and signals a command, and waits for its result."""
        processed = frozenset(known.commands if known is not None else ())
        # Calls of this process with the same command share one attempt, so that only another process's claim
        # can be unknown at the deadline.
        key = (sent.tenant, sent.approval_id, sent.command.id, sent.command.digest())
        while True:
            state = await self._claims.run(key, partial(self._claim_and_signal, sent, processed))
            if state is not None:
                return state
            if time.monotonic() >= sent.deadline:
                return await self._signals.run(key, partial(self._signal_unless_signalled, sent))
            # The process that claimed it may have died: after the interval it is claimed again.
            until = min(sent.deadline, time.monotonic() + SIGNAL_INTERVAL.total_seconds())
            state = await self._result(sent, until)
            if state is not None:
                return state

    async def _claim_and_signal(self, sent: _Submission, processed: Collection[str]) -> ApprovalState | None:
        now = datetime.now(UTC)
        command = await self._pending.claim(sent.tenant, sent.approval_id, sent.command, now, processed)
        return None if command is None else await self._signal(sent, command)

    async def _signal_unless_signalled(self, sent: _Submission) -> ApprovalState | None:
        # The process that claimed it may have died before its signal. Of two signals one has an effect.
        command = await self._pending.unsignalled(sent.tenant, sent.approval_id, sent.command.id)
        return None if command is None else await self._signal(sent, command)

    async def _signal(self, sent: _Submission, command: BaseCommand) -> ApprovalState | None:
        """Signals a command as it is stored; returns the state if a workflow that has ended processed it."""
        async with self._pending.signalling(sent.tenant, sent.approval_id, command.id):
            try:
                await self._workflows.command(sent.approval_id, command)
            except NoSuchWorkflow:
                return await self._without_workflow(sent, command)
        return None

    async def _without_workflow(self, sent: _Submission, command: BaseCommand) -> ApprovalState | None:
        """Handles a command whose workflow does not run: returns its result, or restarts the workflow."""
        state = fold_path(await self._log.events_of(sent.tenant, sent.approval_id), self._log.keys)
        if state is not None:
            try:
                if command.id in state.commands:
                    return state if is_effective(state, command) else None
                await self._check(state, command)
            except PlacetError:
                # Refused for good: a later start must not process it.
                await self._pending.forget(sent.tenant, sent.approval_id, [command.id])
                raise
        try:
            await self._workflow_recovery.restart(sent.tenant, sent.approval_id)
            await self._workflows.command(sent.approval_id, command)
        except NoSuchWorkflow as error:
            raise Unavailable(
                "The request is being started; send the same call again",
                reason="DEPENDENCY_UNAVAILABLE",
                metadata={"dependency": "temporal"},
            ) from error
        return None

    async def _result(self, sent: _Submission, deadline: float) -> ApprovalState | None:
        """The request with the command's effect, from the tail or from the view, which another replica may
        have written.

        None when neither has it at the deadline.
        """
        while True:
            events = await sent.listener.next(deadline - time.monotonic())
            state = events[-1].state if events else await self._read_view(sent)
            if is_effective(state, sent.command):
                return state
            if not events and time.monotonic() >= deadline:
                return None

    async def _read_view(self, sent: _Submission) -> ApprovalState:
        """Folds the entries that the view has got since it was read last."""
        for stored in await self._views.path(sent.tenant, sent.approval_id, sent.viewed.state.last_number):
            sent.viewed.fold(stored)
        return sent.viewed.state

    async def _check(self, state: ApprovalState, command: BaseCommand) -> None:
        """Raises the command's refusal, if the workflow would refuse it in this state as well."""
        refusal = command.refusal(state)
        # The rendering in force changes with releases. The workflow compares with the one in force when the
        # command was stored, and may accept it after a refusal here.
        if refusal is None or refusal is ErrorReason.RENDERING_CHANGED:
            return
        # An early command waits in the workflow, and here for its result.
        if not await self._is_early(state, command):
            raise refused(refusal, explain_refusal(state, refusal), state)

    async def _is_early(self, state: ApprovalState, command: BaseCommand) -> bool:
        if state.tiers or state.received is None:
            return False
        stored = await self._policies.by_digest(bytes.fromhex(state.received.policy_digest))
        return stored is not None and command.is_early(stored.policy, state)

    async def _reaches_view(self, sent: _Submission, state: ApprovalState) -> bool:
        """Waits until the view holds an effect, which may come from the log ahead of the view."""
        log_index = state.commands[sent.command.id].log_index
        timeout = deadlines.waiting_time(VIEW_TIMEOUT)
        return await self._projections.of(sent.tenant).reached(log_index, timeout)


# Refusals that newer events may invalidate.
_MAY_BE_STALE = frozenset({ErrorReason.NOT_ASKED, ErrorReason.NOT_INVOLVED, ErrorReason.ALREADY_VOTED})


def is_effective(state: ApprovalState, command: BaseCommand) -> bool:
    """True once all events of the command are in this state; one append may arrive in several batches.

    Raises the command's refusal, or AlreadyExists (ID_REUSED) if the id is that of another command.
    """
    result = state.commands.get(command.id)
    if result is None:
        return False
    if result.digest != command.digest():
        raise id_reused(command)
    if result.refusal is not None:
        raise refused(result.refusal, result.message, state)
    return result.is_complete
