"""Description of a policy in sentences, for people who decide under it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from placet_domain.automatic import Automatic
from placet_domain.durations import format_duration
from placet_domain.policy import GO_ON, WITHOUT_LIMIT, ByPriority, Policy, PreScreen, SlotTarget, Tier


def describe_steps(policy: Policy) -> tuple[str, ...]:
    """The steps in order, each as one sentence."""
    steps = [_tier(number, tier) for number, tier in enumerate(policy.tiers, 1)]
    screened = policy.pre_screen
    if screened is not None:
        then = _at_once(policy, screened)
        steps.insert(0, f"An AI assesses the risk ({screened.mode.lower()}); {then}.")
    decides = "the AI decides, within the caps" if policy.fallback.by == "ai" else "the request is rejected"
    endless = policy.tiers[-1].timeout == WITHOUT_LIMIT
    steps.append(f"{'At the deadline of the request, if it has one,' if endless else 'Then'} {decides}.")
    return tuple(steps)


def describe_caps(policy: Policy) -> tuple[str, ...]:
    """The caps of what is decided without a person, each as one sentence; none where nothing is."""
    asks_ai = policy.fallback.by == "ai"
    return tuple(_caps(policy.automatic, asks_ai=asks_ai)) if asks_ai or policy.allow else ()


def _caps(caps: Automatic, *, asks_ai: bool) -> Iterator[str]:
    decisions = [f"{one} it" for one in ("approve", "reject") if one in caps.may]
    yield (
        f"Without a person the request is decided only to {' or '.join(decisions)}."
        if decisions
        else ("Nothing is decided without a person but the policy's own rejection.")
    )
    if "approve" in caps.may:
        yield from _approvals(caps)
    if asks_ai:
        least = "all of the tiers' time" if caps.least_time is None else format_duration(caps.least_time)
        yield f"Before the AI decides, people must have had {least}; a deadline that cuts this rejects."
    if caps.deadline_from is not None:
        yield f"A deadline may be given by {', '.join(caps.deadline_from) or 'nobody'}."
    if caps.least_deadline is not None:
        yield f"A deadline is at least {format_duration(caps.least_deadline)} away."


def _approvals(caps: Automatic) -> Iterator[str]:
    needs = ["content that was read whole"] if caps.requires == "read whole" else []
    if caps.kinds:
        needs.append(f"one of the kinds {', '.join(caps.kinds)}")
    if caps.most_amount is not None:
        needs.append(f"no amount above {caps.most_amount.value} {caps.most_amount.currency}")
    if caps.most_risk is not None:
        needs.append(f"a known risk of {caps.most_risk:g} at most")
    needs.append(f"a confidence of {caps.least_confidence:g} at least")
    yield f"An approval without a person needs {', '.join(needs)}."
    limits = ((caps.most_an_hour, "an hour"), (caps.most_a_day, "in 24 hours"))
    said = [f"{most:,} {period}" for most, period in limits if most is not None]
    if said:
        yield f"Such approvals under this policy are {' and '.join(said)} at most."


def _at_once(policy: Policy, screened: PreScreen) -> str:
    if not policy.allow:
        return "the result only informs"
    below = screened.approve_below
    risk = "a request" if below is None else f"a risk below {below:g}"
    rules = ", ".join(rule.name for rule in policy.allow)
    return f"{risk} that an allow-rule covers ({rules}) is approved at once, within the caps"


def _tier(number: int, tier: Tier) -> str:
    needs = "" if tier.quorum == 1 else f"; {tier.quorum} of them must approve"
    waits = f"{_time(tier)}{needs}{_until_told(tier)}"
    return f"Tier {number} ({tier.name}) asks {_targets(tier)} and waits {waits}."


def _until_told(tier: Tier) -> str:
    """The time that the tier waits for people who could not be told."""
    extension = tier.until_told
    if tier.timeout == WITHOUT_LIMIT or extension == GO_ON:
        return ""
    longer = f"{format_duration(extension)} longer" if isinstance(extension, timedelta) else "as long again"
    return f"; where too few of them could be told, it waits {longer} at most"


def _targets(tier: Tier) -> str:
    return ", ".join(target.slot if isinstance(target, SlotTarget) else target.person for target in tier.asks)


def _time(tier: Tier) -> str:
    timeout = tier.timeout
    if isinstance(timeout, ByPriority):
        return ", ".join(
            f"{format_duration(getattr(timeout, name))} ({name})"
            for name in ("urgent", "high", "normal", "low")
        )
    return timeout if isinstance(timeout, str) else format_duration(timeout)
