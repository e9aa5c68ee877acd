"""Reads: whole, within what the caller may see, and as soon as something happens."""

from __future__ import annotations

import asyncio
import time
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from placet.approval.v1 import approval_pb2, approval_service_pb2
from placet.event.v1 import event_pb2
from placet_approval.queries import Queries
from placet_approval.visibility import Visibility
from placet_rpc.errors import InvalidArgument, NotFound, PermissionDenied
from placet_rpc.identity import acting_for
from placet_testing.conditions import EVENTUALLY
from placet_testing.pdf import pdf_file, shows

if TYPE_CHECKING:
    from services.approval.tests.conftest import Platform

    from placet.approval.v1.approval_service_pb2_grpc import ApprovalServiceStub

pytestmark = pytest.mark.integration

CALLER, ALICE, BOB, MALLORY = "ci@example.com", "alice@example.com", "bob@example.com", "mallory@example.com"
HOME, ABROAD = "home", "abroad"
PENDING, APPROVED = event_pb2.STATE_PENDING, event_pb2.STATE_APPROVED


async def get(stub: ApprovalServiceStub, approval_id: str) -> approval_pb2.Approval:
    return (await stub.GetApproval(approval_service_pb2.GetApprovalRequest(approval_id=approval_id))).approval


async def decide(platform: Platform, approval_id: str) -> approval_service_pb2.SubmitDecisionResponse:
    return await (await platform.as_(ALICE)).SubmitDecision(platform.deciding(approval_id))


async def test_a_request_is_shown_with_its_path_and_labels(either_platform: Platform) -> None:
    platform = either_platform
    approval_id = await platform.request(labels={"team": "red"})
    await decide(platform, approval_id)

    approval = await platform.get(approval_id)

    assert [stored.entry.event.WhichOneof("body") for stored in approval.path] == [
        "received",
        "processed",
        "tier_opened",
        "asked",
        "voted",
        "decided",
        "closed",
    ]
    assert list(approval.path) == await platform.audit.events(HOME, approval_id)
    assert (approval.state, approval.waiting_for_approval) == (APPROVED, False)
    assert (approval.requester, list(approval.asked)) == (CALLER, [ALICE])
    assert (approval.outcome.tier, approval.outcome.approver) == (1, ALICE)
    assert not approval.HasField("current_tier")
    assert approval.outcome.waited.ToTimedelta().total_seconds() > 0
    assert dict(approval.labels) == {"team": "red"}
    assert len(approval.trace_id) in (0, 32)


async def test_who_just_asked_sees_the_request_at_once(platform: Platform) -> None:
    caller = await platform.as_(CALLER)
    for _ in range(10):
        accepted = await caller.RequestApproval(platform.asking(labels={"team": "red"}))
        approval = await get(caller, accepted.approval_id)
        assert (approval.approval_id, dict(approval.labels)) == (accepted.approval_id, {"team": "red"})
        assert len(approval.path) == approval.last_number


@pytest.mark.parametrize(
    ("subject", "roles", "tenant", "sees"),
    [
        (CALLER, ("requester",), HOME, True),
        (ALICE, ("approver",), HOME, True),
        (BOB, ("approver",), HOME, False),
        (MALLORY, ("requester", "approver"), HOME, False),
        ("auditor@example.com", ("auditor",), HOME, True),
        ("op@example.com", ("operator",), HOME, True),
        ("auditor@example.com", ("auditor",), ABROAD, False),
        (CALLER, ("requester",), ABROAD, False),
    ],
)
async def test_requests_are_seen_by_those_whom_they_concern(
    platform: Platform, subject: str, roles: tuple[str, ...], tenant: str, sees: bool
) -> None:
    approval_id = await platform.request()
    stub = await platform.as_(subject, *roles, tenant=tenant)

    listed = (await stub.ListApprovals(approval_service_pb2.ListApprovalsRequest())).approvals

    assert [one.approval_id for one in listed] == ([approval_id] if sees else [])
    if sees:
        assert (await get(stub, approval_id)).approval_id == approval_id
        return
    with pytest.raises(NotFound) as raised:
        await get(stub, approval_id)
    assert (raised.value.reason, raised.value.metadata) == ("UNKNOWN_APPROVAL", {"approval_id": approval_id})


