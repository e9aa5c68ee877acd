"""Every path through `document`: pre-screen, approver by priority, manager, AI."""

from __future__ import annotations

from datetime import timedelta

import pytest
from temporalio.testing import WorkflowEnvironment

from placet_domain.events import (
    AiResult,
    Decided,
    DecisionType,
    ErrorReason,
    Escalated,
    FellBack,
    PreScreened,
    Priority,
    Refused,
    RiskLevel,
    ScreenMode,
    Source,
    State,
    Verdict,
)
from placet_testing.fake_services import Services, deep_model, never_answering, quick_assessment, saying
from placet_testing.simulation import ALICE, BOB, ai_says, cancellation, decision, screened
from placet_testing.workflow_environment import ApprovalEnvironment, openai_worker, running_environment
from placet_workflows.names import TaskQueue

pytestmark = pytest.mark.integration

HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
WAITS = [(Priority.URGENT, 2), (Priority.HIGH, 2), (Priority.NORMAL, 8), (Priority.LOW, 24)]


async def test_low_risk_is_approved_at_once_and_nobody_is_asked(environment: ApprovalEnvironment) -> None:
    environment.services.assess = deep_model(screened(0.1))
    request = await environment.request("document")
    outcome = await request.outcome()
    assert outcome == Decided(
        state=State.APPROVED,
        source=Source.AI_PRESCREEN,
        decision_type=DecisionType.AUTOMATIC,
        approver="AI-Auto-Approved",
        model="rules-1",
        confidence=0.7,
        reasoning="Low risk document",
        rule="menu",
    )
    assert request.path == ["received", "processed", "pre_screened", "decided", "closed"]
    assert request.only(PreScreened).level is RiskLevel.LOW
    assert len(environment.services.log.attempts) == 1


async def test_deep_asks_the_rules_first_and_then_the_model_on_its_own_queue(
    environment: ApprovalEnvironment,
) -> None:
    environment.services.assess = deep_model(screened(0.9))
    request = await environment.request("document")
    await request.asks()
    assert [asked.mode for asked in environment.services.assessed] == [ScreenMode.QUICK, ScreenMode.DEEP]
    assert {
        ("assess_risk quick", TaskQueue.DEFAULT),
        ("assess_risk deep", TaskQueue.OPENAI),
    } <= environment.services.queues
    assert request.only(PreScreened).mode is ScreenMode.DEEP
    assert len({asked.idempotency_key for asked in environment.services.assessed}) == 2


async def test_without_a_model_deep_is_quick(environment: ApprovalEnvironment) -> None:
    request = await environment.request("document")
    await request.asks()
    assert [asked.mode for asked in environment.services.assessed] == [ScreenMode.QUICK]
    pre_screened = request.only(PreScreened)
    assert (pre_screened.mode, pre_screened.level, pre_screened.risk, pre_screened.threshold) == (
        ScreenMode.QUICK,
        RiskLevel.HIGH,
        0.6,
        0.3,
    )


async def test_a_pre_screen_that_abstains_asks_the_person(environment: ApprovalEnvironment) -> None:
    environment.services.assess = deep_model(screened(result=AiResult.ABSTAINED))
    request = await environment.request("document")
    await request.asks()
    assert request.only(PreScreened).result is AiResult.ABSTAINED
    await request.send(decision(ALICE))
    assert (await request.outcome()).source is Source.HUMAN


async def test_a_pre_screen_that_is_unavailable_asks_the_person_after_two_minutes(
    environment: ApprovalEnvironment,
) -> None:
    environment.services.assess = never_answering(1000, quick_assessment)
    request = await environment.request("document")
    await request.silence_until("asked")
    pre_screened = request.only(PreScreened)
    assert (pre_screened.result, pre_screened.level) == (AiResult.UNAVAILABLE, RiskLevel.UNSPECIFIED)
    received, screened_at = (
        next(event.time for event in request.events if event.body.type == kind)
        for kind in ("received", "pre_screened")
    )
    assert MINUTE <= screened_at - received < 3 * MINUTE


async def test_a_pre_screen_that_answers_late_but_in_time_counts(environment: ApprovalEnvironment) -> None:
    environment.services.assess = never_answering(2, deep_model(screened(0.1)))
    request = await environment.request("document")
    assert (await request.outcome()).source is Source.AI_PRESCREEN


@pytest.mark.parametrize(
    ("verdict", "state"), [(Verdict.APPROVE, State.APPROVED), (Verdict.REJECT, State.REJECTED)]
)
async def test_the_approver_decides(environment: ApprovalEnvironment, verdict: Verdict, state: State) -> None:
    request = await environment.request("document")
    await request.asks()
    await request.send(decision(ALICE, verdict))
    outcome = await request.outcome()
    assert (outcome.state, outcome.source, outcome.decision_type) == (state, Source.HUMAN, DecisionType.HUMAN)


