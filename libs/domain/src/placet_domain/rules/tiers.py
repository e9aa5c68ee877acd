"""Tiers: their people and timeouts, and the transition to the next one."""

from __future__ import annotations

from datetime import datetime

from placet_domain.durations import describe_duration
from placet_domain.events import Asked, Body, Escalated, Event, TierOpened, TimedOut
from placet_domain.policy import Policy, clip, fill_slots
from placet_domain.rules import fallback
from placet_domain.rules.builders import CLOCK, clock_scale, policy_actor, received_of, step
from placet_domain.state import ApprovalState, TierState


def begin(policy: Policy, state: ApprovalState, now: datetime) -> list[Event]:
    """Opens the first tier, unless one was opened or the fallback took over."""
    return [] if state.tiers or state.fell_back else open_tier(policy, state, 1, now)


def open_tier(policy: Policy, state: ApprovalState, number: int, now: datetime) -> list[Event]:
    """Opens a tier and asks its people."""
    received = received_of(state)
    tier = policy.tiers[number - 1]
    timeout = tier.timeout_of(received.priority)
    due = None if timeout is None else now + timeout / clock_scale(state)
    reason = fill_slots(tier.message, received.assignments)
    people = tier.people(received.assignments)
    bodies: list[Body] = [
        TierOpened(tier=number, name=tier.name, quorum=tier.quorum, due_time=due),
        *(Asked(tier=number, person=person, reason=reason) for person in people),
    ]
    return step(f"tier-{number}", policy_actor(policy), bodies, now)


def on_timeout(policy: Policy, state: ApprovalState, number: int, now: datetime) -> list[Event]:
    """Goes on to the next tier, or to the fallback after the last one."""
    tier = state.open_tier
    if tier is None or tier.tier != number:
        return []
    events = _timed_out(state, tier, now)
    assignments = received_of(state).assignments
    if number == len(policy.tiers):
        reason = fill_slots(policy.fallback.reason, assignments)
        return events + fallback.fall_back(policy, state, reason, now)
    escalated = Escalated(
        from_tier=number, to_tier=number + 1, reason=fill_slots(policy.tiers[number].message, assignments)
    )
    return [
        *events,
        *step(f"tier-{number}", CLOCK, [escalated], now),
        *open_tier(policy, state, number + 1, now),
    ]


def on_deadline(policy: Policy, state: ApprovalState, now: datetime) -> list[Event]:
    """Ends all tiers.

    The reason is not the policy's, because a tier may not have been asked at all.
    """
    if state.fell_back is not None:
        return []
    tier = state.open_tier
    if tier is None:
        reason = "The request's deadline passed before anybody was asked"
        return fallback.fall_back(policy, state, reason, now)
    voted = {vote.person for opened in state.tiers for vote in opened.votes}
    silent = " and ".join(person for person in state.asked if person not in voted)
    reason = clip(f"The request's deadline passed and {silent or 'nobody else'} had not responded")
    return [*_timed_out(state, tier, now), *fallback.fall_back(policy, state, reason, now)]


def _timed_out(state: ApprovalState, tier: TierState, now: datetime) -> list[Event]:
    # The tier's timeout, or less if a deadline ended it.
    granted = min(tier.due_time or now, now) - tier.open_time
    duration = describe_duration(granted * clock_scale(state))
    voted = {vote.person for vote in tier.votes}
    silent = ", ".join(person for person in tier.people if person not in voted)
    reason = clip(f"{silent} did not respond within {duration}")
    timed_out = TimedOut(tier=tier.tier, waited=now - tier.open_time, reason=reason)
    return step(f"tier-{tier.tier}", CLOCK, [timed_out], now)
