"""The door for commands: junk is refused here, so that it never grows a history; the rest goes to the
workflow as a signal, and the log's tail tells what became of it."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from placet.event.v1 import event_pb2
from placet_approval.adapters.audit_log import AuditLog
from placet_approval.adapters.temporal import NoSuchWorkflow, Workflows
from placet_approval.commands.inflight import Passage, Passages
from placet_approval.errors import refused, reused, unknown_approval
from placet_approval.projection.fold import AppliedEvent, folded
from placet_approval.projection.present import present
from placet_approval.projection.projections import Projections
from placet_approval.recovery.workflows import Reviver
from placet_approval.store.pending_commands import Notes
from placet_approval.store.view import Standing, ViewStore
from placet_domain import machine
from placet_domain.commands import Command
from placet_domain.events import RefusalReason, State
from placet_domain.state import ApprovalState
from placet_logtail import Listener
from placet_rpc import deadlines
from placet_rpc.errors import DeadlineExceeded, Unavailable

_LOG = logging.getLogger("placet.approval.door")

# How long the log is asked for what the view may not know yet; longer, and the workflow judges.
LOG_PATIENCE = 0.3
# How long an effect waits for the view.
VIEW_PATIENCE = 2.0
# Of the caller's time, kept so that an effect is told rather than shown.
ANSWERING = 0.3


@dataclass(frozen=True)
class Effect:
    """A command that took effect: where its last entry stands, and the state that it left."""

    log_index: int
    state: State


@dataclass(frozen=True)
class Known:
    """A request as far as a command may be judged by it here."""

    path: Sequence[event_pb2.LogEntry]
    state: ApprovalState


@dataclass(frozen=True)
class _Sent:
    """A command as it was sent."""

    tenant: str
    approval_id: str
    command: Command
    # When it came: commands that a new run of the workflow takes over are judged in this order.
    time: datetime
    # By time.monotonic, until when its sender waits for it to be judged.
    deadline: float
    listener: Listener[AppliedEvent]
    standing: Standing

    @property
    def is_noted(self) -> bool:
        """Whether it was answered ACCEPTED before."""
        mine = (self.command.id, bytes.fromhex(self.command.digest()))
        return any((one.command_id, one.digest) == mine for one in self.standing.noted)


class Door:
    """Brings commands to workflows."""

    def __init__(
        self,
        notes: Notes,
        views: ViewStore,
        projections: Projections,
        log: AuditLog,
        workflows: Workflows,
        reviver: Reviver,
    ) -> None:
        self._notes = notes
        self._views = views
        self._projections = projections
        self._log = log
        self._workflows = workflows
        self._reviver = reviver
        self._passages = Passages()

    async def submit(self, tenant: str, approval_id: str, command: Command, budget: float) -> Effect | None:
        """The command's effect, which the next read shows; None when it is durable but was not judged within
        `budget` seconds, or is not shown a moment later.

        Raises its refusal: NotFound, AlreadyExists, FailedPrecondition, PermissionDenied or InvalidArgument;
        ResourceExhausted when too many of its sender's are not judged yet; and what `Workflows` raises.
        """
        # The listener before the view: what the view does not know yet is heard.
        with self._projections.of(tenant).listening(approval_id) as listener:
            deadline = time.monotonic() + budget
            standing = await self._views.standing(tenant, approval_id)
            sent = _Sent(tenant, approval_id, command, datetime.now(UTC), deadline, listener, standing)
            known = await self._known(sent)
            judged = known.state.judged.keys() if known is not None else frozenset[str]()
            if known is not None and command.id in judged:
                effect = _effect_in(known, command) or await self._heard(sent)
                return await self._answer(sent, effect, judged)
            if known is not None:
                _check(known.state, command)
            unjudged = [noted for noted in standing.noted if noted.command_id not in judged]
            with self._passages.entered(tenant, approval_id, command, unjudged) as passage:
                effect = await self._effect(sent, passage)
                return await self._answer(sent, effect, judged)

    async def _effect(self, sent: _Sent, passage: Passage) -> Effect | None:
        """Brings a command, unless that was done; and hears what became of it."""
        async with passage.turn:
            if not passage.brought:
                known = await self._bring(sent)
                if known is not None:
                    return _effect_in(known, sent.command)
                passage.brought = True
        return await self._heard(sent)

    async def _bring(self, sent: _Sent) -> Known | None:
        """Signals a command; where its request has no workflow any more, the request if that judged it."""
        try:
            await self._workflows.command(sent.approval_id, sent.command)
        except NoSuchWorkflow:
            return await self._without_workflow(sent)
        return None

    async def _answer(self, sent: _Sent, effect: Effect | None, judged: Collection[str]) -> Effect | None:
        """An effect once the view shows it; else None, and the command is noted."""
        if effect is not None and await self._shows(sent.tenant, effect):
            return effect
        if sent.is_noted:
            return None
        settled = {one.command_id for one in sent.standing.noted} & set(judged)
        is_new = await self._notes.add(sent.tenant, sent.approval_id, sent.command, sent.time, settled)
        # Of those who send it at once, only one: signals grow the history.
        if is_new and effect is None:
            await self._bring_once_more(sent)
        return None

    async def _bring_once_more(self, sent: _Sent) -> None:
        """For a workflow that was terminated after it got the command, and that began again before the
        command was noted: the new run knows nothing of it. One that has it already judges it once."""
        try:
            await self._bring(sent)
        except (Unavailable, DeadlineExceeded) as error:
            _LOG.warning("command %s is noted, but not brought a second time: %s", sent.command.id, error)

    async def _shows(self, tenant: str, effect: Effect) -> bool:
        """Waits until the view holds an effect: learned from the log itself, it may be ahead of the view."""
        left = deadlines.remaining()
        patience = VIEW_PATIENCE if left is None else min(VIEW_PATIENCE, left - ANSWERING)
        return await self._projections.of(tenant).reached(effect.log_index, patience)

    async def _known(self, sent: _Sent) -> Known | None:
        """What to judge the command by; None when nothing is known well enough, and the workflow judges.

        The view may be behind the log. What it says of closing, content and requester stays true; that
        somebody was not asked may have changed since, so for that the log itself is asked.
        """
        if not sent.standing.known:
            raise unknown_approval(sent.approval_id)
        seen = _known_from(sent.standing.path)
        if seen is not None and machine.refusal_of(seen.state, sent.command) is not RefusalReason.NOT_ASKED:
            return seen
        try:
            return _known_from(await self._log.events_of(sent.tenant, sent.approval_id, LOG_PATIENCE))
        except (Unavailable, DeadlineExceeded):
            return None

    async def _heard(self, sent: _Sent) -> Effect | None:
        """What the tail says became of a command, or the view, which another replica may have written; None
        when neither has said all of it at the deadline."""
        while True:
            news = await sent.listener.next(sent.deadline - time.monotonic())
            effect = effect_of(news, sent.command) if news else await self._in_view(sent)
            if effect is not None or (not news and time.monotonic() >= sent.deadline):
                return effect

    async def _in_view(self, sent: _Sent) -> Effect | None:
        seen = _known_from(await self._views.path(sent.tenant, sent.approval_id))
        if seen is None or sent.command.id not in seen.state.judged:
            return None
        return _effect_in(seen, sent.command)

    async def _without_workflow(self, sent: _Sent) -> Known | None:
        """The workflow has ended, perhaps by this very command: then its request, in which it was judged. Or
        it was not started yet, or was lost: then it is brought back, and the command to it."""
        known = _known_from(await self._log.events_of(sent.tenant, sent.approval_id))
        if known is not None:
            if sent.command.id in known.state.judged:
                return known
            _check(known.state, sent.command)
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


def _known_from(path: Sequence[event_pb2.LogEntry]) -> Known | None:
    state = folded(path)
    return None if state is None else Known(path, state)


def _check(state: ApprovalState, command: Command) -> None:
    """Raises the command's refusal, if it must be refused in this state whoever judges it."""
    refusal = machine.refusal_of(state, command)
    # The rendering in force changes with releases. The workflow may have the command from before: it judges
    # by what was in force then, and would let it take effect after it was refused here.
    if refusal is not None and refusal is not RefusalReason.RENDERING_CHANGED:
        raise refused(refusal, machine.explain_refusal(state, refusal), present(state, {}))


