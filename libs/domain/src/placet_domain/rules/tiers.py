"""Tiers: their people and timeouts, and the transition to the next one."""

from __future__ import annotations

from datetime import datetime

from placet_domain.durations import describe_duration
from placet_domain.events import Asked, Body, Escalated, Event, Paused, TierOpened, TimedOut
from placet_domain.policy import Policy, clip
from placet_domain.rules import fallback
from placet_domain.rules.builders import CLOCK, clock_scale, policy_actor, received_of, step
from placet_domain.rules.silence import account, explain, silent_people
from placet_domain.state import ApprovalState, TierState, tier_step


def begin(policy: Policy, state: ApprovalState, now: datetime) -> list[Event]:
    """Opens the first tier, unless one was opened or the fallback took over."""
    return [] if state.tiers or state.fell_back else open_tier(policy, state, 1, now)


def open_tier(policy: Policy, state: ApprovalState, number: int, now: datetime) -> list[Event]:
    """Opens a tier and asks its people."""
    received = received_of(state)
    tier = policy.tiers[number - 1]
    timeout = tier.timeout_of(received.priority)
    due = None if timeout is None else now + timeout / clock_scale(state)
    reason = explain(tier.message, state)
    people = tier.people(received.assignments)
    bodies: list[Body] = [
        TierOpened(tier=number, name=tier.name, quorum=tier.quorum, due_time=due),
        *(Asked(tier=number, person=person, reason=reason) for person in people),
    ]
    return step(tier_step(number), policy_actor(policy), bodies, now)


def on_timeout(policy: Policy, state: ApprovalState, number: int, now: datetime) -> list[Event]:
    """Goes on to the next tier, or to the fallback after the last one.

    A tier that could not decide, because too few of its people could be told yet, first waits longer, once.
    """
    tier = state.open_tier
    if tier is None or tier.tier != number or _ends_later(tier, now):
        return []
    extended = _extended(policy, state, tier, now)
    if extended:
        return extended
    events = _timed_out(state, tier, now)
    if number == len(policy.tiers):
        return events + fallback.fall_back(policy, state, explain(policy.fallback.reason, state), now)
    reason = explain(policy.tiers[number].message, state)
    escalated = Escalated(from_tier=number, to_tier=number + 1, reason=reason)
    return [
        *events,
        *step(tier_step(number), CLOCK, [escalated], now),
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
    untold, silent = silent_people(state)
    said = f"and {' and '.join(silent) or 'nobody else'} had not responded"
    reason = clip(f"The request's deadline passed {f'({account(untold, silent)})' if untold else said}")
    return [*_timed_out(state, tier, now), *fallback.fall_back(policy, state, reason, now)]


def _ends_later(tier: TierState, now: datetime) -> bool:
    """True for the timeout of a tier that waits longer by now."""
    return tier.is_extended and tier.due_time is not None and now < tier.due_time


def _extended(policy: Policy, state: ApprovalState, tier: TierState, now: datetime) -> list[Event]:
    """Lets a tier wait longer for its people to be told, if that can help."""
    extension = policy.tiers[tier.tier - 1].extension_of(received_of(state).priority)
    if extension is None or tier.is_extended or tier.can_decide or not tier.is_telling:
        return []
    if state.paused is not None:
        return []
    reason = "too few of those who are asked could be told; they are told as soon as that works"
    until = now + extension / clock_scale(state)
    paused = Paused(step=tier_step(tier.tier), reason=reason, until_time=until)
    return step(tier_step(tier.tier), CLOCK, [paused], now)


def _timed_out(state: ApprovalState, tier: TierState, now: datetime) -> list[Event]:
    voted = {vote.person for vote in tier.votes}
    missing = [one for one in tier.assignments if one.person and one.person not in voted]
    untold = [one.person for one in missing if one.number in tier.untold]
    silent = [one for one in missing if one.number not in tier.untold]
    # An extended tier gave its people their time from their notice on.
    told = [one.told_time for one in silent if one.told_time is not None and tier.is_extended]
    # The tier's timeout, or less if a deadline ended it.
    ends = min(tier.due_time or now, now)
    whole, since = (
        f" within {describe_duration((ends - start) * clock_scale(state))}"
        for start in (tier.open_time, min(told, default=tier.open_time))
    )
    said = (account(untold, (), whole), account((), (one.person for one in silent), since))
    timed_out = TimedOut(
        tier=tier.tier,
        waited=now - tier.open_time,
        reason="; ".join(one for one in said if one),
        untold_numbers=tier.untold,
    )
    return step(tier_step(tier.tier), CLOCK, [timed_out], now)