@pytest.mark.parametrize(("priority", "hours"), WAITS)
async def test_silence_goes_to_the_manager_by_priority_and_then_to_the_ai(
    environment: ApprovalEnvironment, priority: Priority, hours: int
) -> None:
    request = await environment.request("document", priority=priority)
    outcome = await request.outcome()
    assert timedelta(0) <= request.waited(1) - hours * HOUR < MINUTE
    assert timedelta(0) <= request.waited(2) - 4 * HOUR < MINUTE
    assert request.only(Escalated).reason == f"Original approver {ALICE} did not respond"
    assert request.only(FellBack).reason == f"Neither {ALICE} nor {BOB} responded"
    assert (outcome.source, outcome.decision_type, outcome.approver) == (
        Source.AI_FALLBACK,
        DecisionType.AI_FALLBACK,
        "AI-Fallback",
    )


@pytest.mark.parametrize(
    ("verdict", "state"), [(Verdict.APPROVE, State.APPROVED), (Verdict.REJECT, State.REJECTED)]
)
async def test_the_manager_decides(environment: ApprovalEnvironment, verdict: Verdict, state: State) -> None:
    request = await environment.request("document", priority=Priority.HIGH)
    await request.asks()
    await request.silence(2 * HOUR + MINUTE)
    await request.asks(2)
    await request.send(decision(BOB, verdict))
    outcome = await request.outcome()
    assert (outcome.state, outcome.decision_type, outcome.tier) == (state, DecisionType.MANAGER, 2)


async def test_the_ai_decides_with_content_pre_screen_and_priority_in_hand(
    environment: ApprovalEnvironment,
) -> None:
    request = await environment.request("document", priority=Priority.HIGH)
    await request.outcome()
    (asked,) = environment.services.asked_ai
    assert asked.priority is Priority.HIGH
    assert asked.pre_screened == request.only(PreScreened)
    assert asked.content_digest == "c0" * 32
    assert asked.circumstances == f"Neither {ALICE} nor {BOB} responded"


async def test_an_ai_that_refuses_rejects_at_all_levels(environment: ApprovalEnvironment) -> None:
    environment.services.decide = saying(ai_says(Verdict.REJECT))
    outcome = await (await environment.request("document")).outcome()
    assert (outcome.state, outcome.source) == (State.REJECTED, Source.AI_FALLBACK)
    assert outcome.reasoning == "failed at all levels: the model's reason"


async def test_an_ai_that_abstains_rejects_by_the_policys_word(environment: ApprovalEnvironment) -> None:
    environment.services.decide = saying(ai_says(result=AiResult.ABSTAINED))
    outcome = await (await environment.request("document")).outcome()
    assert (outcome.state, outcome.source, outcome.reasoning) == (
        State.REJECTED,
        Source.POLICY,
        "failed at all levels",
    )


async def test_a_vote_during_the_pre_screen_waits_until_its_sender_is_asked(
    skipping_server: WorkflowEnvironment,
) -> None:
    services = Services()
    services.assess = deep_model(screened(0.9))
    async with running_environment(skipping_server, services, openai=False) as environment:
        early = decision(ALICE)
        stranger = decision("mallory@example.com")
        request = await environment.request("document", commands=[early, early, stranger])
        await request.reaches("refused")
        assert request.only(Refused).reason is ErrorReason.NOT_ASKED
        assert request.path == ["received", "processed", "refused"]
        async with openai_worker(skipping_server.client, services):
            outcome = await request.outcome()
    assert outcome.approver == ALICE
    assert [event.cause_id for event in request.events if event.command_digest] == [
        stranger.id,
        *[early.id] * 3,
    ]


async def test_a_vote_before_an_approval_at_once_is_told_that_the_request_is_closed(
    environment: ApprovalEnvironment,
) -> None:
    environment.services.assess = deep_model(screened(0.1))
    request = await environment.request("document", commands=[decision(ALICE)])
    assert (await request.outcome()).source is Source.AI_PRESCREEN
    assert request.only(Refused).reason is ErrorReason.CLOSED


async def test_the_requester_cancels_during_the_pre_screen(
    environment_without_model: ApprovalEnvironment,
) -> None:
    environment_without_model.services.assess = deep_model(screened(0.9))
    request = await environment_without_model.request("document", commands=[cancellation()])
    assert (await request.outcome()).state is State.CANCELLED
    assert request.path == ["received", "processed", "decided", "closed"]


async def test_the_deadline_during_the_pre_screen_goes_to_the_ai(environment: ApprovalEnvironment) -> None:
    environment.services.assess = never_answering(1000, quick_assessment)
    request = await environment.request("document", deadline=timedelta(seconds=30))
    outcome = await request.outcome()
    assert outcome.source is Source.AI_FALLBACK
    assert "asked" not in request.path
    assert request.only(FellBack).reason == "The request's deadline passed before anybody was asked"


async def test_the_deadline_in_the_managers_tier_goes_to_the_ai(environment: ApprovalEnvironment) -> None:
    request = await environment.request("document", deadline=9 * HOUR)
    outcome = await request.outcome()
    assert outcome.source is Source.AI_FALLBACK
    assert timedelta(0) <= request.waited(1) - 8 * HOUR < MINUTE
    assert HOUR - MINUTE < request.waited(2) < HOUR + MINUTE
