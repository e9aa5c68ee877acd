"""The pre-screen: approves at once what an allow-rule of the policy covers, or informs."""

from __future__ import annotations

from datetime import datetime

from placet_domain.events import (
    AiResult,
    Decided,
    DecisionType,
    Event,
    PreScreened,
    RiskLevel,
    Source,
    State,
)
from placet_domain.policy import Policy, PreScreen
from placet_domain.rules import tiers
from placet_domain.rules.allow import allowing_rule
from placet_domain.rules.builders import close, model_actor, policy_actor, step
from placet_domain.rules.caps import Proposal, objection, withhold
from placet_domain.state import ApprovalState

PRE_SCREEN_CAUSE = "pre-screen"


def on_result(policy: Policy, state: ApprovalState, result: PreScreened, now: datetime) -> list[Event]:
    """Approves what an allow-rule covers within the policy's caps, else opens the first tier.

    A policy with a threshold needs a risk below it besides. A result after the fallback took over is dropped,
    because the fallback's input must not change.
    """
    if policy.pre_screen is None or state.pre_screened is not None or state.fell_back is not None:
        return []
    rated = _rate(policy.pre_screen, state, result)
    model = model_actor(rated.model)
    events = step(PRE_SCREEN_CAUSE, model, [rated], now)
    if state.tiers:
        return events
    decided = _approval(policy, state, rated)
    if decided is None:
        return events + tiers.open_tier(policy, state, 1, now)
    why = _objection(policy, state, rated, decided, now)
    if why:
        events = withhold(policy, state, PRE_SCREEN_CAUSE, why, now) + events
        return events + tiers.open_tier(policy, state, 1, now)
    actor = policy_actor(policy) if decided.source is Source.POLICY else model
    return events + step(PRE_SCREEN_CAUSE, actor, close(state, decided, now), now)


def is_decided_by_rules(policy: Policy, state: ApprovalState, quick: PreScreened) -> bool:
    """Tells whether a quick result decides, so that no model needs to be called."""
    return (
        policy.pre_screen is not None
        and policy.pre_screen.approve_below is None
        and _approval(policy, state, quick) is not None
    )


def _objection(
    policy: Policy, state: ApprovalState, rated: PreScreened, decided: Decided, now: datetime
) -> str:
    known = state.model_copy(update={"pre_screened": rated})
    by_rule = decided.source is Source.POLICY
    proposal = Proposal(approves=True, confidence=rated.confidence, found=rated.found, by_rule=by_rule)
    return objection(policy, known, proposal, now)


def _approval(policy: Policy, state: ApprovalState, rated: PreScreened) -> Decided | None:
    """The approval for which the policy has grounds; None without."""
    screen = policy.pre_screen
    if screen is None or rated.result is not AiResult.DECIDED:
        return None
    rule = allowing_rule(policy, state, rated.found)
    if rule is None:
        return None
    if screen.approve_below is None:
        return Decided(
            state=State.APPROVED,
            source=Source.POLICY,
            decision_type=DecisionType.AUTOMATIC,
            approver=policy.name,
            reasoning="Allowed by the policy",
            rule=rule.name,
        )
    if rated.level is not RiskLevel.LOW:
        return None
    return Decided(
        state=State.APPROVED,
        source=Source.AI_PRESCREEN,
        decision_type=DecisionType.AUTOMATIC,
        approver=screen.approver,
        model=rated.model,
        confidence=rated.confidence,
        reasoning=screen.reason,
        rule=rule.name,
    )


def _rate(pre_screen: PreScreen, state: ApprovalState, result: PreScreened) -> PreScreened:
    """Adds the effective amounts, and threshold and level where there is a result and a threshold.

    A risk at the threshold is high.
    """
    amounts = {"effective_amounts": state.effective_facts(result.found).logged_amounts}
    if result.result is not AiResult.DECIDED or pre_screen.approve_below is None:
        return result.model_copy(update=amounts)
    # An invalid risk (absent, below 0, not a number) is not low.
    is_low = result.risk is not None and 0 <= result.risk < pre_screen.approve_below
    level = RiskLevel.LOW if is_low else RiskLevel.HIGH
    return result.model_copy(update={**amounts, "threshold": pre_screen.approve_below, "level": level})
