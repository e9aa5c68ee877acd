"""A request is accepted once, whole, and whatever crashes meanwhile."""

from __future__ import annotations

import asyncio
import uuid
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from placet.approval.v1 import approval_pb2, approval_service_pb2
from placet.audit.v1.audit_service_pb2_grpc import AuditServiceStub
from placet.event.v1 import event_pb2
from placet_approval.adapters.audit_log import AuditLog
from placet_approval.content.extractor import Extractor
from placet_approval.intake.facts import FactKinds
from placet_approval.intake.service import Intake
from placet_approval.intake.workflow_start import WorkflowStarter
from placet_approval.projection.projections import Projections
from placet_approval.recovery.intake import IntakeRecovery
from placet_approval.store.pending_commands import PendingCommands
from placet_approval.store.policies import PolicyStore
from placet_approval.store.requests import RequestStore
from placet_approval.store.tables import LOG, content, request
from placet_approval.store.view import ViewStore
from placet_domain.policy_files import load
from placet_logtail import Consumers, LeaseStore
from placet_rpc.client import channel
from placet_rpc.errors import (
    AlreadyExists,
    PermissionDenied,
    PlacetError,
    Unavailable,
    Unimplemented,
)
from placet_rpc.tokens.sources import FileTokenSource
from placet_storage import Database
from placet_testing.attestation import KEYS, attested_command

if TYPE_CHECKING:
    from services.approval.tests.conftest import Platform

pytestmark = pytest.mark.integration

CALLER, ALICE = "ci@example.com", "alice@example.com"
HOME, ABROAD = "home", "abroad"


async def count(database: Database, table: Any) -> int:
    """Rows of a table."""
    return await database.query(lambda connection: len(connection.execute(table.select()).all()))


async def test_a_request_is_logged_before_it_is_accepted(either_platform: Platform) -> None:
    platform = either_platform
    caller = await platform.as_(CALLER)
    deadline = Timestamp()
    deadline.FromDatetime(datetime.now(UTC) + timedelta(days=3))
    message = platform.asking(
        policy="document",
        priority=event_pb2.PRIORITY_HIGH,
        subject_id="order-4711",
        labels={"team": "red", "empty": ""},
        deadline_time=deadline,
    )

    accepted = await caller.RequestApproval(message)

    received = (await platform.audit.events(HOME, accepted.approval_id))[0]
    assert (received.index, received.entry.number) == (accepted.log_index, 1)
    event = received.entry.event
    assert event.actor.name.value == CALLER
    assert event.actor.kind == event_pb2.ACTOR_KIND_PERSON
    assert event.cause_id == message.request_id
    assert event.received.title.value == message.title
    assert event.received.content_digest == accepted.content_digest
    assert event.received.deadline_time == deadline
    assert platform.workflows.starts[accepted.approval_id] == 1
    approval = await platform.get(accepted.approval_id)
    assert (approval.title, approval.policy, approval.subject_id) == (message.title, "document", "order-4711")
    assert approval.priority == event_pb2.PRIORITY_HIGH
    assert dict(approval.labels) == {"team": "red", "empty": ""}
    assert (approval.deadline_time, approval.content_size) == (deadline, len(message.content.body))


async def test_a_hundred_identical_requests_at_once_are_one(either_platform: Platform) -> None:
    platform = either_platform
    message, caller = platform.asking(), await platform.as_(CALLER)

    answers = await asyncio.gather(*(caller.RequestApproval(message) for _ in range(100)))

    (accepted,) = {answer.approval_id: answer for answer in answers}.values()
    assert {answer.log_index for answer in answers} == {accepted.log_index}
    assert platform.workflows.starts == {accepted.approval_id: 1}
    database = await Database.open(platform.database_url, migrations="placet_approval")
    assert (await count(database, request), await count(database, content)) == (1, 1)
    await database.close()
    path = await platform.audit.events(HOME, accepted.approval_id)
    assert sum(stored.entry.event.HasField("received") for stored in path) == 1


@pytest.mark.parametrize(
    "changed",
    [
        {"title": "Another"},
        {"policy": "escalating"},
        {"content": approval_pb2.Content(body=b"x", media_type="text/plain")},
        {"labels": {"a": "b"}},
        {"subject_id": "other"},
    ],
    ids=lambda changed: next(iter(changed)),
)
async def test_the_same_key_with_another_payload_is_an_error(
    platform: Platform, changed: dict[str, Any]
) -> None:
    caller, request_id = await platform.as_(CALLER), str(uuid.uuid4())
    await caller.RequestApproval(platform.asking(request_id=request_id))

    with pytest.raises(AlreadyExists) as raised:
        await caller.RequestApproval(platform.asking(request_id=request_id, **changed))

    assert (raised.value.reason, raised.value.metadata) == ("ID_REUSED", {"request_id": request_id})


