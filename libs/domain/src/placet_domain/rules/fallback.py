"""The fallback: decides when no person did."""

from __future__ import annotations

from datetime import datetime

from placet_domain.events import (
    AiDecided,
    AiResult,
    Decided,
    DecisionType,
    Event,
    FellBack,
    Paused,
    Source,
    State,
    Verdict,
)
from placet_domain.policy import Policy, clip
from placet_domain.rules.builders import (
    CLOCK,
    close,
    is_satisfied,
    model_actor,
    outcome_of,
    policy_actor,
    step,
)
from placet_domain.rules.silence import rejection
from placet_domain.state import ApprovalState

FALLBACK_CAUSE = "fallback"


def fall_back(policy: Policy, state: ApprovalState, reason: str, now: datetime) -> list[Event]:
    """Takes over from the people; a policy without an AI rejects at once."""
    events = step(FALLBACK_CAUSE, policy_actor(policy), [FellBack(reason=reason)], now)
    if policy.fallback.by == "reject":
        events += _reject_by_policy(policy, state, now)
    return events


def on_unavailable(state: ApprovalState, now: datetime) -> list[Event]:
    """Pauses the request: an unreachable AI has no result."""
    if state.fell_back is None or state.paused is not None or state.ai_decided is not None:
        return []
    paused = Paused(step="fallback", reason="the AI service does not answer; it is asked again until it does")
    return step(FALLBACK_CAUSE, CLOCK, [paused], now)


def on_result(policy: Policy, state: ApprovalState, result: AiDecided, now: datetime) -> list[Event]:
    """Decides by the AI's result; after an abstention the policy rejects."""
    if state.fell_back is None or state.ai_decided is not None:
        return []
    if result.verdict is Verdict.APPROVE and not is_satisfied(policy.fallback.requires, state):
        result = _withheld(result)
    model = model_actor(result.model)
    events = step(FALLBACK_CAUSE, model, [result], now)
    if result.result is not AiResult.DECIDED or result.verdict is Verdict.UNSPECIFIED:
        return events + _reject_by_policy(policy, state, now)
    approved = result.verdict is Verdict.APPROVE
    decided = Decided(
        state=outcome_of(approved),
        source=Source.AI_FALLBACK,
        decision_type=DecisionType.AI_FALLBACK,
        approver=policy.fallback.approver,
        model=result.model,
        confidence=result.confidence,
        reasoning=clip(
            result.reasoning
            if approved
            else f"{rejection(policy.fallback.rejection, state)}: {result.reasoning}",
            4000,
        ),
    )
    return events + step(FALLBACK_CAUSE, model, close(state, decided, now), now)


def _withheld(approval: AiDecided) -> AiDecided:
    """The abstention that an AI's approval of content is that was not read whole."""
    why = "The AI would have approved, but not all of the content was read: an abstention. It said: "
    return approval.model_copy(
        update={
            "result": AiResult.ABSTAINED,
            "verdict": Verdict.UNSPECIFIED,
            "confidence": None,
            "reasoning": clip(why + approval.reasoning, 4000),
        }
    )


def _reject_by_policy(policy: Policy, state: ApprovalState, now: datetime) -> list[Event]:
    decided = Decided(
        state=State.REJECTED,
        source=Source.POLICY,
        decision_type=DecisionType.AUTOMATIC,
        approver=policy.name,
        reasoning=rejection(policy.fallback.rejection, state),
    )
    return step(FALLBACK_CAUSE, policy_actor(policy), close(state, decided, now), now)
