"""Commands: each refusal is typed, each effect returned once, and no effective command gets an error."""

from __future__ import annotations

import asyncio
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from placet.approval.v1 import approval_pb2
from placet.event.v1 import error_reason_pb2, event_pb2
from placet_rpc.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    PlacetError,
)

if TYPE_CHECKING:
    from services.approval.tests.conftest import Platform

pytestmark = pytest.mark.integration

CALLER, ALICE, BOB, MALLORY = "ci@example.com", "alice@example.com", "bob@example.com", "mallory@example.com"
HOME, ABROAD = "home", "abroad"
EFFECTIVE = approval_pb2.COMMAND_STATUS_EFFECTIVE
ACCEPTED = approval_pb2.COMMAND_STATUS_ACCEPTED
REFUSED = approval_pb2.COMMAND_STATUS_REFUSED
REJECT = event_pb2.VERDICT_REJECT


async def refusal(platform: Platform, approval_id: str, by: str = ALICE, **fields: Any) -> PlacetError:
    """The refusal of a decision, which reached no workflow."""
    before = len(platform.workflows.commands)
    with pytest.raises(PlacetError) as raised:
        await platform.decide(approval_id, by, **fields)
    assert len(platform.workflows.commands) == before
    return raised.value


@pytest.mark.parametrize(
    ("verdict", "state"),
    [
        (event_pb2.VERDICT_APPROVE, event_pb2.STATE_APPROVED),
        (event_pb2.VERDICT_REJECT, event_pb2.STATE_REJECTED),
    ],
)
async def test_a_decision_is_effective_and_the_next_read_shows_it(
    either_platform: Platform, verdict: event_pb2.Verdict.ValueType, state: event_pb2.State.ValueType
) -> None:
    platform = either_platform
    approval_id = await platform.request()

    answer = await platform.decide(approval_id, verdict=verdict)

    assert (answer.status, answer.state) == (EFFECTIVE, state)
    approval = await platform.get(approval_id)
    assert (approval.state, approval.outcome.approver, approval.outcome.reasoning) == (state, ALICE, "fine")
    assert approval.log_index == answer.log_index
    assert [stored.entry.event.WhichOneof("body") for stored in approval.path[-3:]] == [
        "voted",
        "decided",
        "closed",
    ]


async def test_the_same_decision_again_gets_the_same_answer(platform: Platform) -> None:
    approval_id, command_id = await platform.request(), str(uuid.uuid4())
    first = await platform.decide(approval_id, command_id=command_id)

    assert await platform.decide(approval_id, command_id=command_id) == first
    assert await platform.decide(approval_id.upper(), command_id=command_id.upper()) == first
    assert len(platform.workflows.commands) == 1
    command = await platform.command_result(approval_id, command_id)
    assert (command.status, command.log_index) == (EFFECTIVE, first.log_index)


@pytest.mark.parametrize(
    "changed", [{"verdict": REJECT}, {"reason": "other"}, {"by": BOB}], ids=["verdict", "reason", "person"]
)
async def test_a_decisions_id_is_not_good_for_another_one(
    platform: Platform, changed: dict[str, Any]
) -> None:
    approval_id, command_id = await platform.request(), str(uuid.uuid4())
    await platform.decide(approval_id, command_id=command_id)

    error = await refusal(platform, approval_id, command_id=command_id, **changed)

    assert isinstance(error, AlreadyExists)
    assert (error.reason, error.metadata) == ("ID_REUSED", {"command_id": command_id})


async def test_who_was_not_asked_cannot_decide_and_it_is_recorded(platform: Platform) -> None:
    approval_id = await platform.request()

    error = await refusal(platform, approval_id, MALLORY)

    assert isinstance(error, PermissionDenied)
    assert (error.reason, error.metadata) == ("NOT_ASKED", {"approval_id": approval_id})

    async def recorded() -> list[event_pb2.LogEntry]:
        return [one for one in await platform.audit.events(HOME) if not one.entry.approval_id]

    (stored,) = await platform.until(recorded)
    assert stored.entry.event.actor.name.value == MALLORY
    assert stored.entry.event.access_refused.approval_id == approval_id
    assert stored.entry.event.access_refused.reason == "NOT_ASKED"


