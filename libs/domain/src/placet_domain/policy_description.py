"""Description of a policy in sentences, for people who decide under it."""

from __future__ import annotations

from placet_domain.durations import format_duration
from placet_domain.policy import WITHOUT_LIMIT, ByPriority, Policy, SlotTarget, Tier


def describe_steps(policy: Policy) -> tuple[str, ...]:
    """The steps in order, each as one sentence."""
    steps = [_tier(number, tier) for number, tier in enumerate(policy.tiers, 1)]
    screened = policy.pre_screen
    if screened is not None:
        whole = " if the content was read whole" if screened.requires == "read whole" else ""
        then = (
            f"a risk below {screened.approve_below:g} is approved at once{whole}"
            if screened.approve_below is not None
            else "the result only informs"
        )
        steps.insert(0, f"An AI assesses the risk ({screened.mode.lower()}); {then}.")
    decides = "the request is rejected"
    if policy.fallback.by == "ai":
        whole = "; it approves only what was read whole" if policy.fallback.requires == "read whole" else ""
        decides = f"the AI decides{whole}"
    endless = policy.tiers[-1].timeout == WITHOUT_LIMIT
    steps.append(f"{'At the deadline of the request, if it has one,' if endless else 'Then'} {decides}.")
    return tuple(steps)


def _tier(number: int, tier: Tier) -> str:
    needs = "" if tier.quorum == 1 else f"; {tier.quorum} of them must approve"
    return f"Tier {number} ({tier.name}) asks {_targets(tier)} and waits {_time(tier)}{needs}."


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
