"""Every path through `escalating`: 2 hours, the manager's 4, then the AI."""

from __future__ import annotations

from datetime import timedelta

import pytest

from placet_domain.events import (
    AiDecided,
    AiResult,
    DecisionType,
    Escalated,
    FellBack,
    Source,
    State,
    TimedOut,
    Verdict,
)
from placet_testing.conditions import until
from placet_testing.fake_services import saying
from placet_testing.simulation import ALICE, BOB, REQUESTER, ai_says, cancellation, decision
from placet_testing.workflow_environment import ApprovalEnvironment
from placet_workflows.names import TaskQueue

pytestmark = pytest.mark.integration

HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)


@pytest.mark.parametrize(
    ("verdict", "state"), [(Verdict.APPROVE, State.APPROVED), (Verdict.REJECT, State.REJECTED)]
)
async def test_the_team_member_decides_in_time(
    environment: ApprovalEnvironment, verdict: Verdict, state: State
) -> None:
    request = await environment.request("escalating")
    await request.asks()
    await request.silence(HOUR)
    await request.send(decision(ALICE, verdict))
    outcome = await request.outcome()
    assert (outcome.state, outcome.source, outcome.decision_type, outcome.approver) == (
        state,
        Source.HUMAN,
        DecisionType.HUMAN,
        ALICE,
    )
    assert "timed_out" not in request.path


@pytest.mark.parametrize(
    ("verdict", "state"), [(Verdict.APPROVE, State.APPROVED), (Verdict.REJECT, State.REJECTED)]
)
async def test_the_manager_decides_after_the_team_member_was_silent(
    environment: ApprovalEnvironment, verdict: Verdict, state: State
) -> None:
    request = await environment.request("escalating")
    await request.asks()
    await request.silence(2 * HOUR + MINUTE)
    await request.asks(2)
    await request.send(decision(BOB, verdict))
    outcome = await request.outcome()
    assert (outcome.state, outcome.source, outcome.decision_type, outcome.tier) == (
        state,
        Source.HUMAN,
        DecisionType.MANAGER,
        2,
    )
    assert timedelta(0) <= request.waited(1) - 2 * HOUR < MINUTE
    assert request.only(Escalated).reason == f"Team member {ALICE} did not respond"
    assert environment.services.asked_ai == []


async def test_silence_at_both_tiers_lets_the_ai_approve(environment: ApprovalEnvironment) -> None:
    request = await environment.request("escalating")
    outcome = await request.outcome()
    assert (outcome.state, outcome.source, outcome.decision_type) == (
        State.APPROVED,
        Source.AI_FALLBACK,
        DecisionType.AI_FALLBACK,
    )
    assert (outcome.approver, outcome.model, outcome.confidence) == ("AI-Fallback", "model-1", 0.8)
    assert outcome.reasoning == "the model's reason"
    assert [event for event in request.path if event != "notified"] == [
        "received",
        "processed",
        "tier_opened",
        "asked",
        "timed_out",
        "escalated",
        "tier_opened",
        "asked",
        "timed_out",
        "fell_back",
        "ai_decided",
        "decided",
        "closed",
    ]
    assert timedelta(0) <= request.waited(1) - 2 * HOUR < MINUTE
    assert timedelta(0) <= request.waited(2) - 4 * HOUR < MINUTE
    assert request.only(FellBack).reason == f"Neither {ALICE} nor {BOB} responded"
    assert ("decide", TaskQueue.OPENAI) in environment.services.queues


async def test_the_ai_is_told_why_it_is_asked(environment: ApprovalEnvironment) -> None:
    request = await environment.request("escalating")
    await request.outcome()
    (asked,) = environment.services.asked_ai
    assert asked.circumstances == f"Neither {ALICE} nor {BOB} responded"
    assert asked.idempotency_key == f"{request.id}/fallback"
    assert asked.pre_screened is None


async def test_each_of_the_asked_is_told_once_and_the_manager_why(environment: ApprovalEnvironment) -> None:
    request = await environment.request("escalating")
    await request.asks()
    await until(lambda: len(environment.services.notified) >= 1)
    await request.silence(2 * HOUR + MINUTE)
    await until(lambda: len(environment.services.notified) >= 2)
    await request.outcome()
    told = [(notice.recipient, notice.tier, notice.reason) for notice in environment.services.notified]
    assert told[:2] == [
        (ALICE, 1, "Your decision is needed"),
        (BOB, 2, f"Team member {ALICE} did not respond"),
    ]
    assert sorted(told[2:]) == [(who, None, "the model's reason") for who in (ALICE, BOB, REQUESTER)]
    assert all(notice.due_time for notice in environment.services.notified[:2])