@pytest.mark.parametrize(
    ("subject", "role", "may"),
    [
        (CALLER, "requester", True),
        (ALICE, "approver", True),
        (MALLORY, "approver", False),
        ("auditor@example.com", "auditor", True),
        ("op@example.com", "operator", True),
        ("decision", "", True),
        ("notification", "", True),
    ],
)
async def test_content_goes_to_those_who_may_see_the_request(
    platform: Platform, subject: str, role: str, may: bool
) -> None:
    approval_id = await platform.request(subject_id="order-1")
    approval = await platform.get(approval_id)
    request = approval_service_pb2.GetContentRequest(
        approval_id=approval_id, content_digest=approval.content_digest
    )
    stub = await (platform.as_(subject, role) if role else platform.as_program(subject))

    if not may:
        with pytest.raises(NotFound):
            await stub.GetContent(request)
        return
    with acting_for(HOME):
        answer = await stub.GetContent(request)
    assert answer.content == platform.asking().content
    assert answer.text == platform.asking().content.body.decode()
    assert (answer.title, answer.subject_id, answer.requester) == (approval.title, "order-1", CALLER)


async def test_request_and_content_say_what_of_it_was_read(platform: Platform) -> None:
    body = pdf_file(shows("Lunch menu"), catalog="/Collection << >>")
    content = approval_pb2.Content(body=body, media_type="application/pdf")
    approval_id = await platform.request(content=content)

    # The stand-in for the workflow logs a whole reading; the content says what intake found.
    approval = await platform.get(approval_id)
    assert approval.coverage == event_pb2.ContentCoverage(whole=True)
    request = approval_service_pb2.GetContentRequest(
        approval_id=approval_id, content_digest=approval.content_digest
    )
    answer = await (await platform.as_(CALLER)).GetContent(request)
    attachment = event_pb2.ContentGap(kind=event_pb2.GAP_KIND_ATTACHMENT, count=1)
    assert answer.coverage == event_pb2.ContentCoverage(gaps=[attachment])


async def test_content_is_had_by_its_own_digest_in_its_own_tenant_only(platform: Platform) -> None:
    approval_id = await platform.request()
    digest = (await platform.get(approval_id)).content_digest
    service = await platform.as_program("decision")

    for tenant, asked in ((HOME, b"x" * 32), (ABROAD, digest)):
        request = approval_service_pb2.GetContentRequest(approval_id=approval_id, content_digest=asked)
        with pytest.raises(NotFound):
            await service.GetContent(request, metadata=(("placet-tenant", tenant),))
    with pytest.raises(PermissionDenied):
        await (await platform.as_program("worker-default")).GetContent(
            approval_service_pb2.GetContentRequest(approval_id=approval_id, content_digest=digest),
            metadata=(("placet-tenant", HOME),),
        )


async def test_a_service_without_the_view_gets_content_before_anybody_is_asked(platform: Platform) -> None:
    platform.workflows.working = False
    accepted = await (await platform.as_(CALLER)).RequestApproval(platform.asking())

    answer = await (await platform.as_program("decision")).GetContent(
        approval_service_pb2.GetContentRequest(
            approval_id=accepted.approval_id, content_digest=accepted.content_digest
        ),
        metadata=(("placet-tenant", HOME),),
    )

    assert answer.requester == CALLER


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"page_token": "x"}, "page_token"),
        ({"page_token": "nul\0"}, "page_token"),
        ({"filter": {"subject_id": "nul\0"}}, "filter.subject_id"),
        ({"filter": {"policy": "nul\0"}}, "filter.policy"),
        ({"filter": {"states": [event_pb2.STATE_UNSPECIFIED]}}, "filter.states"),
    ],
)
async def test_what_is_wrong_with_a_list_is_said_by_field(
    platform: Platform, changes: dict[str, Any], field: str
) -> None:
    filters = changes.pop("filter", {})
    wanted = approval_service_pb2.ApprovalFilter(**filters)

    with pytest.raises(InvalidArgument) as raised:
        await (await platform.as_(CALLER)).ListApprovals(
            approval_service_pb2.ListApprovalsRequest(filter=wanted, **changes)
        )

    assert [violation.field.split("[")[0] for violation in raised.value.violations] == [field]


