"""Description of a policy in sentences, for people who decide under it."""

from __future__ import annotations

from placet_domain.durations import format_duration
from placet_domain.policy import WITHOUT_LIMIT, ByPriority, Policy, PreScreen, SlotTarget, Tier


def describe_steps(policy: Policy) -> tuple[str, ...]:
    """The steps in order, each as one sentence."""
    steps = [_tier(number, tier) for number, tier in enumerate(policy.tiers, 1)]
    screened = policy.pre_screen
    if screened is not None:
        then = _at_once(policy, screened)
        steps.insert(0, f"An AI assesses the risk ({screened.mode.lower()}); {then}.")
    decides = "the request is rejected"
    if policy.fallback.by == "ai":
        whole = "; it approves only what was read whole" if policy.fallback.requires == "read whole" else ""
        decides = f"the AI decides{whole}"
    endless = policy.tiers[-1].timeout == WITHOUT_LIMIT
    steps.append(f"{'At the deadline of the request, if it has one,' if endless else 'Then'} {decides}.")
    return tuple(steps)


def _at_once(policy: Policy, screened: PreScreen) -> str:
    if not policy.allow:
        return "the result only informs"
    below = screened.approve_below
    risk = "a request" if below is None else f"a risk below {below:g}"
    whole = " if the content was read whole" if screened.requires == "read whole" else ""
    rules = ", ".join(rule.name for rule in policy.allow)
    return f"{risk} that an allow-rule covers ({rules}) is approved at once{whole}"


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
