"""An entry written beneath AuditService's check: all readers agree, and the rest goes on."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

import pytest
from google.protobuf.json_format import MessageToDict

from placet.approval.v1 import approval_pb2, approval_service_pb2
from placet.audit.v1 import audit_service_pb2
from placet.audit.v1.audit_service_pb2_grpc import AuditServiceStub
from placet.event.v1 import event_pb2
from placet_audit.config import Settings
from placet_audit.domain import Append
from placet_audit.leaf import seal
from placet_audit.log_keys import LogKeys
from placet_audit.store import Store
from placet_cli.identity import TENANT
from placet_devstack.doctor import diagnose
from placet_domain.attestation import Attestation, ServiceSignature
from placet_domain.commands import DecisionCommand
from placet_domain.events import Actor, ActorKind, Verdict
from placet_proof import NotProven, VerifierKey, verify_receipt
from placet_rpc.client import channel
from placet_rpc.errors import FailedPrecondition
from placet_rpc.identity import acting_for
from placet_storage import Database
from placet_testing.conditions import until
from placet_testing.stack import ALICE, AUDITOR, BOB, CALLER, Stack
from placet_testing.tokens import StaticToken
from placet_verify import Check, KnownKeys, SqliteSource, Verification
from placet_workflows.names import COMMAND_SIGNAL

pytestmark = pytest.mark.integration


def forged_outcome() -> list[event_pb2.Event]:
    """An approval by bob, whom nobody asked."""
    decided, closed = event_pb2.Event(cause_id="forged"), event_pb2.Event(cause_id="forged")
    for event in (decided, closed):
        event.time.GetCurrentTime()
        event.actor.kind, event.actor.name.value = event_pb2.ACTOR_KIND_PERSON, BOB
    decided.decided.approver.value = BOB
    decided.decided.source, decided.decided.tier = event_pb2.SOURCE_HUMAN, 1
    decided.decided.decision_type = event_pb2.DECISION_TYPE_HUMAN
    decided.decided.state = closed.closed.state = event_pb2.STATE_APPROVED
    return [decided, closed]


async def forge(stack: Stack, approval_id: str, number: int, events: Sequence[event_pb2.Event]) -> None:
    """Writes events with right proofs into the running log's database, but without the grammar's check."""
    keys = LogKeys.read(stack.home.log_key.read_text(), str(Settings.model_fields["origin"].default))
    drafts = []
    for each, event in enumerate(events, number):
        entry = event_pb2.Entry(tenant=TENANT, approval_id=approval_id, number=each, event=event)
        drafts.append(seal(entry))
    database = await Database.open(f"sqlite:///{stack.home.database('audit')}", migrations="placet_audit")
    with pytest.MonkeyPatch.context() as unchecked:
        unchecked.setattr("placet_audit.domain._followed", lambda path, drafts, keys: (path, None))
        (placed,) = await Store(database, keys).append([Append(TENANT, approval_id, number, tuple(drafts))])
    await database.close()
    assert not isinstance(placed, Exception)
    assert placed.complete


async def is_proven(stack: Stack, approval_id: str) -> bool:
    """True if the request's receipt is proven."""
    request = audit_service_pb2.GetReceiptRequest(approval_id=approval_id)
    receipt = (await (await stack.audit()).GetReceipt(request)).receipt
    with contextlib.suppress(NotProven):
        keys = [VerifierKey.parse(key) for key in (*receipt.keys, *receipt.attestation_keys)]
        verify_receipt(MessageToDict(receipt), keys)
        return True
    return False


def findings(stack: Stack) -> list[Check]:
    """The checks that `placet audit verify` finds broken."""
    keys = LogKeys.read(stack.home.log_key.read_text(), str(Settings.model_fields["origin"].default))
    with contextlib.closing(SqliteSource(stack.home.database("audit"))) as source:
        known = KnownKeys(keys.origin, tuple(keys.public)).with_lines(stack.home.attestation_keys.read_text())
        verification = Verification(source, known)
        for _ in verification.run():
            continue
    return [one.check for one in verification.findings]


def forged_vote(approved: event_pb2.Received) -> list[event_pb2.Event]:
    """All that alice's approval would cause, of which she knows nothing."""
    voted, decided, closed = [event_pb2.Event(cause_id="forged") for _ in range(3)]
    for event in (voted, decided, closed):
        event.time.GetCurrentTime()
        event.actor.kind, event.actor.name.value = event_pb2.ACTOR_KIND_PERSON, ALICE
    voted.voted.tier, voted.voted.verdict = 1, event_pb2.VERDICT_APPROVE
    voted.voted.content_digest, voted.voted.policy_digest = approved.content_digest, approved.policy_digest
    voted.voted.policy_version = approved.policy_version
    decided.decided.source, decided.decided.tier = event_pb2.SOURCE_HUMAN, 1
    decided.decided.decision_type = event_pb2.DECISION_TYPE_HUMAN
    decided.decided.approver.value = ALICE
    decided.decided.state = closed.closed.state = event_pb2.STATE_APPROVED
    return [voted, decided, closed]


