"""Commands through the real signal: processed once each, in order, and never in the way of others."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta

import pytest
from temporalio.api.common.v1 import Payload
from temporalio.client import WorkflowExecutionStatus
from temporalio.common import RawValue
from temporalio.testing import WorkflowEnvironment

from placet_domain.events import ErrorReason, Refused, Source, State, Verdict, Voted
from placet_testing.conditions import until
from placet_testing.fake_services import Services, delivering, never_telling_the_asked
from placet_testing.simulation import (
    ALICE,
    BOB,
    CONTENT,
    RENDERING,
    REQUESTER,
    cancellation,
    decision,
    person,
)
from placet_testing.workflow_environment import (
    ApprovalEnvironment,
    default_worker,
    running_environment,
    shipped_policy,
)
from placet_workflows.activity_types import NotifyInput, NotifyResult, Status
from placet_workflows.names import COMMAND_SIGNAL

pytestmark = pytest.mark.integration

HOUR = timedelta(hours=1)


def payload(encoding: str, data: bytes) -> RawValue:
    return RawValue(Payload(metadata={"encoding": encoding.encode()}, data=data))


UNREADABLE = {
    "no JSON": payload("json/plain", b"{"),
    "JSON of something else": payload("json/plain", b'{"type": "party"}'),
    "a number": payload("json/plain", b"7"),
    "null": payload("json/plain", b"null"),
    "nothing": payload("binary/null", b""),
    "bytes": payload("binary/plain", b"\x00\xff"),
    "an unknown encoding": payload("binary/encrypted", b"sealed with another key"),
    "no encoding": RawValue(Payload(data=b"?")),
    "a decision without a verdict": payload(
        "json/plain",
        b'{"type": "decision", "id": "1", "actor": {"kind": "PERSON", "name": "alice@example.com"}}',
    ),
    "an id that no event can hold": decision(ALICE).model_copy(update={"id": "x" * 101}),
}


@pytest.mark.parametrize("sent", UNREADABLE.values(), ids=UNREADABLE.keys())
async def test_what_cannot_be_read_is_refused_and_the_next_command_counts(
    environment: ApprovalEnvironment, sent: object
) -> None:
    request = await environment.request("simple")
    await request.asks()
    await request.send(sent)
    await request.reaches("refused")
    refused = request.only(Refused)
    assert (refused.command, refused.reason) == ("unknown", ErrorReason.UNDECODABLE)
    await request.send(decision(ALICE))
    assert (await request.outcome()).approver == ALICE


@pytest.mark.parametrize("arguments", [[], [decision(ALICE), decision(ALICE)]], ids=["none", "two"])
async def test_a_signal_that_carries_none_or_two_is_refused(
    environment: ApprovalEnvironment, arguments: list[object]
) -> None:
    request = await environment.request("simple")
    await request.asks()
    await request.handle.signal(COMMAND_SIGNAL, args=arguments)
    await request.reaches("refused")
    await request.send(decision(ALICE))
    assert (await request.outcome()).source is Source.HUMAN


async def test_a_signal_by_another_name_is_refused_whatever_it_carries(
    environment: ApprovalEnvironment,
) -> None:
    request = await environment.request("simple")
    await request.asks()
    await request.handle.signal("approve", decision(ALICE))
    await request.reaches("refused")
    assert request.only(Refused).reason is ErrorReason.UNDECODABLE
    await request.send(cancellation())
    assert (await request.outcome()).state is State.CANCELLED


async def test_the_same_bytes_are_refused_once(environment: ApprovalEnvironment) -> None:
    request = await environment.request("simple")
    await request.asks()
    for _ in range(3):
        await request.send(UNREADABLE["no JSON"])
    await request.reaches("refused")
    await request.send(decision(ALICE))
    await request.outcome()
    assert request.path.count("refused") == 1


async def test_a_decision_sent_three_times_counts_once(environment: ApprovalEnvironment) -> None:
    request = await environment.request("simple")
    await request.asks()
    refused = decision(BOB)
    for _ in range(3):
        await request.send(refused)
    await request.reaches("refused")
    effective = decision(ALICE)
    for _ in range(3):
        await request.send(effective)
    await request.outcome()
    assert (request.path.count("refused"), request.path.count("voted")) == (1, 1)


async def test_another_verdict_under_the_same_id_does_nothing(environment: ApprovalEnvironment) -> None:
    request = await environment.request("simple")
    await request.asks()
    first = decision(ALICE)
    again = decision(ALICE, Verdict.REJECT, reason="changed my mind", command_id=first.id)
    await request.send(first)
    await request.send(again)
    assert (await request.outcome()).state is State.APPROVED
    assert "refused" not in request.path


async def test_fifty_commands_at_once_are_processed_once_each_and_one_wins(
    environment: ApprovalEnvironment,
) -> None:
    environment.services.notify = never_telling_the_asked
    commands = [decision(ALICE, Verdict.APPROVE if number % 2 else Verdict.REJECT) for number in range(50)]
    request = await environment.request("simple", commands=commands)
    outcome = await request.outcome()
    assert outcome.state is State.REJECTED
    caused = Counter(event.cause_id for event in request.events if event.command_digest)
    assert caused == {command.id: 3 if command is commands[0] else 1 for command in commands}
    refusals = request.all_of(Refused)
    assert len(refusals) == 49
    assert {refused.reason for refused in refusals} == {ErrorReason.CLOSED}
    assert {refused.message for refused in refusals} == {f"The request is closed: rejected by {ALICE}"}


async def test_fifty_commands_while_no_worker_ran_are_processed_once_each_in_two_appends(
    skipping_server: WorkflowEnvironment,
) -> None:
    services = Services()
    commands = [decision(BOB) for _ in range(50)]
    async with running_environment(skipping_server, services, default=False) as environment:
        request = await environment.request("simple", commands=commands)
        async with default_worker(skipping_server.client, services):
            await request.reaches("refused", times=50)
    assert [attempt.expected_next for attempt in services.log.attempts] == [2, 44]
    assert [event.cause_id for event in request.events if event.command_digest] == [
        command.id for command in commands
    ]


async def test_each_refusal_reaches_the_log_with_its_reason(environment: ApprovalEnvironment) -> None:
    request = await environment.request("escalating")
    await request.asks()
    sent = {
        decision(BOB): ErrorReason.NOT_ASKED,
        decision(REQUESTER): ErrorReason.SELF_APPROVAL,
        decision(ALICE, content_digest="c1" * 32): ErrorReason.CONTENT_CHANGED,
        decision(ALICE, policy_digest="d0" * 32): ErrorReason.POLICY_CHANGED,
        decision(ALICE, rendering="text/0"): ErrorReason.RENDERING_CHANGED,
        decision(ALICE, Verdict.REJECT, reason=" "): ErrorReason.REASON_REQUIRED,
        cancellation(ALICE): ErrorReason.NOT_REQUESTER,
    }
    for command in sent:
        await request.send(command)
    await request.reaches("refused", times=len(sent))
    by_cause = {event.cause_id: event.body for event in request.events if isinstance(event.body, Refused)}
    assert {command.id: by_cause[command.id].reason for command in sent} == {
        command.id: reason for command, reason in sent.items()
    }


async def test_a_decision_is_bound_to_content_policy_and_rendering_and_the_log_holds_all_of_it(
    environment: ApprovalEnvironment,
) -> None:
    policy = shipped_policy("simple")
    request = await environment.request("simple")
    await request.asks()
    bound = decision(ALICE, policy_digest=policy.digest(), rendering=RENDERING)
    for changed in ({"content_digest": "c1" * 32}, {"policy_digest": "d0" * 32}, {"rendering": "text/0"}):
        await request.send(bound.model_copy(update={"id": f"with {changed}", **changed}))
    await request.send(bound.model_copy(update={"id": "by another", "actor": person(BOB)}))
    await request.reaches("refused", times=4)
    await request.send(bound.model_copy(update={"id": "by another"}))
    await request.send(bound)
    assert (await request.outcome()).state is State.APPROVED
    assert request.path.count("refused") == 4
    (stored,) = [event for event in request.events if isinstance(event.body, Voted)]
    assert (stored.cause_id, stored.command_digest) == (bound.id, bound.digest())
    assert stored.actor == person(ALICE)
    assert stored.body == Voted(
        tier=1,
        verdict=Verdict.APPROVE,
        content_digest=CONTENT,
        reason="looks right",
        policy_version=policy.version,
        policy_digest=policy.digest(),
        rendering=RENDERING,
    )


async def test_a_command_enqueued_before_the_timer_wins(environment: ApprovalEnvironment) -> None:
    """The log does not answer while both happen; the decision came first, and is not late."""
    request = await environment.request("business-timeouts")
    await request.asks()
    environment.services.log.refuse = 3
    await request.send(decision(ALICE))
    outcome = await request.outcome()
    assert outcome.source is Source.HUMAN
    assert "timed_out" not in request.path


async def test_a_decision_after_the_close_is_refused_while_the_requester_is_being_told(
    environment: ApprovalEnvironment,
) -> None:
    telling = told_late(environment)
    request = await environment.request("simple")
    await request.asks()
    await request.send(decision(ALICE))
    await request.reaches("closed")
    await request.send(decision(ALICE, Verdict.REJECT, reason="wait, no"))
    await request.reaches("refused")
    assert request.only(Refused).message == f"The request is closed: approved by {ALICE}"
    telling.set()
    assert (await request.outcome()).state is State.APPROVED


@pytest.mark.parametrize("how", ["unsigned", "of another request"])
async def test_a_forged_command_has_no_effect_and_delays_nobody(
    environment: ApprovalEnvironment, how: str
) -> None:
    request = await environment.request("simple")
    await request.asks()
    forged = decision(ALICE)
    if how == "unsigned":
        forged = forged.model_copy(update={"attestation": None})
    for _ in range(2):
        # As it is: the environment would sign it for this request.
        await request.handle.signal(COMMAND_SIGNAL, forged)
    await request.reaches("refused")
    assert request.only(Refused).reason is ErrorReason.UNDECODABLE
    assert "paused" not in request.path
    own = decision(ALICE, Verdict.REJECT, reason="no")
    await request.send(own)
    assert (await request.outcome()).state is State.REJECTED
    (voted,) = [event for event in request.events if isinstance(event.body, Voted)]
    assert voted.cause_id == own.id


async def test_who_cancels_the_workflow_in_temporal_decides_nothing(environment: ApprovalEnvironment) -> None:
    request = await environment.request("simple")
    await request.handle.cancel()
    await request.asks()
    await request.send(decision(ALICE))
    assert (await request.outcome()).state is State.APPROVED
    described = await request.handle.describe()
    assert described.status is WorkflowExecutionStatus.COMPLETED


async def test_a_workflow_cancelled_while_the_log_answers_keeps_what_it_appends(
    environment: ApprovalEnvironment,
) -> None:
    request = await environment.request("simple")
    await request.asks()
    environment.services.log.open.clear()
    await request.send(decision(ALICE))
    await until(lambda: len(environment.services.log.attempts) >= 2)
    await request.handle.cancel()
    environment.services.log.open.set()
    assert (await request.outcome()).approver == ALICE
    assert request.path.count("voted") == 1


async def test_the_status_says_where_it_stands(environment: ApprovalEnvironment) -> None:
    telling = told_late(environment)
    request = await environment.request("escalating")
    await request.asks()
    asked = await request.handle.query("get_status", result_type=Status)
    assert (asked.workflow_id, asked.state, asked.tier) == (request.id, State.PENDING, 1)
    assert (asked.has_decision, asked.waiting_for_approval, asked.unprocessed_commands) == (False, True, 0)
    await request.send(decision(ALICE))
    await request.reaches("closed")
    decided = await request.handle.query("get_status", result_type=Status)
    assert (decided.state, decided.has_decision, decided.waiting_for_approval) == (
        State.APPROVED,
        True,
        False,
    )
    telling.set()
    await request.outcome()


def told_late(environment: ApprovalEnvironment) -> asyncio.Event:
    """Outcomes are told only once the event is set."""
    telling = asyncio.Event()

    async def notify(request: NotifyInput) -> NotifyResult:
        if request.tier is None:
            await telling.wait()
        return await delivering(request)

    environment.services.notify = notify
    return telling