async def test_who_asked_cannot_decide(platform: Platform) -> None:
    error = await refusal(platform, await platform.request(), CALLER)

    assert isinstance(error, PermissionDenied)
    assert (error.reason, error.metadata) == ("SELF_APPROVAL", {"requester": CALLER})


async def test_other_content_is_another_decision(platform: Platform) -> None:
    approval_id = await platform.request()

    error = await refusal(platform, approval_id, content_digest=b"x" * 32)

    assert isinstance(error, FailedPrecondition)
    digest = (await platform.get(approval_id)).content_digest.hex()
    assert (error.reason, error.metadata) == ("CONTENT_CHANGED", {"content_digest": digest})


async def test_a_rejection_needs_a_reason(platform: Platform) -> None:
    error = await refusal(platform, await platform.request(), verdict=REJECT, reason="")

    assert isinstance(error, InvalidArgument)
    assert error.reason == "REASON_REQUIRED"
    assert [violation.field for violation in error.violations] == ["reason"]


async def test_the_second_decision_is_refused_with_the_outcome(platform: Platform) -> None:
    approval_id = await platform.request()
    await platform.decide(approval_id)

    error = await refusal(platform, approval_id, verdict=REJECT)

    assert isinstance(error, FailedPrecondition)
    assert (error.reason, error.metadata) == ("CLOSED", {"state": "APPROVED", "approver": ALICE})


async def test_a_stranger_does_not_get_the_outcome(platform: Platform) -> None:
    approval_id = await platform.request()
    await platform.decide(approval_id)

    decision = await refusal(platform, approval_id, MALLORY)
    with pytest.raises(PermissionDenied) as cancel:
        await (await platform.as_(MALLORY)).CancelApproval(platform.cancelling(approval_id))

    assert (decision.reason, cancel.value.reason) == ("NOT_ASKED", "NOT_REQUESTER")
    assert "approver" not in decision.metadata | cancel.value.metadata
    assert ALICE not in decision.message + cancel.value.message


@pytest.mark.parametrize("tenant", [HOME, ABROAD])
async def test_a_request_that_is_not_there_is_unknown(platform: Platform, tenant: str) -> None:
    elsewhere = await platform.request(tenant=ABROAD if tenant == HOME else HOME)
    for approval_id in (elsewhere, str(uuid.uuid4())):
        with pytest.raises(NotFound) as raised:
            await (await platform.as_(ALICE, tenant=tenant)).SubmitDecision(platform.deciding(approval_id))
        assert raised.value.reason == "UNKNOWN_APPROVAL"


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"approval_id": "4711"}, "approval_id"),
        ({"command_id": "4711"}, "command_id"),
        ({"content_digest": b"short"}, "content_digest"),
        ({"verdict": event_pb2.VERDICT_UNSPECIFIED}, "approval.verdict"),
        ({"approval": None}, "answer"),
        ({"reason": "a" * 4001}, "reason"),
        ({"reason": "nul\0"}, "reason"),
        ({"reason": " \n"}, "reason"),
        ({"reason": "\u200b", "verdict": REJECT}, "reason"),
    ],
)
async def test_what_is_wrong_with_a_decision_is_said_by_field(
    platform: Platform, changes: dict[str, Any], field: str
) -> None:
    alice = await platform.as_(ALICE)

    with pytest.raises(InvalidArgument) as raised:
        await alice.SubmitDecision(platform.deciding(**{"approval_id": str(uuid.uuid4()), **changes}))

    assert [violation.field for violation in raised.value.violations] == [field]


async def test_the_requester_and_operators_may_cancel_and_nobody_else(platform: Platform) -> None:
    own, operators = await platform.request(), await platform.request()
    with pytest.raises(PermissionDenied) as raised:
        await (await platform.as_(ALICE)).CancelApproval(platform.cancelling(own))
    assert (raised.value.reason, raised.value.metadata) == ("NOT_REQUESTER", {"approval_id": own})

    answer = await (await platform.as_(CALLER)).CancelApproval(platform.cancelling(own))
    await (await platform.as_("op@example.com", "operator")).CancelApproval(platform.cancelling(operators))

    assert (answer.result.status, answer.result.state) == (EFFECTIVE, event_pb2.STATE_CANCELLED)
    outcome = (await platform.get(operators)).outcome
    assert (outcome.state, outcome.approver) == (event_pb2.STATE_CANCELLED, "op@example.com")