async def test_an_ai_that_refuses_rejects_at_all_levels(environment: ApprovalEnvironment) -> None:
    environment.services.decide = saying(ai_says(Verdict.REJECT))
    request = await environment.request("escalating")
    outcome = await request.outcome()
    assert (outcome.state, outcome.source, outcome.approver) == (
        State.REJECTED,
        Source.AI_FALLBACK,
        "AI-Fallback",
    )
    assert outcome.reasoning == "failed at all levels: the model's reason"


async def test_an_ai_that_abstains_rejects_by_the_policys_word(environment: ApprovalEnvironment) -> None:
    environment.services.decide = saying(ai_says(result=AiResult.ABSTAINED))
    request = await environment.request("escalating")
    outcome = await request.outcome()
    assert (outcome.state, outcome.source, outcome.decision_type, outcome.approver) == (
        State.REJECTED,
        Source.POLICY,
        DecisionType.AUTOMATIC,
        "escalating",
    )
    assert outcome.reasoning == "failed at all levels"
    assert request.only(AiDecided).result is AiResult.ABSTAINED


async def test_who_was_asked_first_may_still_decide_in_the_managers_tier(
    environment: ApprovalEnvironment,
) -> None:
    request = await environment.request("escalating")
    await request.asks()
    await request.silence(3 * HOUR)
    await request.asks(2)
    await request.send(decision(ALICE))
    outcome = await request.outcome()
    assert (outcome.approver, outcome.decision_type, outcome.tier) == (ALICE, DecisionType.HUMAN, 1)


async def test_the_manager_cannot_decide_before_being_asked(environment: ApprovalEnvironment) -> None:
    request = await environment.request("escalating")
    await request.asks()
    await request.send(decision(BOB))
    await request.reaches("refused")
    await request.send(decision(ALICE))
    assert (await request.outcome()).approver == ALICE


@pytest.mark.parametrize("person", [ALICE, BOB])
async def test_a_person_decides_while_the_ai_is_thinking(
    environment_without_model: ApprovalEnvironment, person: str
) -> None:
    request = await environment_without_model.request("escalating")
    await request.silence_until("fell_back")
    await request.send(decision(person, Verdict.REJECT, reason="late, and no"))
    outcome = await request.outcome()
    assert (outcome.source, outcome.approver, outcome.state) == (Source.HUMAN, person, State.REJECTED)
    assert "ai_decided" not in request.path


@pytest.mark.parametrize(
    ("passes", "tiers_asked"), [(HOUR, 1), (3 * HOUR, 2)], ids=["first tier", "second tier"]
)
async def test_the_deadline_goes_to_the_ai_from_any_tier(
    environment: ApprovalEnvironment, passes: timedelta, tiers_asked: int
) -> None:
    request = await environment.request("escalating", deadline=passes)
    outcome = await request.outcome()
    assert outcome.source is Source.AI_FALLBACK
    assert request.path.count("asked") == tiers_asked
    silent = " and ".join([ALICE, BOB][:tiers_asked])
    assert request.only(FellBack).reason == f"The request's deadline passed and {silent} had not responded"
    assert len(request.all_of(TimedOut)) == tiers_asked


async def test_the_requester_cancels_while_the_manager_is_asked(environment: ApprovalEnvironment) -> None:
    request = await environment.request("escalating")
    await request.asks()
    await request.silence(2 * HOUR + MINUTE)
    await request.asks(2)
    await request.send(cancellation())
    outcome = await request.outcome()
    assert (outcome.state, outcome.source) == (State.CANCELLED, Source.REQUESTER)


async def test_the_requester_cancels_while_the_ai_is_thinking(
    environment_without_model: ApprovalEnvironment,
) -> None:
    request = await environment_without_model.request("escalating")
    await request.silence_until("fell_back")
    await request.send(cancellation())
    outcome = await request.outcome()
    assert (outcome.state, outcome.source) == (State.CANCELLED, Source.REQUESTER)
    assert "ai_decided" not in request.path


async def test_a_demonstrations_clock_escalates_in_seconds(environment: ApprovalEnvironment) -> None:
    request = await environment.request("escalating", clock_scale=1200)
    outcome = await request.outcome()
    assert outcome.source is Source.AI_FALLBACK
    first, second = (body.waited for body in request.all_of(TimedOut))
    assert first is not None
    assert second is not None
    assert timedelta(seconds=6) <= first < timedelta(seconds=11)
    assert timedelta(seconds=12) <= second < timedelta(seconds=17)
    assert request.all_of(TimedOut)[0].reason.startswith(f"{ALICE} did not respond within 2 h")
