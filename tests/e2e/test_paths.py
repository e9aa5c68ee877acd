"""The same workflow that the path tests play runs on the real server, through all services and workers."""

from __future__ import annotations

import asyncio
import uuid
from functools import partial

import pytest

from placet.approval.v1 import approval_pb2, approval_service_pb2
from placet.event.v1 import event_pb2
from placet_devstack.mail_sink import read_mails
from placet_testing.conditions import SOON, until
from placet_testing.stack import ALICE, BOB, CALLER, Stack

pytestmark = pytest.mark.integration

HARMLESS = approval_pb2.Content(
    body=b"Monday: lentil soup with bread. Tuesday: baked potatoes.", media_type="text/plain"
)


async def kinds(stack: Stack, approval_id: str) -> list[str]:
    """The path by the names of its events, without notices, which come when they come."""
    names = [str(event.WhichOneof("body")) for event in await stack.path(approval_id)]
    return [name for name in names if name != "notified"]


async def test_a_person_approves(stack: Stack) -> None:
    approval_id = await stack.request()
    await stack.waiting(approval_id)
    answer = await stack.decide(approval_id, ALICE, reason="checked the invoice")
    assert answer.status == approval_pb2.COMMAND_STATUS_EFFECTIVE
    shown = await stack.get(approval_id)
    assert shown.outcome.state == event_pb2.STATE_APPROVED
    assert shown.outcome.source == event_pb2.SOURCE_HUMAN
    assert shown.outcome.decision_type == event_pb2.DECISION_TYPE_HUMAN
    assert (shown.outcome.approver, shown.outcome.reasoning) == (ALICE, "checked the invoice")
    assert not shown.waiting_for_approval
    assert await kinds(stack, approval_id) == [
        "received",
        "processed",
        "tier_opened",
        "asked",
        "voted",
        "decided",
        "closed",
    ]


async def test_a_persons_rejection_is_final(stack: Stack) -> None:
    approval_id = await stack.request("document")
    await stack.waiting(approval_id)
    await stack.decide(approval_id, ALICE, event_pb2.VERDICT_REJECT, reason="the account is unknown")
    outcome = await stack.outcome(approval_id)
    assert (outcome.state, outcome.source) == (event_pb2.STATE_REJECTED, event_pb2.SOURCE_HUMAN)
    assert "pre_screened" in await kinds(stack, approval_id)


async def test_a_safe_document_is_approved_at_once(stack: Stack) -> None:
    approval_id = await stack.request("document", title="Lunch menu", content=HARMLESS)
    outcome = await stack.outcome(approval_id)
    assert outcome.state == event_pb2.STATE_APPROVED
    assert outcome.source == event_pb2.SOURCE_AI_PRESCREEN
    assert outcome.decision_type == event_pb2.DECISION_TYPE_AUTOMATIC
    assert (outcome.approver, outcome.reasoning) == ("AI-Auto-Approved", "Low risk document")
    assert outcome.rule == "menu"
    (screened,) = [one.pre_screened for one in await stack.path(approval_id) if one.HasField("pre_screened")]
    assert screened.found.form == "menu"
    assert list(screened.parts) == ["reader/1", "rules/1", "floor/1"]
    assert not (await stack.get(approval_id)).asked


async def test_silence_goes_to_the_manager_and_then_to_the_ai(stack: Stack) -> None:
    by_manager, by_ai = await asyncio.gather(
        stack.request("escalating"), stack.request("document", priority=event_pb2.PRIORITY_HIGH)
    )

    async def manager_asked() -> bool:
        return BOB in (await stack.get(by_manager)).asked

    await until(manager_asked, "the manager is asked")
    await stack.decide(by_manager, BOB)
    outcome = await stack.outcome(by_manager)
    assert outcome.decision_type == event_pb2.DECISION_TYPE_MANAGER
    assert (outcome.source, outcome.tier) == (event_pb2.SOURCE_HUMAN, 2)

    outcome = await stack.outcome(by_ai)
    assert outcome.decision_type in (event_pb2.DECISION_TYPE_AI_FALLBACK, event_pb2.DECISION_TYPE_AUTOMATIC)
    path = await stack.path(by_ai)
    (fell_back,) = [event.fell_back for event in path if event.WhichOneof("body") == "fell_back"]
    assert fell_back.reason.value == f"Neither {ALICE} nor {BOB} responded"
    asked = [event.asked for event in path if event.WhichOneof("body") == "asked"]
    assert asked[1].reason.value == f"Original approver {ALICE} did not respond"
    decided = [event.ai_decided for event in path if event.WhichOneof("body") == "ai_decided"]
    assert len(decided) == 1


async def test_the_first_of_the_asked_may_still_decide_after_their_tier_timed_out(stack: Stack) -> None:
    approval_id = await stack.request("escalating")

    async def manager_asked() -> bool:
        return BOB in (await stack.get(approval_id)).asked

    await until(manager_asked, "the manager is asked")
    await stack.decide(approval_id, ALICE)
    outcome = await stack.outcome(approval_id)
    assert (outcome.approver, outcome.tier) == (ALICE, 1)
    assert outcome.decision_type == event_pb2.DECISION_TYPE_HUMAN


async def test_the_requester_withdraws(stack: Stack) -> None:
    approval_id = await stack.request()
    await stack.waiting(approval_id)
    request = approval_service_pb2.CancelApprovalRequest(
        approval_id=approval_id, command_id=str(uuid.uuid4()), reason="sent twice"
    )
    answer = await (await stack.as_(CALLER)).CancelApproval(request, timeout=SOON)
    assert answer.result.state == event_pb2.STATE_CANCELLED
    outcome = await stack.outcome(approval_id)
    assert (outcome.source, outcome.approver) == (event_pb2.SOURCE_REQUESTER, CALLER)


async def test_the_asked_and_the_requester_get_mail(stack: Stack) -> None:
    approval_id = await stack.request()
    await stack.waiting(approval_id)

    async def mailed(recipient: str, words: str) -> bool:
        mails = read_mails(stack.home.mails)
        return any(recipient in mail.recipients and words in mail.text for mail in mails)

    command = f"placet decide {approval_id} approve --as {ALICE}"
    await until(partial(mailed, ALICE, command), "alice's mail says how to decide")
    await stack.decide(approval_id, ALICE)
    await until(partial(mailed, CALLER, f"placet show {approval_id}"), "the requester has mail")
