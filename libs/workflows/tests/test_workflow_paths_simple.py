"""Every path through `simple`: process, wait without limit for a person, finalize."""

from __future__ import annotations

from datetime import timedelta

import pytest

from placet_domain.coverage import WHOLE
from placet_domain.events import Closed, DecisionType, Processed, Source, State, TierOpened, Verdict
from placet_testing.simulation import ALICE, REQUESTER, cancellation, decision
from placet_testing.workflow_environment import ApprovalEnvironment
from placet_workflows.names import TaskQueue

pytestmark = pytest.mark.integration


async def test_a_person_approves_after_three_weeks(environment: ApprovalEnvironment) -> None:
    request = await environment.request("simple")
    await request.asks()
    await request.silence(timedelta(weeks=3))
    await request.send(decision(ALICE))
    outcome = await request.outcome()
    assert (outcome.state, outcome.source, outcome.decision_type) == (
        State.APPROVED,
        Source.HUMAN,
        DecisionType.HUMAN,
    )
    assert (outcome.approver, outcome.reasoning, outcome.tier) == (ALICE, "looks right", 1)
    assert request.path == [
        "received",
        "processed",
        "tier_opened",
        "asked",
        "notified",
        "voted",
        "decided",
        "closed",
    ]
    assert request.only(TierOpened).due_time is None
    waited = request.only(Closed).waited
    assert waited is not None
    assert timedelta(weeks=3) <= waited < timedelta(weeks=3, minutes=1)


async def test_a_person_rejects(environment: ApprovalEnvironment) -> None:
    request = await environment.request("simple")
    await request.asks()
    await request.send(decision(ALICE, Verdict.REJECT, reason="wrong account"))
    outcome = await request.outcome()
    assert (outcome.state, outcome.source, outcome.reasoning) == (
        State.REJECTED,
        Source.HUMAN,
        "wrong account",
    )
    assert environment.services.asked_ai == []


async def test_what_intake_read_is_logged_with_the_first_append(environment: ApprovalEnvironment) -> None:
    request = await environment.request("simple")
    await request.asks()
    assert request.path[:4] == ["received", "processed", "tier_opened", "asked"]
    assert request.only(Processed) == Processed(method="text", characters=12, words=2, coverage=WHOLE)
    assert len(environment.services.log.attempts) == 1


async def test_the_common_case_takes_two_appends(environment: ApprovalEnvironment) -> None:
    request = await environment.request("simple")
    await request.asks()
    await request.send(decision(ALICE))
    await request.outcome()
    assert len(environment.services.log.attempts) == 2


async def test_the_requester_is_told_the_outcome_exactly_once(environment: ApprovalEnvironment) -> None:
    request = await environment.request("simple")
    await request.asks()
    await request.send(decision(ALICE, Verdict.REJECT, reason="wrong account"))
    await request.outcome()
    (told,) = [notice for notice in environment.services.notified if notice.recipient == REQUESTER]
    assert (told.state, told.approver, told.reason) == (State.REJECTED, ALICE, "wrong account")
    assert told.idempotency_key == f"{request.id}/outcome"
    assert (told.title, told.subject_id) == ("Pay invoice 7", "invoice-7")


async def test_the_deadline_rejects_by_the_policys_word(environment: ApprovalEnvironment) -> None:
    request = await environment.request("simple", deadline=timedelta(days=3))
    outcome = await request.outcome()
    assert (outcome.state, outcome.source, outcome.decision_type) == (
        State.REJECTED,
        Source.POLICY,
        DecisionType.AUTOMATIC,
    )
    assert outcome.reasoning == "The deadline passed without a decision"
    assert timedelta(days=3) - timedelta(minutes=1) < request.waited(1) < timedelta(days=3, minutes=1)
    assert environment.services.asked_ai == []


async def test_the_requester_cancels_while_a_person_is_asked(environment: ApprovalEnvironment) -> None:
    request = await environment.request("simple")
    await request.asks()
    await request.send(cancellation())
    outcome = await request.outcome()
    assert (outcome.state, outcome.source, outcome.decision_type) == (
        State.CANCELLED,
        Source.REQUESTER,
        DecisionType.UNSPECIFIED,
    )


async def test_a_cancellation_before_the_first_task_is_processed_after_the_beginning(
    environment: ApprovalEnvironment,
) -> None:
    request = await environment.request("simple", commands=[cancellation()])
    assert (await request.outcome()).state is State.CANCELLED
    assert request.path == ["received", "processed", "tier_opened", "asked", "decided", "closed"]


async def test_storage_and_notices_go_by_the_default_queue(environment: ApprovalEnvironment) -> None:
    request = await environment.request("simple")
    await request.asks()
    await request.send(decision(ALICE))
    await request.outcome()
    assert environment.services.queues == {("notify", TaskQueue.DEFAULT)}
