"""Builders of events, and the parts of a state that the rules rely on."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from placet_domain.events import Actor, ActorKind, Body, Closed, Decided, Event, Received, State
from placet_domain.policy import Policy
from placet_domain.state import ApprovalState

CLOCK = Actor(kind=ActorKind.CLOCK)


def step(cause_id: str, actor: Actor, bodies: Iterable[Body], now: datetime) -> list[Event]:
    """The events of one step of the workflow."""
    return [Event(time=now, actor=actor, cause_id=cause_id, body=body) for body in bodies]


def policy_actor(policy: Policy) -> Actor:
    """The policy as an actor."""
    return Actor(kind=ActorKind.POLICY, name=policy.name)


def model_actor(model: str) -> Actor:
    """A model or rule set as the actor of its results."""
    return Actor(kind=ActorKind.AI_MODEL, name=model)


def close(state: ApprovalState, decided: Decided, now: datetime) -> list[Body]:
    """The outcome, and the end of the request."""
    closed = Closed(state=decided.state, waited=now - (state.create_time or now))
    return [decided, closed]


def received_of(state: ApprovalState) -> Received:
    """A request's first event."""
    if state.received is None:
        raise AssertionError("a request's first event is `received`")
    return state.received


def decided_of(state: ApprovalState) -> Decided:
    """The outcome of a decided request."""
    if state.decided is None:
        raise AssertionError("a request that is not decided has no outcome")
    return state.decided


def clock_scale(state: ApprovalState) -> float:
    """Factor by which the policy's clocks run faster than written; 1 except in demonstrations."""
    return received_of(state).clock_scale or 1.0


def outcome_of(approved: bool) -> State:
    """The final state of an approval or a rejection."""
    return State.APPROVED if approved else State.REJECTED