async def test_a_list_goes_page_by_page_and_says_what_waits_for_me(platform: Platform) -> None:
    requested = [await platform.request() for _ in range(5)]
    await decide(platform, requested[0])
    alice = await platform.as_(ALICE, "approver")
    mine = approval_service_pb2.ApprovalFilter(waiting_for_me=True)
    token, found = "", list[str]()

    while True:
        answer = await alice.ListApprovals(
            approval_service_pb2.ListApprovalsRequest(filter=mine, page_size=2, page_token=token)
        )
        found += [one.approval_id for one in answer.approvals]
        assert not any(one.path for one in answer.approvals)
        token = answer.next_page_token
        if not token:
            break

    assert found == requested[:0:-1]


# Waiting for the outcome.


def awaiting(approval_id: str) -> approval_service_pb2.AwaitOutcomeRequest:
    return approval_service_pb2.AwaitOutcomeRequest(approval_id=approval_id)


async def test_all_who_wait_for_an_outcome_get_it_at_once(platform: Platform) -> None:
    approval_id = await platform.request(labels={"team": "red"})
    caller = await platform.as_(CALLER)
    waiting = [asyncio.create_task(began_and_ended(caller, approval_id)) for _ in range(50)]
    await asyncio.sleep(0)

    await decide(platform, approval_id)

    decided = time.monotonic()
    for approval, ended in await asyncio.gather(*waiting):
        assert (approval.outcome.state, dict(approval.labels)) == (APPROVED, {"team": "red"})
        assert approval.outcome.HasField("waited")
        assert ended - decided < 5
        assert not approval.path


async def began_and_ended(stub: ApprovalServiceStub, approval_id: str) -> tuple[approval_pb2.Approval, float]:
    approval = (await stub.AwaitOutcome(awaiting(approval_id))).approval
    return approval, time.monotonic()


async def test_an_existing_outcome_is_returned_without_waiting(platform: Platform) -> None:
    approval_id = await platform.request()
    await decide(platform, approval_id)

    assert (await (await platform.as_(CALLER)).AwaitOutcome(awaiting(approval_id))).approval.state == APPROVED


async def test_who_waits_in_vain_is_answered_before_their_time_is_over(platform: Platform) -> None:
    approval_id = await platform.request()

    answer = await (await platform.as_(CALLER)).AwaitOutcome(awaiting(approval_id), timeout=0.8)

    assert answer.approval.state == PENDING
    assert not answer.approval.HasField("outcome")


async def test_who_waits_while_the_service_stops_is_answered_at_once(
    bare_platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    platform, waits, outcome = bare_platform, list[str](), Queries.outcome

    async def observed(reader: Queries, sight: Visibility, approval_id: str, timeout: float) -> Any:
        waits.append(approval_id)
        return await outcome(reader, sight, approval_id, timeout)

    async def all_wait() -> bool:
        return len(waits) == 20

    monkeypatch.setattr(Queries, "outcome", observed)
    replica = await platform.serve(grace=3600)
    approval_id = await platform.request()
    caller = await platform.as_(CALLER)
    waiting = [asyncio.create_task(began_and_ended(caller, approval_id)) for _ in range(20)]
    await platform.until(all_wait)

    # Were they not answered, the stop would take the whole hour of grace.
    await asyncio.wait_for(replica.aclose(), EVENTUALLY)

    for approval, _ in await asyncio.gather(*waiting):
        assert approval.approval_id == approval_id
        assert not approval.HasField("outcome")


async def test_nobody_waits_for_what_they_may_not_see(platform: Platform) -> None:
    approval_id = await platform.request()

    for stub in (await platform.as_(MALLORY), await platform.as_(CALLER, tenant=ABROAD)):
        with pytest.raises(NotFound):
            await stub.AwaitOutcome(awaiting(approval_id))
    with pytest.raises(NotFound):
        await (await platform.as_(CALLER)).AwaitOutcome(awaiting(str(uuid.uuid4())))
