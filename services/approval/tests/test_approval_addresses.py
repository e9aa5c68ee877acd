"""A person is one, however their address is written: who was asked may decide, and four eyes are four."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import pytest

from placet.approval.v1 import approval_pb2, approval_service_pb2
from placet_rpc.errors import InvalidArgument, PermissionDenied

if TYPE_CHECKING:
    from services.approval.tests.conftest import Platform

pytestmark = pytest.mark.integration

CALLER, ALICE = "ci@example.com", "alice@example.com"


@pytest.mark.parametrize(
    ("asked", "decides"), [("Alice@Example.com", ALICE), (ALICE, "Alice@Example.com"), (ALICE, f" {ALICE} ")]
)
async def test_an_approver_decides_and_finds_a_request_by_any_spelling_of_their_address(
    platform: Platform, asked: str, decides: str
) -> None:
    approval_id = await platform.request(required_approver=asked)
    approver = await platform.as_(decides, "approver")
    waiting = approval_service_pb2.ListApprovalsRequest(
        filter=approval_service_pb2.ApprovalFilter(waiting_for_me=True)
    )

    listed = await approver.ListApprovals(waiting)
    answer = await approver.SubmitDecision(platform.deciding(approval_id))

    assert [one.approval_id for one in listed.approvals] == [approval_id]
    assert answer.result.status == approval_pb2.COMMAND_STATUS_EFFECTIVE
    assert (await platform.get(approval_id)).outcome.approver == ALICE


async def test_the_requester_cannot_approve_by_another_spelling(platform: Platform) -> None:
    shouting = await platform.as_(CALLER.upper())
    with pytest.raises(InvalidArgument) as raised:
        await (await platform.as_(CALLER)).RequestApproval(platform.asking(required_approver=CALLER.title()))
    assert [one.field for one in raised.value.violations] == ["assignments[0].people[0]"]
    approval_id = await platform.request(required_approver=ALICE)

    with pytest.raises(PermissionDenied) as refused:
        await shouting.SubmitDecision(platform.deciding(approval_id))

    assert refused.value.reason == "SELF_APPROVAL"


async def test_the_same_request_by_another_spelling_is_the_same_request(platform: Platform) -> None:
    request_id = str(uuid.uuid4())
    first, second = await platform.as_(CALLER), await platform.as_(CALLER.upper())

    accepted = await first.RequestApproval(platform.asking(request_id=request_id, required_approver=ALICE))
    again = await second.RequestApproval(
        platform.asking(request_id=request_id, required_approver=ALICE.upper())
    )

    assert again == accepted
    assert (await platform.get(accepted.approval_id)).requester == CALLER
