"""Erasure: permission, retention, and visibility afterwards."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from google.protobuf.json_format import MessageToDict

from placet.approval.v1 import approval_pb2, approval_service_pb2
from placet.audit.v1 import audit_service_pb2
from placet.audit.v1.audit_service_pb2_grpc import AuditServiceStub
from placet.event.v1 import event_pb2
from placet_domain.commands import CancelCommand
from placet_domain.events import Actor, ActorKind, ErrorReason, Event, Refused
from placet_proof import Proven, VerifierKey, verify_receipt
from placet_rpc.client import channel
from placet_rpc.errors import FailedPrecondition, InvalidArgument, NotFound, PermissionDenied, PlacetError
from placet_rpc.identity import PROGRAMS, acting_for
from placet_rpc.tokens.mint import SigningKey, mint
from placet_testing.attestation import attested
from placet_testing.tokens import StaticToken

if TYPE_CHECKING:
    from pathlib import Path

    from services.approval.tests.conftest import OpenPlatform, Platform

pytestmark = pytest.mark.integration

CALLER, ALICE, BOB, OPERATOR = "ci@example.com", "alice@example.com", "bob@example.com", "op@example.com"
HOME, ABROAD = "home", "abroad"
WORDS = ("Release the payment", CALLER, ALICE, BOB, "looks right", "crimson")


async def closed(platform: Platform, tenant: str = HOME, **fields: Any) -> str:
    """A request that Alice approved."""
    approval_id = await platform.request(tenant=tenant, labels={"team": "crimson"}, **fields)
    alice = await platform.as_(ALICE, tenant=tenant)
    await alice.SubmitDecision(platform.deciding(approval_id, reason="looks right"))
    return approval_id


async def erase(
    platform: Platform,
    approval_id: str,
    *roles: str,
    subject: str = OPERATOR,
    tenant: str = HOME,
    before_retention: bool = True,
) -> approval_service_pb2.EraseApprovalResponse:
    request = approval_service_pb2.EraseApprovalRequest(
        approval_id=approval_id, reason="she asked for it", before_retention=before_retention
    )
    stub = await platform.as_(subject, *(roles or ("operator",)), tenant=tenant)
    return await stub.EraseApproval(request)


async def get(
    platform: Platform, approval_id: str, subject: str = OPERATOR, *roles: str, min_log_index: int = 0
) -> approval_pb2.Approval:
    stub = await platform.as_(subject, *(roles or ("operator",)))
    request = approval_service_pb2.GetApprovalRequest(approval_id=approval_id, min_log_index=min_log_index)
    return (await stub.GetApproval(request)).approval


async def erasures(platform: Platform, tenant: str = HOME) -> list[event_pb2.Event]:
    found = [stored.entry.event for stored in await platform.audit.events(tenant)]
    return [event for event in found if event.HasField("erased")]


# Permission and retention.


async def test_what_is_not_there_cannot_be_erased(platform: Platform) -> None:
    with pytest.raises(NotFound) as refused:
        await erase(platform, str(uuid.uuid4()))
    assert refused.value.reason == "UNKNOWN_APPROVAL"


async def test_an_open_request_cannot_be_erased(platform: Platform) -> None:
    approval_id = await platform.request()
    with pytest.raises(FailedPrecondition) as refused:
        await erase(platform, approval_id)
    assert refused.value.reason == "NOT_CLOSED"
    assert await erasures(platform) == []
    assert (await platform.get(approval_id)).title == "Release the payment"


async def test_a_request_is_kept_for_half_a_year_unless_the_call_says_so(platform: Platform) -> None:
    approval_id = await closed(platform)

    with pytest.raises(FailedPrecondition) as refused:
        await erase(platform, approval_id, before_retention=False)

    assert refused.value.reason == "RETAINED"
    until = datetime.fromisoformat(refused.value.metadata["until"])
    assert abs(until - datetime.now(UTC) - timedelta(days=184)) < timedelta(minutes=5)
    assert await erasures(platform) == []
    assert (await erase(platform, approval_id, before_retention=True)).values > 0


@pytest.mark.parametrize("reason", ["", "  ", "\u2060"])
async def test_an_erasure_says_why(platform: Platform, reason: str) -> None:
    stub = await platform.as_(OPERATOR, "operator")
    with pytest.raises(InvalidArgument):
        await stub.EraseApproval(
            approval_service_pb2.EraseApprovalRequest(approval_id=str(uuid.uuid4()), reason=reason)
        )


@pytest.mark.parametrize(
    ("subject", "roles"),
    [
        (CALLER, ("requester",)),
        (ALICE, ("approver",)),
        ("auditor@example.com", ("auditor",)),
    ],
)
async def test_only_an_operator_erases(platform: Platform, subject: str, roles: tuple[str, ...]) -> None:
    approval_id = await closed(platform)
    with pytest.raises(PermissionDenied):
        await erase(platform, approval_id, *roles, subject=subject)
    assert await erasures(platform) == []


async def test_no_program_erases_not_even_approval_that_asks_the_log_for_it(platform: Platform) -> None:
    approval_id = await closed(platform)
    request = approval_service_pb2.EraseApprovalRequest(
        approval_id=approval_id, reason="she asked for it", before_retention=True
    )
    for program in sorted(PROGRAMS):
        with acting_for(HOME), pytest.raises(PermissionDenied):
            await (await platform.as_program(program)).EraseApproval(request)
    assert await erasures(platform) == []


async def test_an_operator_of_another_tenant_erases_nothing(platform: Platform) -> None:
    approval_id = await closed(platform)
    await closed(platform, tenant=ABROAD)
    with pytest.raises(NotFound):
        await erase(platform, approval_id, tenant=ABROAD)
    assert await erasures(platform) == await erasures(platform, ABROAD) == []
    assert (await get(platform, approval_id)).title == "Release the payment"


# Remaining values.


async def test_after_an_erasure_no_answer_holds_erased_values(either_platform: Platform) -> None:
    platform = either_platform
    approval_id, other = await closed(platform, subject_id="order-1"), await closed(platform)
    before = await get(platform, approval_id)

    answer = await erase(platform, approval_id)

    after = await get(platform, approval_id, min_log_index=answer.log_index)
    for word in WORDS:
        assert word.encode() not in after.SerializeToString(), word
    # Outcome, times, policy and digests stay.
    for field in (
        "approval_id",
        "state",
        "subject_id",
        "policy_digest",
        "content_digest",
        "create_time",
        "last_number",
    ):
        assert getattr(after, field) == getattr(before, field)
    assert after.outcome.source == event_pb2.SOURCE_HUMAN
    assert [one.index for one in after.path] == [one.index for one in before.path]
    erasure = after.erasure
    assert (erasure.eraser, erasure.reason) == (OPERATOR, "she asked for it")
    assert (erasure.values, erasure.log_index) == (answer.values, answer.log_index)
    assert answer.values == sum(values_of(one.entry.event) for one in before.path)
    assert (await get(platform, other)).outcome.reasoning == "looks right"
    listed = await (await platform.as_(OPERATOR, "operator")).ListApprovals(
        approval_service_pb2.ListApprovalsRequest()
    )
    assert {one.approval_id: one.title for one in listed.approvals} == {
        approval_id: "",
        other: "Release the payment",
    }


def values_of(message: Any) -> int:
    """Number of erasable values in a message. Any: of whatever type."""
    found = 0
    for field, value in message.ListFields():
        if field.message_type is not None:
            for one in value if field.is_repeated else (value,):
                erasable = isinstance(one, event_pb2.Erasable)
                found += bool(one.value) if erasable else values_of(one)
    return found


async def test_then_only_those_see_the_request_who_see_all(platform: Platform) -> None:
    approval_id = await closed(platform)
    await erase(platform, approval_id)
    for subject, role in ((CALLER, "requester"), (ALICE, "approver"), (BOB, "approver")):
        with pytest.raises(NotFound):
            await get(platform, approval_id, subject, role)
        listed = await (await platform.as_(subject, role)).ListApprovals(
            approval_service_pb2.ListApprovalsRequest()
        )
        assert list(listed.approvals) == []
    assert (await get(platform, approval_id, "auditor@example.com", "auditor")).HasField("erasure")


async def test_erased_content_is_not_found_with_time_and_eraser_for_those_who_see_all(
    either_platform: Platform,
) -> None:
    platform = either_platform
    approval_id = await closed(platform)
    approval = await get(platform, approval_id)
    request = approval_service_pb2.GetContentRequest(
        approval_id=approval_id, content_digest=approval.content_digest
    )
    await erase(platform, approval_id)

    with pytest.raises(NotFound) as refused:
        await (await platform.as_(OPERATOR, "operator")).GetContent(request)
    assert refused.value.reason == "ERASED"
    assert f"by {OPERATOR}: she asked for it" in refused.value.message
    assert f"erased on {datetime.now(UTC):%Y-%m-}" in refused.value.message

    with pytest.raises(NotFound) as refused:
        await (await platform.as_(CALLER, "requester")).GetContent(request)
    assert refused.value.reason == "UNKNOWN_APPROVAL"


async def test_erasing_twice_is_one_entry(either_platform: Platform) -> None:
    approval_id = await closed(either_platform)
    first = await erase(either_platform, approval_id)
    assert await erase(either_platform, approval_id) == first
    (event,) = await erasures(either_platform)
    assert event.actor.kind == event_pb2.ACTOR_KIND_PERSON
    assert event.actor.name.value == OPERATOR
    assert event.erased.approval_id == approval_id


async def proven(platform: Platform, approval_id: str) -> Proven:
    """The request's receipt, verified as somebody does who knows the log's key."""
    token = mint(SigningKey.load(platform.keys.private_key), OPERATOR, HOME, ["operator"], 60)
    async with channel(platform.audit.address, StaticToken(token)) as opened:
        request = audit_service_pb2.GetReceiptRequest(approval_id=approval_id)
        receipt = (await AuditServiceStub(opened).GetReceipt(request)).receipt
    keys = [VerifierKey.parse(key) for key in (*receipt.keys, *receipt.attestation_keys)]
    return verify_receipt(MessageToDict(receipt), keys)


async def test_every_proof_holds_before_and_after(
    open_platform: OpenPlatform, tmp_path: Path, database_url: str
) -> None:
    platform = await open_platform(f"sqlite:///{tmp_path / 'own.db'}", database_url)
    await platform.serve()
    approval_id = await closed(platform)
    before = await proven(platform, approval_id)
    assert before.erased_at is None
    assert sum(len(one.values) for one in before.entries) > 0

    answer = await erase(platform, approval_id)

    after = await proven(platform, approval_id)
    assert after.erased_at == answer.log_index
    own = [one for one in after.entries if one.leaf.approval_id]
    assert [one.bytes for one in own] == [one.bytes for one in before.entries]
    assert all(not one.values for one in own)
    assert [one.withheld for one in own] == [tuple(one.leaf.commitments) for one in own]


# Events after the erasure.


async def test_who_asks_the_same_again_gets_the_same_request_and_nothing_is_kept_of_it(
    platform: Platform,
) -> None:
    request_id = str(uuid.uuid4())
    approval_id = await closed(platform, request_id=request_id)
    await erase(platform, approval_id)
    starts = platform.workflows.starts.copy()

    again = await (await platform.as_(CALLER)).RequestApproval(
        platform.asking(request_id=request_id, labels={"team": "crimson"})
    )

    assert again.approval_id == approval_id
    assert platform.workflows.starts == starts
    approval = await get(platform, approval_id)
    assert (approval.title, dict(approval.labels)) == ("", {})
    with pytest.raises(NotFound):
        await (await platform.as_(OPERATOR, "operator")).GetContent(
            approval_service_pb2.GetContentRequest(
                approval_id=approval_id, content_digest=again.content_digest
            )
        )


async def test_a_command_to_an_erased_request_is_refused_in_words_of_nobody(platform: Platform) -> None:
    approval_id = await closed(platform)
    await erase(platform, approval_id)
    with pytest.raises(PlacetError) as refused:
        await (await platform.as_(BOB)).SubmitDecision(platform.deciding(approval_id))
    assert ALICE not in f"{refused.value} {refused.value.metadata}"
    with pytest.raises(FailedPrecondition) as told:
        await (await platform.as_(OPERATOR, "operator")).CancelApproval(
            approval_service_pb2.CancelApprovalRequest(approval_id=approval_id, command_id=str(uuid.uuid4()))
        )
    assert (told.value.reason, told.value.metadata["approver"]) == ("CLOSED", "")


def late(approval_id: str, message: str) -> Event:
    """A command that was on its way when its request was closed, and is refused then."""
    sent = CancelCommand(id=str(uuid.uuid4()), actor=Actor(kind=ActorKind.PERSON, name=BOB))
    return Event(
        time=datetime.now(UTC),
        actor=sent.actor,
        cause_id=sent.id,
        command_digest="ab" * 32,
        attestation=attested(sent, HOME, approval_id).attestation,
        body=Refused(command="cancel", reason=ErrorReason.CLOSED, message=message),
    )


async def test_what_is_said_after_an_erasure_can_be_erased_too(platform: Platform) -> None:
    approval_id = await closed(platform)
    first = await erase(platform, approval_id)
    await platform.workflows.happen(approval_id, late(approval_id, "Bob said it late"))

    async def told() -> bool:
        path = (await get(platform, approval_id)).path
        return path[-1].entry.event.refused.message.value == "Bob said it late"

    await platform.until(told)
    assert (await get(platform, approval_id)).erasure.log_index == first.log_index

    second = await erase(platform, approval_id)

    approval = await get(platform, approval_id, min_log_index=second.log_index)
    assert second.log_index > first.log_index
    assert (second.values, approval.erasure.log_index) == (2, second.log_index)
    assert b"Bob said" not in approval.SerializeToString()


async def test_a_watch_sends_an_erasure_and_no_values_from_before_it(
    platform: Platform,
) -> None:
    approval_id = await closed(platform)
    answer = await erase(platform, approval_id)

    for from_index in (answer.log_index, 0):
        seen = [one async for one in watched(platform, OPERATOR, "operator", from_index=from_index)]
        assert seen[-1].entry.entry.event.HasField("erased")
        assert seen[-1].approval.approval_id == approval_id
        assert seen[-1].approval.erasure.log_index == answer.log_index
        said = b"".join(one.SerializeToString() for one in seen)
        assert [word for word in WORDS if word.encode() in said] == []
    assert [one async for one in watched(platform, CALLER, "requester", from_index=0)] == []


async def watched(platform: Platform, subject: str, *roles: str, from_index: int) -> Any:
    """The responses of a watch until it has caught up. Any: an asynchronous iterator of its answers."""
    stub = await platform.as_(subject, *roles)
    call = stub.WatchApprovals(approval_service_pb2.WatchApprovalsRequest(from_log_index=from_index))
    try:
        async for response in call:
            if not response.HasField("entry"):
                return
            yield response
    finally:
        call.cancel()
