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
    model_actor,
    outcome_of,
    policy_actor,
    step,
)
from placet_domain.rules.caps import (
    Proposal,
    objection,
    people_had_time,
    short_of_time,
    withhold,
)
from placet_domain.rules.silence import rejection
from placet_domain.state import ApprovalState

FALLBACK_CAUSE = "fallback"


def fall_back(policy: Policy, state: ApprovalState, reason: str, now: datetime) -> list[Event]:
    """Takes over from the people.

    A policy without an AI rejects at once, and so does one whose people had too little time: a deadline cuts
    their time, and buys no AI's decision.
    """
    asks_ai = policy.fallback.by == "ai"
    if asks_ai and not people_had_time(policy, state, now):
        asks_ai, reason = False, clip(f"{reason}; {short_of_time(policy, state)}, so no AI decides")
    events = step(FALLBACK_CAUSE, policy_actor(policy), [FellBack(reason=reason)], now)
    return events if asks_ai else events + _reject_by_policy(policy, state, now)


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
    model, decides = model_actor(result.model), result.result is AiResult.DECIDED
    if not decides or result.verdict is Verdict.UNSPECIFIED:
        return step(FALLBACK_CAUSE, model, [result], now) + _reject_by_policy(policy, state, now)
    approved = result.verdict is Verdict.APPROVE
    why = objection(policy, state, Proposal(approved, result.confidence, result.found), now)
    if why:
        return [
            *withhold(policy, state, FALLBACK_CAUSE, why, now),
            *step(FALLBACK_CAUSE, model, [_abstention(result, why)], now),
            *_reject_by_policy(policy, state, now),
        ]
    events = step(FALLBACK_CAUSE, model, [result], now)
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


def _abstention(result: AiDecided, why: str) -> AiDecided:
    """The abstention that an AI's decision beyond a cap is."""
    would = "approved" if result.verdict is Verdict.APPROVE else "rejected"
    said = f"The AI would have {would}, but {why}: an abstention. It said: "
    return result.model_copy(
        update={
            "result": AiResult.ABSTAINED,
            "verdict": Verdict.UNSPECIFIED,
            "confidence": None,
            "reasoning": clip(said + result.reasoning, 4000),
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