async def test_of_many_payloads_with_one_key_at_once_one_is_accepted(platform: Platform) -> None:
    caller, request_id = await platform.as_(CALLER), str(uuid.uuid4())
    messages = [platform.asking(request_id=request_id, title=f"Number {number}") for number in range(20)]

    results = await asyncio.gather(*map(caller.RequestApproval, messages), return_exceptions=True)

    (accepted,) = (one for one in results if not isinstance(one, BaseException))
    refused = [one for one in results if isinstance(one, BaseException)]
    assert all(isinstance(one, AlreadyExists) for one in refused)
    assert platform.workflows.starts == {accepted.approval_id: 1}


async def test_one_key_written_in_two_ways_is_one_key(platform: Platform) -> None:
    caller, message = await platform.as_(CALLER), platform.asking()
    first = await caller.RequestApproval(message)
    message.request_id = message.request_id.upper()

    assert (await caller.RequestApproval(message)).approval_id == first.approval_id


async def test_the_same_key_of_another_caller_or_tenant_is_another_request(platform: Platform) -> None:
    message = platform.asking()
    callers = [
        await platform.as_(CALLER),
        await platform.as_("cd@example.com"),
        await platform.as_(CALLER, tenant=ABROAD),
    ]

    accepted = [(await caller.RequestApproval(message)).approval_id for caller in callers]

    assert len(set(accepted)) == 3


async def test_a_retry_converges_after_temporal_was_away(platform: Platform) -> None:
    caller, message = await platform.as_(CALLER), platform.asking()
    platform.workflows.away = True
    with pytest.raises(Unavailable) as raised:
        await caller.RequestApproval(message)
    assert raised.value.reason == "DEPENDENCY_UNAVAILABLE"
    platform.workflows.away = False

    accepted = await caller.RequestApproval(message)

    assert platform.workflows.starts == {accepted.approval_id: 1}
    await platform.until(lambda: waits(platform, accepted.approval_id))


async def waits(platform: Platform, approval_id: str) -> bool:
    return (await platform.get(approval_id)).waiting_for_approval


async def test_a_retry_converges_after_the_log_was_away(platform: Platform, store: Database) -> None:
    caller, message = await platform.as_(CALLER), platform.asking()
    await platform.audit.stop()
    with pytest.raises(Unavailable):
        await caller.RequestApproval(message)
    # Half of a request it is not: it is stored, and neither logged nor started.
    assert await count(store, request) == 1
    assert not platform.workflows.starts
    await platform.audit.start()

    async def retried() -> str:
        try:
            return (await caller.RequestApproval(message)).approval_id
        except Unavailable:
            return ""

    accepted = await platform.until(retried)
    assert platform.workflows.starts == {accepted: 1}


async def test_a_request_is_not_started_again_when_temporal_has_forgotten_it(platform: Platform) -> None:
    caller, message = await platform.as_(CALLER), platform.asking()
    approval_id = (await caller.RequestApproval(message)).approval_id
    await platform.until(lambda: waits(platform, approval_id))
    platform.workflows.forget(approval_id)

    again = await caller.RequestApproval(message)

    assert again.approval_id == approval_id
    assert platform.workflows.starts == {approval_id: 1}


async def test_it_is_not_started_again_either_while_the_view_is_empty(
    platform: Platform, store: Database
) -> None:
    caller, message = await platform.as_(CALLER), platform.asking()
    approval_id = (await caller.RequestApproval(message)).approval_id
    await platform.until(lambda: waits(platform, approval_id))
    platform.workflows.forget(approval_id)
    await ViewStore(store).drop()

    assert (await caller.RequestApproval(message)).approval_id == approval_id

    assert platform.workflows.starts == {approval_id: 1}


async def run_recovery(platform: Platform, *, older_than: float = 0.0) -> int:
    """One look of a replica's intake_recovery, whose clock the test holds."""
    database = await Database.open(platform.database_url, migrations="placet_approval")
    tokens = FileTokenSource(platform.settings().token_file)
    try:
        async with channel(platform.audit.address, tokens) as audit:
            requests, views = RequestStore(database), ViewStore(database)
            log = AuditLog(AuditServiceStub(audit), KEYS)
            policies = PolicyStore(database, load(None))
            consumers = Consumers(LeaseStore(database, LOG), holder="intake_recovery")
            projections = Projections(log, views, requests, policies, consumers)
            starter = WorkflowStarter(
                platform.workflows, PendingCommands(database, attested_command), policies, KEYS
            )
            intake = Intake(requests, views, projections, log, starter, policies, FactKinds.load(None), 1)
            return await IntakeRecovery(requests, intake, timedelta(seconds=older_than)).run()
    finally:
        await database.close()


async def test_intake_recovery_resumes_a_request_after_a_crash_behind_the_log(platform: Platform) -> None:
    caller = await platform.as_(CALLER)
    platform.workflows.away = True
    with pytest.raises(Unavailable):
        await caller.RequestApproval(platform.asking())
    platform.workflows.away = False

    assert await run_recovery(platform) == 1

    (approval_id,) = platform.workflows.starts
    await platform.until(lambda: waits(platform, approval_id))
    assert await run_recovery(platform) == 0


