"""The events of one append, and what is done about those that the log refuses."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from placet_domain import interpreter, stimuli
from placet_domain.commands import BaseCommand, CancelCommand
from placet_domain.events import Actor, ActorKind, Entry, Event, LogEntry, Paused
from placet_domain.policy import Policy, clip
from placet_domain.state import APPEND_STEP, ApprovalState

Stimulus = stimuli.Stimulus | stimuli.PendingNotices


def due_events(
    policy: Policy, state: ApprovalState, pending: Sequence[Event], taken: Sequence[Stimulus], now: datetime
) -> tuple[Event, ...]:
    """The events that follow from `taken`, after the pending ones; each stimulus meets the state after the
    one before it. None if nothing is due: pending events wait for others."""
    trial = state.copy_for_trial()
    for event in pending:
        _fold_unstored(trial, event)
    due: list[Event] = []
    for stimulus in taken:
        if isinstance(stimulus, stimuli.PendingNotices):
            continue
        events = interpreter.respond(policy, trial, stimulus, now)
        for event in events:
            _fold_unstored(trial, event)
        due += events
    return (*pending, *due) if due or stimuli.PendingNotices() in taken else ()


def without_unattested(
    taken: Sequence[Stimulus], batch: Sequence[Event], position: int
) -> list[Stimulus] | None:
    """The stimuli without the command that caused the event at `position` of a batch, whose attestation the
    log refuses: in its place is something undecodable. None if there is no such command."""
    cause = batch[position].cause_id if 0 <= position < len(batch) else ""
    forged = [one for one in taken if isinstance(one, BaseCommand) and one.id == cause]
    if not forged:
        return None
    digest = forged[0].digest()
    refusal = stimuli.Undecodable(cause_id=f"unattested-{digest[:32]}", digest=digest)
    return [*(one for one in taken if one not in forged), refusal]


def pause(reason: str, now: datetime) -> Event:
    """The event that says that the log refuses a request's next events."""
    paused = Paused(step=APPEND_STEP, reason=clip(f"The log refuses the next events: {reason}"))
    return Event(time=now, actor=Actor(kind=ActorKind.CLOCK), cause_id=APPEND_STEP, body=paused)


def effective_cancellation(found: Iterable[Stimulus], state: ApprovalState) -> CancelCommand | None:
    """The first cancellation among `found` that may take effect."""
    cancels = (one for one in found if isinstance(one, CancelCommand))
    return next((one for one in cancels if one.refusal(state) is None), None)


def _fold_unstored(trial: ApprovalState, event: Event) -> None:
    entry = Entry(
        tenant=trial.tenant, approval_id=trial.approval_id, number=trial.last_number + 1, event=event
    )
    trial.fold(LogEntry(index=trial.log_index, entry=entry))
