"""SPEC rows 1 to 4 and business-timeouts: who is asked, when, in which words, and what comes out."""

from __future__ import annotations

from datetime import timedelta

import pytest

from placet_domain.events import (
    ActorKind,
    AiResult,
    Asked,
    Body,
    Decided,
    DecisionType,
    Escalated,
    FellBack,
    Paused,
    PreScreened,
    Priority,
    RiskLevel,
    Source,
    State,
    TierOpened,
    TimedOut,
    Verdict,
)
from placet_domain.stimuli import (
    Begin,
    DeadlinePassed,
    FallbackDone,
    FallbackUnavailable,
    PreScreenDone,
    TierTimeout,
)
from placet_testing.simulation import ALICE, BOB, START, Play, ai_says, decision, screened
from placet_testing.workflow_environment import shipped_policy

HOUR = timedelta(hours=1)
ALL = ("simple", "ai-fallback", "escalating", "document", "business-timeouts")
WITH_AI = ALL[1:]


def asked_alice(policy: str, priority: Priority = Priority.NORMAL) -> Play:
    play = Play(shipped_policy(policy), priority)
    play.on(PreScreenDone(screened()) if play.policy.pre_screen else Begin())
    return play


def fallen_back(policy: str) -> Play:
    play = asked_alice(policy)
    for tier in range(1, len(play.policy.tiers) + 1):
        play.after(HOUR).on(TierTimeout(tier))
    return play


def test_simple_waits_without_limit() -> None:
    play = asked_alice("simple")
    assert play.path == ["received", "processed", "tier_opened", "asked"]
    tier = play.state.open_tier
    assert tier is not None
    assert (tier.tier, tier.name, tier.quorum, tier.due_time) == (1, "approver", 1, None)
    play.after(timedelta(days=400)).on(decision(ALICE))
    assert play.outcome.decision_type is DecisionType.HUMAN


def test_ai_fallback_looks_first_then_waits_24_hours_then_the_ai_decides() -> None:
    play = asked_alice("ai-fallback")
    assert play.path == ["received", "processed", "pre_screened", "tier_opened", "asked"]
    assert play.state.last_tier is not None
    assert play.state.last_tier.due_time == START + 24 * HOUR
    bodies = play.after(24 * HOUR).on(TierTimeout(1))
    assert bodies == [
        TimedOut(tier=1, waited=24 * HOUR, reason=f"{ALICE} did not respond within 24 h"),
        FellBack(reason=f"{ALICE} did not respond"),
    ]
    play.on(FallbackDone(ai_says()))
    assert play.outcome == Decided(
        state=State.APPROVED,
        source=Source.AI_FALLBACK,
        decision_type=DecisionType.AI_FALLBACK,
        approver="AI-Fallback",
        model="model-1",
        confidence=0.8,
        reasoning="the model's reason",
    )


def test_a_low_risk_in_ai_fallback_only_informs() -> None:
    play = Play(shipped_policy("ai-fallback"))
    pre_screened, *_ = play.on(PreScreenDone(screened(0.01)))
    assert isinstance(pre_screened, PreScreened)
    assert pre_screened.level is RiskLevel.UNSPECIFIED
    assert play.path[-1] == "asked"


def test_escalating_asks_the_manager_after_2_hours_and_the_ai_after_4_more() -> None:
    play = asked_alice("escalating")
    assert play.after(2 * HOUR).on(TierTimeout(1)) == [
        TimedOut(tier=1, waited=2 * HOUR, reason=f"{ALICE} did not respond within 2 h"),
        Escalated(from_tier=1, to_tier=2, reason=f"Team member {ALICE} did not respond"),
        TierOpened(tier=2, name="manager", quorum=1, due_time=START + 6 * HOUR),
        Asked(tier=2, person=BOB, reason=f"Team member {ALICE} did not respond"),
    ]
    assert play.after(4 * HOUR).on(TierTimeout(2)) == [
        TimedOut(tier=2, waited=4 * HOUR, reason=f"{BOB} did not respond within 4 h"),
        FellBack(reason=f"Neither {ALICE} nor {BOB} responded"),
    ]
    play.on(FallbackDone(ai_says(Verdict.REJECT)))
    assert (play.outcome.state, play.outcome.approver) == (State.REJECTED, "AI-Fallback")
    assert play.outcome.reasoning == "failed at all levels: the model's reason"


