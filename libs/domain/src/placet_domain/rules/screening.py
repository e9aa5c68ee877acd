"""The pre-screen: approves a low risk before anybody is asked, or informs."""

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
from placet_domain.rules.builders import close, model_actor, step
from placet_domain.rules.caps import Proposal, objection, withhold
from placet_domain.state import ApprovalState

PRE_SCREEN_CAUSE = "pre-screen"


def on_result(policy: Policy, state: ApprovalState, result: PreScreened, now: datetime) -> list[Event]:
    """Approves a low risk within the policy's caps, else opens the first tier.

    A result after the fallback took over is dropped, because the fallback's input must not change.
    """
    if policy.pre_screen is None or state.pre_screened is not None or state.fell_back is not None:
        return []
    rated = _rate(policy.pre_screen, result)
    model = model_actor(result.model)
    events = step(PRE_SCREEN_CAUSE, model, [rated], now)
    if state.tiers:
        return events
    if rated.level is not RiskLevel.LOW:
        return events + tiers.open_tier(policy, state, 1, now)
    known = state.model_copy(update={"pre_screened": rated})
    why = objection(policy, known, Proposal(approves=True, confidence=rated.confidence), now)
    if why:
        events = withhold(policy, state, PRE_SCREEN_CAUSE, why, now) + events
        return events + tiers.open_tier(policy, state, 1, now)
    decided = Decided(
        state=State.APPROVED,
        source=Source.AI_PRESCREEN,
        decision_type=DecisionType.AUTOMATIC,
        approver=policy.pre_screen.approver,
        model=rated.model,
        confidence=rated.confidence,
        reasoning=policy.pre_screen.reason,
    )
    return events + step(PRE_SCREEN_CAUSE, model, close(state, decided, now), now)


def _rate(pre_screen: PreScreen, result: PreScreened) -> PreScreened:
    """Adds threshold and level where there is a result and a threshold; a risk at the threshold is high."""
    if result.result is not AiResult.DECIDED or pre_screen.approve_below is None:
        return result
    # An invalid risk (absent, below 0, not a number) is not low.
    is_low = result.risk is not None and 0 <= result.risk < pre_screen.approve_below
    level = RiskLevel.LOW if is_low else RiskLevel.HIGH
    return result.model_copy(update={"threshold": pre_screen.approve_below, "level": level})