async def test_intake_recovery_resumes_a_request_after_a_crash_before_the_log(platform: Platform) -> None:
    caller = await platform.as_(CALLER)
    await platform.audit.stop()
    with pytest.raises(Unavailable):
        await caller.RequestApproval(platform.asking())
    await platform.audit.start()

    await platform.until(lambda: is_resumed(platform))

    (approval_id,) = platform.workflows.starts
    await platform.until(lambda: waits(platform, approval_id))


async def is_resumed(platform: Platform) -> bool:
    try:
        return await run_recovery(platform) == 1
    except PlacetError:
        return False


async def test_intake_recovery_leaves_young_requests_to_their_callers(platform: Platform) -> None:
    caller = await platform.as_(CALLER)
    platform.workflows.away = True
    with pytest.raises(Unavailable):
        await caller.RequestApproval(platform.asking())

    assert await run_recovery(platform, older_than=3600) == 0


async def test_a_replica_runs_intake_recovery_by_itself(bare_platform: Platform) -> None:
    platform = bare_platform
    await platform.serve(intake_recovery_interval=0.05, recovery_age=0.01)
    platform.workflows.away = True
    with pytest.raises(Unavailable):
        await (await platform.as_(CALLER)).RequestApproval(platform.asking())

    async def has_failed() -> bool:
        return platform.workflows.turned_away >= 4

    async def has_started() -> bool:
        return bool(platform.workflows.starts)

    await platform.until(has_failed)
    platform.workflows.away = False
    await platform.until(has_started)


async def test_a_request_waits_in_the_view_while_no_worker_lives(platform: Platform) -> None:
    platform.workflows.working = False
    approval_id = await platform.request()

    approval = await platform.get(approval_id)

    assert approval.state == event_pb2.STATE_PENDING
    assert not approval.waiting_for_approval
    assert (approval.last_number, len(approval.path)) == (1, 1)


async def test_the_largest_content_goes_in_and_out_whole(either_platform: Platform) -> None:
    platform = either_platform
    body = ("x" * ((1 << 20) - 2) + "ü").encode()
    largest = approval_pb2.Content(body=body, media_type="text/plain")

    approval_id = await platform.request(content=largest)

    digest = (await platform.get(approval_id)).content_digest
    get = approval_service_pb2.GetContentRequest(approval_id=approval_id, content_digest=digest)
    answer = await (await platform.as_(CALLER)).GetContent(get)
    assert answer.content == largest
    assert answer.text.encode() == body


async def test_text_of_every_kind_but_nul_is_kept_as_it_was_sent(either_platform: Platform) -> None:
    platform = either_platform
    title = "拳 \u202e\u200b\x01\x7f\ud7ff\U0010ffff"

    approval_id = await platform.request(title=title, subject_id=title, labels={"a": title})

    approval = await platform.get(approval_id)
    assert (approval.title, approval.subject_id, approval.labels["a"]) == (title, title, title)
    listing = approval_service_pb2.ListApprovalsRequest(
        filter=approval_service_pb2.ApprovalFilter(subject_id=title)
    )
    found = (await (await platform.as_(CALLER)).ListApprovals(listing)).approvals
    assert [one.approval_id for one in found] == [approval_id]


@pytest.mark.parametrize(
    "payload",
    [
        {"clarification": approval_service_pb2.ClarificationPayload(answer_schema="{}")},
        {"judgment": approval_service_pb2.JudgmentPayload()},
        {"review": approval_service_pb2.ReviewPayload()},
    ],
    ids=lambda payload: next(iter(payload)),
)
async def test_a_kind_that_is_not_served_yet_is_refused_with_a_sentence(
    platform: Platform, payload: dict[str, Any]
) -> None:
    with pytest.raises(Unimplemented, match="not served yet") as raised:
        await (await platform.as_(CALLER)).RequestApproval(platform.asking(approval=None, **payload))

    assert raised.value.reason == "KIND_NOT_SERVED"
    assert raised.value.metadata == {"kind": next(iter(payload)).upper()}


async def test_only_requesters_may_ask_and_who_may_not_is_recorded(platform: Platform) -> None:
    with pytest.raises(PermissionDenied):
        await (await platform.as_(ALICE, "approver")).RequestApproval(platform.asking())

    async def recorded() -> list[event_pb2.LogEntry]:
        return await platform.audit.events(HOME)

    (stored,) = await platform.until(recorded)
    refused = stored.entry.event.access_refused
    assert refused.method == "/placet.approval.v1.ApprovalService/RequestApproval"
    assert refused.reason == "ROLE_REQUIRED"
    assert stored.entry.event.actor.name.value == ALICE


async def test_a_retry_pays_for_no_second_extraction(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    caller, message = await platform.as_(CALLER), platform.asking()
    accepted = await caller.RequestApproval(message)

    async def extract(*_: Any) -> None:
        raise AssertionError("the content was extracted again")

    monkeypatch.setattr(Extractor, "extract", extract)

    assert await caller.RequestApproval(message) == accepted
    changed = platform.asking(request_id=message.request_id, title="Another title")
    with pytest.raises(AlreadyExists):
        await caller.RequestApproval(changed)