def test_document_approves_low_risk_at_once() -> None:
    play = Play(shipped_policy("document"))
    play.on(PreScreenDone(screened(0.29)))
    assert play.path == ["received", "processed", "pre_screened", "decided", "closed"]
    assert play.state.pre_screened is not None
    assert (play.state.pre_screened.level, play.state.pre_screened.threshold) == (RiskLevel.LOW, 0.3)
    assert play.outcome == Decided(
        state=State.APPROVED,
        source=Source.AI_PRESCREEN,
        decision_type=DecisionType.AUTOMATIC,
        approver="AI-Auto-Approved",
        model="rules-1",
        confidence=0.7,
        reasoning="Low risk document",
        rule="menu",
    )


@pytest.mark.parametrize("risk", [0.3, 0.31, 1.0, -0.1, float("nan"), float("inf"), float("-inf")])
def test_document_asks_a_person_at_the_threshold_and_wherever_the_risk_is_no_risk(risk: float) -> None:
    play = Play(shipped_policy("document"))
    play.on(PreScreenDone(screened(risk)))
    assert play.path == ["received", "processed", "pre_screened", "tier_opened", "asked"]
    assert play.state.pre_screened is not None
    assert play.state.pre_screened.level is RiskLevel.HIGH


@pytest.mark.parametrize("result", [AiResult.ABSTAINED, AiResult.UNAVAILABLE])
def test_document_asks_a_person_when_the_pre_screen_says_nothing(result: AiResult) -> None:
    play = Play(shipped_policy("document"))
    play.on(PreScreenDone(screened(result=result)))
    assert play.path == ["received", "processed", "pre_screened", "tier_opened", "asked"]
    assert play.state.pre_screened is not None
    assert play.state.pre_screened.level is RiskLevel.UNSPECIFIED


@pytest.mark.parametrize(
    ("policy", "priority", "wait", "said"),
    [
        ("document", Priority.URGENT, 2 * HOUR, "2 h"),
        ("document", Priority.HIGH, 2 * HOUR, "2 h"),
        ("document", Priority.NORMAL, 8 * HOUR, "8 h"),
        ("document", Priority.LOW, 24 * HOUR, "24 h"),
        ("business-timeouts", Priority.URGENT, HOUR, "1 h"),
        ("business-timeouts", Priority.HIGH, 8 * HOUR, "8 h"),
        ("business-timeouts", Priority.NORMAL, 8 * HOUR, "8 h"),
        ("business-timeouts", Priority.LOW, 48 * HOUR, "2 d"),
    ],
)
def test_the_first_tier_waits_by_priority(
    policy: str, priority: Priority, wait: timedelta, said: str
) -> None:
    play = asked_alice(policy, priority)
    assert play.state.last_tier is not None
    assert play.state.last_tier.due_time == START + wait
    timed_out = play.after(wait).on(TierTimeout(1))[0]
    assert timed_out == TimedOut(tier=1, waited=wait, reason=f"{ALICE} did not respond within {said}")


def test_document_tells_the_manager_who_did_not_respond_and_waits_4_hours() -> None:
    play = asked_alice("document", Priority.HIGH)
    assert play.after(2 * HOUR).on(TierTimeout(1)) == [
        TimedOut(tier=1, waited=2 * HOUR, reason=f"{ALICE} did not respond within 2 h"),
        Escalated(from_tier=1, to_tier=2, reason=f"Original approver {ALICE} did not respond"),
        TierOpened(tier=2, name="manager", quorum=1, due_time=START + 6 * HOUR),
        Asked(tier=2, person=BOB, reason=f"Original approver {ALICE} did not respond"),
    ]
    *_, fell_back = play.after(4 * HOUR).on(TierTimeout(2))
    assert fell_back == FellBack(reason=f"Neither {ALICE} nor {BOB} responded")


@pytest.mark.parametrize("policy", WITH_AI)
def test_an_ai_that_abstains_rejects_by_the_policys_word(policy: str) -> None:
    play = fallen_back(policy)
    play.on(FallbackDone(ai_says(result=AiResult.ABSTAINED)))
    assert play.path[-3:] == ["ai_decided", "decided", "closed"]
    assert play.outcome == Decided(
        state=State.REJECTED,
        source=Source.POLICY,
        decision_type=DecisionType.AUTOMATIC,
        approver=policy,
        reasoning=play.policy.fallback.rejection,
    )