async def test_who_holds_a_workers_token_or_temporal_cannot_vote_for_a_person(stack: Stack) -> None:
    waiting, other = await stack.request(), await stack.request()
    await stack.waiting(waiting)
    await stack.waiting(other)
    assert (await stack.decide(other, ALICE)).status == approval_pb2.COMMAND_STATUS_EFFECTIVE
    path = await stack.path(waiting)
    unsigned = forged_vote(path[0].received)
    taken = [event_pb2.Event.FromString(event.SerializeToString()) for event in unsigned]
    (vote,) = [event for event in await stack.path(other) if event.HasField("voted")]
    taken[0].attestation.CopyFrom(vote.attestation)
    taken[0].attestation.service.salt_seed = bytes(16)
    token = StaticToken(stack.home.token("worker-default").read_text().strip())
    async with channel(stack.ports.address("audit"), token) as opened:
        for events in (unsigned, taken):
            request = audit_service_pb2.AppendEventsRequest(
                approval_id=waiting, expected_next=len(path) + 1, events=events
            )
            with acting_for(TENANT), pytest.raises(FailedPrecondition) as refused:
                await AuditServiceStub(opened).AppendEvents(request)
            assert refused.value.reason == "NOT_ATTESTED"
    assert (await stack.get(waiting)).state == event_pb2.STATE_PENDING

    # One signal of Temporal's operator, and the person's own decision after it.
    content = path[0].received.content_digest.hex()
    alice = Actor(kind=ActorKind.PERSON, name=ALICE)
    signed = ServiceSignature(
        key_id="00" * 4, signature="00" * 64, body_digest="00" * 32, salt_seed="00" * 16
    )
    for attestation in (None, Attestation(service=signed)):
        forged = DecisionCommand(
            id=f"forged-{attestation is None}",
            actor=alice,
            verdict=Verdict.APPROVE,
            content_digest=content,
            attestation=attestation,
        )
        await (await stack.temporal()).get_workflow_handle(waiting).signal(COMMAND_SIGNAL, forged)
    assert (await stack.decide(waiting, ALICE)).status == approval_pb2.COMMAND_STATUS_EFFECTIVE
    kinds = [event.WhichOneof("body") for event in await stack.path(waiting)]
    assert (kinds.count("voted"), kinds.count("refused")) == (1, 2)
    assert await is_proven(stack, waiting)


async def test_a_forged_outcome_marks_its_request_everywhere_and_stops_nothing(stack: Stack) -> None:
    forged = await stack.request()
    await stack.waiting(forged)

    async def is_told() -> bool:
        return any(event.HasField("notified") for event in await stack.path(forged))

    await until(is_told, "the notice is in the log")
    before = await stack.get(forged)
    assert findings(stack) == []
    await forge(stack, forged, before.last_number + 1, forged_outcome())

    async def is_marked() -> bool:
        return bool((await stack.get(forged)).log_fault)

    await until(is_marked, "the request is marked")
    usual = await stack.request()
    await stack.waiting(usual)
    assert (await stack.decide(usual, ALICE)).status == approval_pb2.COMMAND_STATUS_EFFECTIVE

    shown = await stack.get(forged)
    assert (shown.state, shown.waiting_for_approval) == (event_pb2.STATE_PENDING, True)
    listed = await (await stack.as_(CALLER)).ListApprovals(approval_service_pb2.ListApprovalsRequest())
    marked = {one.approval_id: (one.state, bool(one.log_fault)) for one in listed.approvals}
    assert marked[forged] == (event_pb2.STATE_PENDING, True)
    assert marked[usual] == (event_pb2.STATE_APPROVED, False)
    assert not await is_proven(stack, forged)
    assert await is_proven(stack, usual)
    assert findings(stack) == [Check.GRAMMAR]
    told = [one for one in await diagnose(stack.home, stack.ports) if one.ok is False]
    assert any("decided has no grounds" in one.found for one in told)
    operator = await stack.as_(AUDITOR)
    consumers = await operator.GetLogConsumers(approval_service_pb2.GetLogConsumersRequest())
    assert any(one.skipped for one in consumers.consumers)

    # The workflow goes on too: the person who was asked still decides.
    assert (await stack.decide(forged, ALICE)).status == approval_pb2.COMMAND_STATUS_EFFECTIVE
    shown = await stack.get(forged)
    assert (shown.outcome.approver, bool(shown.log_fault)) == (ALICE, True)
    assert not await is_proven(stack, forged)
