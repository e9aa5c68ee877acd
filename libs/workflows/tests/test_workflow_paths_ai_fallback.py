"""Every path through `ai-fallback` and `business-timeouts`, and an AI that cannot be reached."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from temporalio.exceptions import ApplicationError

from placet_domain.events import (
    AiResult,
    DecisionType,
    FellBack,
    Paused,
    PreScreened,
    Priority,
    RiskLevel,
    Source,
    State,
    TierOpened,
    Verdict,
)
from placet_testing.fake_services import (
    approving_ai,
    deep_model,
    never_answering,
    never_telling_the_asked,
    quick_assessment,
    saying,
)
from placet_testing.simulation import ALICE, ai_says, cancellation, decision, screened
from placet_testing.workflow_environment import ApprovalEnvironment
from placet_workflows.activity_types import DecideInput, DecideResult

pytestmark = pytest.mark.integration

HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
BOTH = ("ai-fallback", "business-timeouts")


@pytest.mark.parametrize("policy", BOTH)
@pytest.mark.parametrize(
    ("verdict", "state"), [(Verdict.APPROVE, State.APPROVED), (Verdict.REJECT, State.REJECTED)]
)
async def test_a_person_decides_in_time(
    environment: ApprovalEnvironment, policy: str, verdict: Verdict, state: State
) -> None:
    request = await environment.request(policy)
    await request.asks()
    await request.silence(7 * HOUR)
    await request.send(decision(ALICE, verdict))
    outcome = await request.outcome()
    assert (outcome.state, outcome.source, outcome.decision_type) == (state, Source.HUMAN, DecisionType.HUMAN)
    assert environment.services.asked_ai == []


@pytest.mark.parametrize("risk", [0.01, 0.99])
async def test_the_analysis_comes_first_and_only_informs(
    environment: ApprovalEnvironment, risk: float
) -> None:
    environment.services.assess = deep_model(screened(risk))
    request = await environment.request("ai-fallback")
    await request.asks()
    assert request.path[:5] == ["received", "processed", "pre_screened", "tier_opened", "asked"]
    assert request.only(PreScreened).level is RiskLevel.UNSPECIFIED


@pytest.mark.parametrize(
    "assessed", [deep_model(screened(result=AiResult.ABSTAINED)), never_answering(1000, quick_assessment)]
)
async def test_an_analysis_that_says_nothing_does_not_keep_the_person_from_being_asked(
    environment: ApprovalEnvironment, assessed: Any
) -> None:
    environment.services.assess = assessed
    request = await environment.request("ai-fallback")
    await request.silence_until("asked")
    assert request.only(PreScreened).result in (AiResult.ABSTAINED, AiResult.UNAVAILABLE)


@pytest.mark.parametrize(
    ("policy", "priority", "hours"),
    [
        ("ai-fallback", Priority.URGENT, 24),
        ("ai-fallback", Priority.LOW, 24),
        ("business-timeouts", Priority.URGENT, 1),
        ("business-timeouts", Priority.HIGH, 8),
        ("business-timeouts", Priority.NORMAL, 8),
        ("business-timeouts", Priority.LOW, 48),
    ],
)
async def test_after_the_silence_the_ai_decides(
    environment: ApprovalEnvironment, policy: str, priority: Priority, hours: int
) -> None:
    request = await environment.request(policy, priority=priority)
    outcome = await request.outcome()
    assert (outcome.state, outcome.source, outcome.approver) == (
        State.APPROVED,
        Source.AI_FALLBACK,
        "AI-Fallback",
    )
    assert timedelta(0) <= request.waited(1) - hours * HOUR < MINUTE
    opened = request.only(TierOpened)
    assert opened.due_time is not None
    assert request.only(FellBack).reason == f"{ALICE} did not respond"


@pytest.mark.parametrize("policy", BOTH)
async def test_an_ai_that_refuses_rejects(environment: ApprovalEnvironment, policy: str) -> None:
    environment.services.decide = saying(ai_says(Verdict.REJECT))
    outcome = await (await environment.request(policy)).outcome()
    assert (outcome.state, outcome.source) == (State.REJECTED, Source.AI_FALLBACK)
    assert outcome.reasoning == "No person responded, and the AI did not approve: the model's reason"


@pytest.mark.parametrize("policy", BOTH)
async def test_an_ai_that_abstains_rejects_by_the_policys_word(
    environment: ApprovalEnvironment, policy: str
) -> None:
    environment.services.decide = saying(ai_says(result=AiResult.ABSTAINED))
    outcome = await (await environment.request(policy)).outcome()
    assert (outcome.state, outcome.source, outcome.decision_type) == (
        State.REJECTED,
        Source.POLICY,
        DecisionType.AUTOMATIC,
    )


async def test_an_unavailable_ai_holds_the_request_which_goes_on_by_itself(
    environment: ApprovalEnvironment,
) -> None:
    environment.services.decide = never_answering(20, approving_ai)
    request = await environment.request("business-timeouts")
    outcome = await request.outcome()
    assert outcome.source is Source.AI_FALLBACK
    assert [kind for kind in request.path if kind != "notified"][-5:] == [
        "fell_back",
        "paused",
        "ai_decided",
        "decided",
        "closed",
    ]
    times = {event.body.type: event.time for event in request.events}
    assert 4 * MINUTE <= times["paused"] - times["fell_back"] <= 6 * MINUTE
    assert len({asked.idempotency_key for asked in environment.services.asked_ai}) == 1


async def test_an_ai_that_refuses_the_call_for_good_is_asked_again_some_day(
    environment: ApprovalEnvironment,
) -> None:
    refusals = [0]

    async def misconfigured(request: DecideInput) -> DecideResult:
        refusals[0] += 1
        if refusals[0] <= 3:
            raise ApplicationError("no such model", non_retryable=True)
        return await approving_ai(request)

    environment.services.decide = misconfigured
    request = await environment.request("business-timeouts")
    assert (await request.outcome()).source is Source.AI_FALLBACK
    assert request.only(Paused).step == "fallback"


async def test_an_ai_that_answers_that_it_is_unavailable_does_not_reject(
    environment: ApprovalEnvironment,
) -> None:
    answers = [ai_says(result=AiResult.UNAVAILABLE), ai_says(result=AiResult.UNAVAILABLE), ai_says()]

    async def unsure(_request: DecideInput) -> DecideResult:
        return DecideResult(result=answers.pop(0))

    environment.services.decide = unsure
    request = await environment.request("business-timeouts")
    assert (await request.outcome()).source is Source.AI_FALLBACK
    assert "paused" in request.path


async def test_a_person_decides_while_the_request_is_held(environment: ApprovalEnvironment) -> None:
    environment.services.decide = never_answering(100_000, approving_ai)
    request = await environment.request("business-timeouts")
    await request.silence_until("paused")
    await request.send(decision(ALICE))
    outcome = await request.outcome()
    assert (outcome.source, outcome.approver) == (Source.HUMAN, ALICE)


async def test_the_requester_cancels_while_the_request_is_held(environment: ApprovalEnvironment) -> None:
    environment.services.decide = never_answering(100_000, approving_ai)
    request = await environment.request("business-timeouts")
    await request.silence_until("paused")
    await request.send(cancellation())
    assert (await request.outcome()).state is State.CANCELLED


@pytest.mark.parametrize("policy", BOTH)
async def test_the_requester_cancels_while_a_person_is_asked(
    environment: ApprovalEnvironment, policy: str
) -> None:
    request = await environment.request(policy)
    await request.asks()
    await request.send(cancellation())
    assert (await request.outcome()).state is State.CANCELLED


@pytest.mark.parametrize("policy", BOTH)
async def test_the_deadline_goes_to_the_ai(environment: ApprovalEnvironment, policy: str) -> None:
    request = await environment.request(policy, deadline=3 * HOUR)
    outcome = await request.outcome()
    assert outcome.source is Source.AI_FALLBACK
    assert 3 * HOUR - MINUTE < request.waited(1) < 3 * HOUR + MINUTE


async def test_a_deadline_that_passed_before_the_first_task_rejects_at_once(
    environment: ApprovalEnvironment,
) -> None:
    environment.services.notify = never_telling_the_asked
    request = await environment.request("business-timeouts", deadline=timedelta(seconds=-5))
    assert (await request.outcome()).source is Source.POLICY
    assert request.path.count("fell_back") == 1


async def test_a_deadline_after_the_fallback_began_changes_nothing(environment: ApprovalEnvironment) -> None:
    environment.services.decide = never_answering(10, approving_ai)
    request = await environment.request("business-timeouts", deadline=8 * HOUR + 2 * MINUTE)
    assert (await request.outcome()).source is Source.AI_FALLBACK
    assert request.path.count("fell_back") == 1
    assert request.path.count("timed_out") == 1