@pytest.mark.parametrize("policy", WITH_AI)
def test_an_answer_without_a_verdict_is_an_abstention(policy: str) -> None:
    play = fallen_back(policy)
    play.on(FallbackDone(ai_says(Verdict.UNSPECIFIED)))
    assert (play.outcome.state, play.outcome.source) == (State.REJECTED, Source.POLICY)


@pytest.mark.parametrize("policy", WITH_AI)
def test_an_ai_that_is_unavailable_holds_the_request_and_never_rejects_it(policy: str) -> None:
    play = fallen_back(policy)
    (held,) = play.on(FallbackUnavailable())
    assert held == Paused(
        step="fallback", reason="the AI service does not answer; it is asked again until it does"
    )
    assert play.on(FallbackUnavailable()) == []
    play.on(FallbackDone(ai_says()))
    assert play.outcome.source is Source.AI_FALLBACK


@pytest.mark.parametrize("policy", ALL)
def test_a_timeout_is_said_by_the_clock_and_the_fallback_by_the_policy(policy: str) -> None:
    play = asked_alice(policy)
    play.after(HOUR).on(DeadlinePassed())
    actors = {event.body.type: event.actor for event in play.events}
    assert actors["timed_out"].kind is ActorKind.CLOCK
    assert actors["fell_back"].kind is ActorKind.POLICY
    assert actors["fell_back"].name == policy


@pytest.mark.parametrize("policy", ALL)
def test_the_deadline_ends_the_tier_and_the_log_names_only_those_who_were_asked(policy: str) -> None:
    play = asked_alice(policy)
    timed_out, fell_back, *rest = play.after(HOUR).on(DeadlinePassed())
    assert timed_out == TimedOut(tier=1, waited=HOUR, reason=f"{ALICE} did not respond within 1 h")
    assert fell_back == FellBack(reason=f"The request's deadline passed and {ALICE} had not responded")
    assert ends_by_policy(rest) == (policy == "simple")
    assert play.on(DeadlinePassed(), TierTimeout(1)) == []


def test_the_deadline_in_the_second_tier_names_both() -> None:
    play = asked_alice("document")
    play.after(8 * HOUR).on(TierTimeout(1))
    *_, fell_back = play.after(HOUR).on(DeadlinePassed())
    assert fell_back == FellBack(
        reason=f"The request's deadline passed and {ALICE} and {BOB} had not responded"
    )


@pytest.mark.parametrize("policy", ["document", "ai-fallback"])
def test_the_deadline_during_the_pre_screen_accuses_nobody(policy: str) -> None:
    play = Play(shipped_policy(policy))
    fell_back, *rest = play.on(DeadlinePassed())
    assert fell_back == FellBack(
        reason="The request's deadline passed before anybody was asked; people did not have 1 h, "
        "so no AI decides"
    )
    assert ends_by_policy(rest)
    assert play.on(FallbackDone(ai_says())) == []


def test_the_deadline_of_a_simple_request_rejects_it_by_the_policys_word() -> None:
    play = asked_alice("simple")
    play.after(HOUR).on(DeadlinePassed())
    assert play.path[-4:] == ["timed_out", "fell_back", "decided", "closed"]
    assert play.outcome == Decided(
        state=State.REJECTED,
        source=Source.POLICY,
        decision_type=DecisionType.AUTOMATIC,
        approver="simple",
        reasoning="The deadline passed without a decision",
    )


def test_a_demonstrations_clock_runs_faster_and_speaks_in_the_policys_time() -> None:
    play = Play(shipped_policy("escalating"), clock_scale=1200.0)
    play.on(Begin())
    assert play.state.last_tier is not None
    assert play.state.last_tier.due_time == START + timedelta(seconds=6)
    timed_out = play.after(timedelta(seconds=6)).on(TierTimeout(1))[0]
    assert timed_out == TimedOut(
        tier=1, waited=timedelta(seconds=6), reason=f"{ALICE} did not respond within 2 h"
    )


def test_a_second_result_of_a_step_is_not_logged() -> None:
    play = asked_alice("document")
    assert play.on(PreScreenDone(screened(0.1)), Begin(), TierTimeout(2), FallbackDone(ai_says())) == []
    assert play.on(FallbackUnavailable()) == []


def ends_by_policy(bodies: list[Body]) -> bool:
    return any(isinstance(body, Decided) and body.source is Source.POLICY for body in bodies)
