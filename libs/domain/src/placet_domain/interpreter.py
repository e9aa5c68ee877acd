"""The approval policy's interpreter, as a pure function.

It takes a request's state and a stimulus, and returns the events that are due. Nothing here waits, stores or
sends; the workflow does, and calls again whenever the log holds newer entries.
"""

from __future__ import annotations

from datetime import datetime

from placet_domain.commands import BaseCommand
from placet_domain.events import Actor, ActorKind, ErrorReason, Event, Processed, Refused, Withheld
from placet_domain.policy import Policy
from placet_domain.rules import fallback, screening, tiers
from placet_domain.rules.builders import step
from placet_domain.rules.refusals import explain_refusal
from placet_domain.state import ApprovalState
from placet_domain.stimuli import (
    Begin,
    DeadlinePassed,
    FallbackDone,
    FallbackUnavailable,
    PreScreenDone,
    Stimulus,
    TierTimeout,
    Undecodable,
)

PROCESS_CAUSE = "process"
WITHHELD_CAUSE = "withheld"


def respond(policy: Policy, state: ApprovalState, stimulus: Stimulus, now: datetime) -> list[Event]:
    """The events that follow from `stimulus` at time `now`, in order. Empty when it is stale or early.

    Raises nothing for any stimulus in any state: a late stimulus has no effect, a late command is refused.
    """
    match stimulus:
        case BaseCommand():
            return stimulus.respond(policy, state, now)
        case Undecodable():
            return _on_undecodable(state, stimulus, now)
    if state.decided is not None:
        return []
    match stimulus:
        case Begin():
            return tiers.begin(policy, state, now)
        case PreScreenDone():
            return screening.on_result(policy, state, stimulus.result, now)
        case TierTimeout():
            return tiers.on_timeout(policy, state, stimulus.tier, now)
        case DeadlinePassed():
            return tiers.on_deadline(policy, state, now)
        case FallbackUnavailable():
            return fallback.on_unavailable(state, now)
        case FallbackDone():
            return fallback.on_result(policy, state, stimulus.result, now)


def is_early(policy: Policy, state: ApprovalState, stimulus: object) -> bool:
    """Tells whether a stimulus is a command that must be processed again once the first tier is open."""
    return isinstance(stimulus, BaseCommand) and stimulus.is_early(policy, state)


def processed_event(processed: Processed, now: datetime) -> Event:
    """The event of step "process", which intake ran; the workflow appends it with its first events."""
    (event,) = step(PROCESS_CAUSE, Actor(kind=ActorKind.SERVICE, name="approval"), [processed], now)
    return event


def withheld_event(withheld: Withheld, now: datetime) -> Event:
    """The event by which the log said that it takes no automatic decision; it goes before what follows."""
    (event,) = step(WITHHELD_CAUSE, Actor(kind=ActorKind.SERVICE, name="audit"), [withheld], now)
    return event


def _on_undecodable(state: ApprovalState, stimulus: Undecodable, now: datetime) -> list[Event]:
    if stimulus.cause_id in state.commands:
        return []
    reason = ErrorReason.UNDECODABLE
    refused = Refused(command="unknown", reason=reason, message=explain_refusal(state, reason))
    event = Event(
        time=now,
        actor=Actor(kind=ActorKind.SERVICE),
        cause_id=stimulus.cause_id,
        command_digest=stimulus.digest,
        ends_command=True,
        body=refused,
    )
    return [event]