def effect_of(news: Iterable[AppliedEvent], command: Command) -> Effect | None:
    """What these entries say became of the command; None unless the last that it made is among them."""
    return next(filter(None, (_effect_by(happened, command) for happened in news)), None)


def _effect_by(happened: AppliedEvent, command: Command) -> Effect | None:
    """What this entry says became of the command: nothing, unless it is the last that the command made."""
    event = happened.stored.entry.event
    if event.cause_id != command.id:
        return None
    if event.command_digest.hex() != command.digest():
        raise reused(command)
    if event.WhichOneof("body") == "refused":
        reason = event_pb2.RefusalReason.Name(event.refused.reason).removeprefix("REFUSAL_REASON_")
        raise refused(RefusalReason(reason), event.refused.message.value, happened.shown.approval)
    # What one append stored may come in pieces; the last of a command's entries closes the request.
    if event.WhichOneof("body") != "closed":
        return None
    state = State(event_pb2.State.Name(happened.shown.approval.state).removeprefix("STATE_"))
    return Effect(happened.stored.index, state)


def _effect_in(known: Known, command: Command) -> Effect | None:
    """What became of a command that was judged; None while not all of it is known here."""
    judged = known.state.judged[command.id]
    if judged.digest != command.digest():
        raise reused(command)
    if judged.refusal is not None:
        raise refused(judged.refusal, judged.message, present(known.state, {}))
    if known.state.closed is None:
        return None
    return Effect(last_index_of(command.id, known.path), known.state.state)


def last_index_of(command_id: str, path: Iterable[event_pb2.LogEntry]) -> int:
    """Where the last entry stands that a command made."""
    return max(stored.index for stored in path if stored.entry.event.cause_id == command_id)