async def test_without_a_worker_a_decision_is_accepted_and_processed_later(hasty: Platform) -> None:
    platform = hasty
    approval_id, command_id = await platform.request(), str(uuid.uuid4())
    platform.workflows.working = False

    answer = await platform.decide(approval_id, command_id=command_id)

    assert (answer.status, answer.log_index) == (ACCEPTED, 0)
    assert (await platform.command_result(approval_id, command_id)).status == ACCEPTED
    await platform.workflows.work()
    answer = await platform.decide(approval_id, command_id=command_id)
    assert (answer.status, answer.state) == (EFFECTIVE, event_pb2.STATE_APPROVED)
    assert (await platform.command_result(approval_id, command_id)).status == EFFECTIVE


async def test_a_command_that_is_durable_is_not_signalled_again(hasty: Platform) -> None:
    platform = hasty
    approval_id, command_id = await platform.request(), str(uuid.uuid4())
    platform.workflows.working = False

    for _ in range(3):
        assert (await platform.decide(approval_id, command_id=command_id)).status == ACCEPTED

    assert len(platform.workflows.commands) == 1


async def test_the_id_of_an_accepted_command_is_taken(hasty: Platform) -> None:
    platform = hasty
    approval_id, command_id = await platform.request(), str(uuid.uuid4())
    platform.workflows.working = False
    await platform.decide(approval_id, command_id=command_id)

    error = await refusal(platform, approval_id, command_id=command_id, verdict=REJECT)

    assert (type(error), error.reason) == (AlreadyExists, "ID_REUSED")


async def test_an_impatient_caller_is_answered_within_their_time(platform: Platform) -> None:
    approval_id = await platform.request()
    platform.workflows.working = False
    alice = await platform.as_(ALICE)

    answer = await alice.SubmitDecision(platform.deciding(approval_id), timeout=0.7)

    assert answer.result.status == ACCEPTED


async def has_commands(platform: Platform, number: int) -> bool:
    return len(platform.workflows.commands) == number


async def test_a_late_accepted_decision_is_refused_with_the_one_that_won(platform: Platform) -> None:
    approval_id = await platform.request(policy="escalating")
    await platform.escalate(approval_id)
    platform.workflows.working = False
    first, second = str(uuid.uuid4()), str(uuid.uuid4())
    alice = asyncio.create_task(platform.decide(approval_id, command_id=first))
    await platform.until(lambda: has_commands(platform, 1))
    bob = asyncio.create_task(platform.decide(approval_id, BOB, command_id=second, verdict=REJECT))
    await platform.until(lambda: has_commands(platform, 2))

    await platform.workflows.work()

    assert (await alice).status == EFFECTIVE
    with pytest.raises(FailedPrecondition) as raised:
        await bob
    assert (raised.value.reason, raised.value.metadata) == (
        "CLOSED",
        {"state": "APPROVED", "approver": ALICE},
    )
    command = await platform.command_result(approval_id, second, BOB)
    assert (command.status, command.refusal) == (REFUSED, error_reason_pb2.ERROR_REASON_CLOSED)
    assert "approved by alice@example.com" in command.message
    path = await platform.audit.events(HOME, approval_id)
    assert [one.index for one in path if one.entry.event.HasField("refused")] == [command.log_index]


async def test_a_decision_before_anybody_is_asked_waits_for_the_log(platform: Platform) -> None:
    platform.workflows.working = False
    stub = await platform.as_(CALLER)
    approval_id = (await stub.RequestApproval(platform.asking(policy="escalating"))).approval_id
    deciding = asyncio.create_task(platform.decide(approval_id))

    async def signalled() -> bool:
        return bool(platform.workflows.commands)

    # The workflow meets it after it asked.
    await platform.until(signalled)
    await platform.workflows.work()

    answer = await deciding

    assert (answer.status, answer.state) == (EFFECTIVE, event_pb2.STATE_APPROVED)
    assert not [one for one in await platform.audit.events(HOME) if not one.entry.approval_id]


async def test_a_stranger_is_refused_before_anybody_is_asked(platform: Platform) -> None:
    platform.workflows.working = False
    stub = await platform.as_(CALLER)
    approval_id = (await stub.RequestApproval(platform.asking(policy="escalating"))).approval_id

    error = await refusal(platform, approval_id, MALLORY)

    assert error.reason == "NOT_ASKED"
