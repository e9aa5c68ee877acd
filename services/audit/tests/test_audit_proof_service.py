"""Checkpoints, proofs, receipts, exports and erasures, as callers get them."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any, Protocol

import pytest
from google.protobuf.json_format import MessageToDict

from placet.audit.v1 import audit_service_pb2, audit_service_pb2_grpc, proof_pb2
from placet.event.v1 import event_pb2
from placet_audit import proof_service
from placet_audit.proof_service import ProofService
from placet_proof import (
    Note,
    NotProven,
    Proven,
    VerifierKey,
    leaf_hash,
    verify_consistency,
    verify_inclusion,
    verify_receipt,
)
from placet_proof.frontier import Frontier
from placet_rpc.errors import (
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    OutOfRange,
    PermissionDenied,
    Unavailable,
)
from placet_rpc.identity import PROGRAMS, acting_for
from placet_testing.attestation import attest, attest_all

pytestmark = pytest.mark.integration

MakeEvent = Callable[..., event_pb2.Event]
Stub = audit_service_pb2_grpc.AuditServiceStub
HOME, ABROAD = "home", "abroad"
ALICE, CALLER = "alice@example.com", "ci@example.com"


class Service(Protocol):
    """The running AuditService of the tests."""

    def stub(self, *roles: str, subject: str = ..., tenant: str = ...) -> Stub:
        """A caller in these roles."""
        ...

    def program(self, name: str, *tenants: str) -> Stub:
        """A program of Placet."""
        ...


@pytest.fixture
async def auditor(service: Service) -> Stub:
    """An auditor of HOME."""
    return service.stub("auditor", subject="auditor@example.com")


async def log_request(
    service: Service, make_event: MakeEvent, comments: int = 1, tenant: str = HOME, asked: str = ""
) -> str:
    """A closed request of CALLER with ALICE's comments; with somebody who was asked, if a name is given."""
    approval_id = str(uuid.uuid4())
    received = make_event("intake", kind="received", actor=CALLER)
    received.received.title.value = "Pay 4711"
    rest = [make_event(f"comment {number}") for number in range(comments)]
    if asked:
        rest += [make_event("tier-1", kind=kind) for kind in ("tier_opened", "asked")]
        rest[-2].tier_opened.tier = rest[-2].tier_opened.quorum = rest[-1].asked.tier = 1
        rest[-1].asked.person.value = asked
    rest += [make_event("close", kind=kind, actor=CALLER) for kind in ("decided", "closed")]
    rest[-2].decided.source, rest[-2].decided.approver.value = event_pb2.SOURCE_REQUESTER, CALLER
    rest[-2].decided.state = rest[-1].closed.state = event_pb2.STATE_CANCELLED
    attest_all(rest, tenant, approval_id)
    with acting_for(tenant):
        await service.program("approval").AppendEvents(
            audit_service_pb2.AppendEventsRequest(approval_id=approval_id, expected_next=1, events=[received])
        )
        await service.program("worker-default").AppendEvents(
            audit_service_pb2.AppendEventsRequest(approval_id=approval_id, expected_next=2, events=rest)
        )
    return approval_id


async def checkpoint_of(stub: Stub) -> tuple[Note, list[VerifierKey]]:
    response = await stub.GetCheckpoint(audit_service_pb2.GetCheckpointRequest())
    note, keys = Note.parse(response.checkpoint), [VerifierKey.parse(key) for key in response.keys]
    assert note.verified(keys)
    assert note.checkpoint.size == response.size
    return note, keys


async def receipt_of(stub: Stub, approval_id: str) -> proof_pb2.Receipt:
    return (await stub.GetReceipt(audit_service_pb2.GetReceiptRequest(approval_id=approval_id))).receipt


def proven(receipt: proof_pb2.Receipt) -> Proven:
    keys = [*receipt.keys, *receipt.attestation_keys]
    return verify_receipt(MessageToDict(receipt), [VerifierKey.parse(key) for key in keys])


async def test_what_was_acknowledged_is_under_the_checkpoint_and_can_be_proven(
    service: Service, make_event: MakeEvent, auditor: Stub
) -> None:
    before, _ = await checkpoint_of(auditor)
    assert before.checkpoint.size == 0
    for _ in range(5):
        await log_request(service, make_event)

    note, _ = await checkpoint_of(auditor)
    tree = note.checkpoint
    assert (tree.origin, tree.size) == (f"localhost/placet/{HOME}", 20)
    roots = Frontier()
    by_size = {0: roots.root()}
    async for response in auditor.ExportEvents(audit_service_pb2.ExportEventsRequest()):
        for entry in response.entries:
            roots.append(leaf_hash(entry.leaf))
            by_size[roots.size] = roots.root()
    assert by_size[20] == tree.root
    for index in range(20):
        for size in (0, index + 1, 17, 20):
            asked = audit_service_pb2.GetInclusionProofRequest(log_index=index, size=size)
            if 0 < size <= index:
                with pytest.raises(OutOfRange):
                    await auditor.GetInclusionProof(asked)
                continue
            proof = await auditor.GetInclusionProof(asked)
            verify_inclusion(proof.leaf_hash, index, proof.size, proof.proof, by_size[proof.size])
            assert (proof.checkpoint != "") == (size == 0)
    for first in range(1, 21):
        for second in (0, first, 20):
            between = audit_service_pb2.GetConsistencyProofRequest(first_size=first, second_size=second)
            grown = await auditor.GetConsistencyProof(between)
            verify_consistency(
                first, grown.second_size, by_size[first], by_size[grown.second_size], grown.proof
            )


@pytest.mark.parametrize(
    ("first", "second", "error"),
    [
        (0, 3, InvalidArgument),
        (3, 2, OutOfRange),
        (4, 5, OutOfRange),
        (5, 0, OutOfRange),
        (2**64 - 1, 0, OutOfRange),
    ],
)
async def test_there_is_no_proof_of_what_is_not(
    service: Service, make_event: MakeEvent, auditor: Stub, first: int, second: int, error: type[Exception]
) -> None:
    await log_request(service, make_event)

    with pytest.raises(error):
        await auditor.GetConsistencyProof(
            audit_service_pb2.GetConsistencyProofRequest(first_size=first, second_size=second)
        )
    for index, size in ((4, 0), (3, 3), (0, 5), (2**64 - 1, 0)):
        with pytest.raises(OutOfRange):
            await auditor.GetInclusionProof(
                audit_service_pb2.GetInclusionProofRequest(log_index=index, size=size)
            )


async def test_a_receipt_holds_the_whole_path_and_is_proven_without_the_service(
    service: Service, make_event: MakeEvent, auditor: Stub
) -> None:
    others = [await log_request(service, make_event) for _ in range(3)]
    approval_id = await log_request(service, make_event, comments=150)
    await log_request(service, make_event, tenant=ABROAD)

    receipt = await receipt_of(auditor, approval_id)

    found = proven(receipt)
    assert (found.approval_id, found.checkpoint.size, found.erased_at) == (approval_id, 165, None)
    assert [entry.index for entry in found.entries] == list(range(12, 165))
    assert found.entries[0].values == {"event.actor.name": CALLER, "event.received.title": "Pay 4711"}
    assert not any(entry.withheld for entry in found.entries)
    receipt.approval_id = others[0]
    with pytest.raises(NotProven):
        proven(receipt)


async def test_receipts_are_for_those_whom_the_request_concerns(
    service: Service, make_event: MakeEvent
) -> None:
    approval_id = await log_request(service, make_event, asked=ALICE)

    for roles, subject in (
        (["requester"], CALLER),
        (["approver"], ALICE),
        (["auditor"], "somebody@example.com"),
        (["operator"], "somebody@example.com"),
    ):
        stub = service.stub(*roles, subject=subject)
        assert (await receipt_of(stub, approval_id.upper())).approval_id == approval_id
    for roles, subject, tenant in (
        (["requester", "approver"], "mallory@example.com", HOME),
        (["requester", "approver", "auditor"], CALLER, ABROAD),
    ):
        with pytest.raises(NotFound) as raised:
            await receipt_of(service.stub(*roles, subject=subject, tenant=tenant), approval_id)
        assert raised.value.reason == "UNKNOWN_APPROVAL"
    with pytest.raises(NotFound):
        await receipt_of(service.stub("auditor"), str(uuid.uuid4()))


async def exported(stub: Stub) -> list[audit_service_pb2.ExportEventsResponse]:
    return [part async for part in stub.ExportEvents(audit_service_pb2.ExportEventsRequest())]


async def test_an_export_can_be_verified_elsewhere(
    service: Service, make_event: MakeEvent, auditor: Stub
) -> None:
    for _ in range(40):
        await log_request(service, make_event)

    header, *parts = await exported(auditor)

    note = Note.parse(header.header.checkpoint)
    keys = [VerifierKey.parse(key) for key in header.header.keys]
    assert note.verified(keys)
    tree, signed = Frontier(), 0
    for entry in (entry for part in parts for entry in part.entries):
        assert entry.index == tree.size
        tree.append(leaf_hash(entry.leaf))
        if entry.checkpoint:
            earlier = Note.parse(entry.checkpoint)
            assert earlier.verified(keys)
            assert (earlier.checkpoint.size, earlier.checkpoint.root) == (tree.size, tree.root())
            signed += 1
    assert (tree.size, tree.root()) == (note.checkpoint.size, note.checkpoint.root)
    assert signed == 80
    later = [
        part async for part in auditor.ExportEvents(audit_service_pb2.ExportEventsRequest(from_log_index=155))
    ]
    assert [entry.index for part in later for entry in part.entries] == list(range(155, 160))
    with pytest.raises(OutOfRange) as refusal:
        async for _ in auditor.ExportEvents(audit_service_pb2.ExportEventsRequest(from_log_index=161)):
            pass
    assert (refusal.value.reason, refusal.value.metadata["end"]) == ("BEYOND_END", "160")


def erasing(approval_id: str, **fields: bool) -> audit_service_pb2.EraseEventsRequest:
    return audit_service_pb2.EraseEventsRequest(approval_id=approval_id, reason="asked to", **fields)


@pytest.fixture
async def operator(service: Service) -> Stub:
    """An operator of HOME."""
    return service.stub("operator", subject="op@example.com")


async def test_what_is_erased_is_gone_for_every_reader_and_every_proof_still_holds(
    service: Service, make_event: MakeEvent, auditor: Stub, operator: Stub
) -> None:
    kept, erased = await log_request(service, make_event), await log_request(service, make_event)
    tail = auditor.TailEvents(audit_service_pb2.TailEventsRequest(from_log_index=0))
    async for some in tail:
        if some.size == 8:
            break
    before = proven(await receipt_of(auditor, erased))

    with acting_for(HOME):
        answer = await operator.EraseEvents(erasing(erased))
        again = await operator.EraseEvents(erasing(erased))

    assert again == answer
    event = answer.entry.entry.event
    assert (answer.entry.index, event.erased.approval_id, event.erased.values) == (8, erased, 7)
    assert (event.actor.name.value, event.erased.reason.value) == ("op@example.com", "asked to")
    after = proven(await receipt_of(auditor, erased))
    assert [one.bytes for one in after.entries[:-1]] == [one.bytes for one in before.entries]
    assert all(not one.values and one.withheld == tuple(one.leaf.commitments) for one in after.entries[:-1])
    assert after.erased_at == 8
    assert not any(one.withheld for one in proven(await receipt_of(auditor, kept)).entries)
    listed = await auditor.ListEvents(
        audit_service_pb2.ListEventsRequest(filter=audit_service_pb2.EventFilter(approval_id=erased))
    )
    assert all(not one.entry.event.actor.name.value for one in listed.entries)
    # Who tailed the log all the while, and who begins now.
    async for some in tail:
        if some.entries:
            assert [one.index for one in some.entries] == [8]
            break
    tail.cancel()
    # Nobody whom it concerned can be told from others any more.
    with pytest.raises(NotFound):
        await receipt_of(service.stub("requester", subject=CALLER), erased)


async def test_what_was_said_after_an_erasure_can_be_erased_too(
    service: Service, make_event: MakeEvent, auditor: Stub, operator: Stub
) -> None:
    approval_id = await log_request(service, make_event)
    with acting_for(HOME):
        first = await operator.EraseEvents(erasing(approval_id))
        late = make_event("late", kind="refused")
        append = audit_service_pb2.AppendEventsRequest(
            approval_id=approval_id, expected_next=5, events=[attest(late, HOME, approval_id)]
        )
        await service.program("worker-default").AppendEvents(append)
        second = await operator.EraseEvents(erasing(approval_id))

    assert (first.entry.index, second.entry.index, second.entry.entry.event.erased.values) == (4, 6, 2)
    found = proven(await receipt_of(auditor, approval_id))
    assert [one.index for one in found.entries] == list(range(7))
    assert found.erased_at == 6


async def test_nothing_is_erased_that_is_not_there_or_by_whom_it_is_not_for(
    service: Service, make_event: MakeEvent
) -> None:
    approval_id = await log_request(service, make_event)
    abroad = service.stub("operator", subject="op@example.com", tenant=ABROAD)
    with pytest.raises(NotFound) as raised:
        await abroad.EraseEvents(erasing(approval_id))
    assert raised.value.reason == "UNKNOWN_APPROVAL"
    people = [service.stub(role) for role in ("auditor", "approver", "requester")]
    for stub in [*people, *(service.program(program) for program in PROGRAMS)]:
        with acting_for(HOME), pytest.raises(PermissionDenied):
            await stub.EraseEvents(erasing(approval_id, before_retention=True))

    found = proven(await receipt_of(service.stub("auditor"), approval_id))
    assert not any(one.withheld for one in found.entries)


async def test_an_open_request_is_not_erased(service: Service, make_event: MakeEvent, operator: Stub) -> None:
    approval_id = str(uuid.uuid4())
    with acting_for(HOME):
        await service.program("approval").AppendEvents(
            audit_service_pb2.AppendEventsRequest(
                approval_id=approval_id, expected_next=1, events=[make_event("intake", kind="received")]
            )
        )
        with pytest.raises(FailedPrecondition) as raised:
            await operator.EraseEvents(erasing(approval_id))

    assert raised.value.reason == "NOT_CLOSED"
    found = proven(await receipt_of(service.stub("auditor"), approval_id))
    assert not any(one.withheld for one in found.entries)


async def test_nobody_appends_what_would_look_like_an_erasure(
    service: Service, make_event: MakeEvent
) -> None:
    approval_id = await log_request(service, make_event)
    cause = f"erase/{approval_id}/1"
    of_tenant = audit_service_pb2.AppendEventsRequest(events=[make_event(cause, kind="access_refused")])
    of_request = audit_service_pb2.AppendEventsRequest(
        approval_id=approval_id, expected_next=5, events=[make_event(cause)]
    )

    with acting_for(HOME):
        with pytest.raises(PermissionDenied):
            await service.program("approval").AppendEvents(of_tenant)
        with pytest.raises(InvalidArgument) as raised:
            await service.program("worker-default").AppendEvents(of_request)

    assert [violation.field for violation in raised.value.violations] == ["events[0].cause_id"]


async def test_an_export_during_which_something_was_erased_says_so_and_is_none(
    service: Service,
    make_event: MakeEvent,
    auditor: Stub,
    operator: Stub,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    approval_id, export_part = await log_request(service, make_event), ProofService.export_part

    async def stretch(*arguments: Any) -> Any:
        with acting_for(HOME):
            await operator.EraseEvents(erasing(approval_id))
        return await export_part(*arguments)

    monkeypatch.setattr(ProofService, "export_part", stretch)
    with pytest.raises(Unavailable, match="export again"):
        await exported(auditor)
    monkeypatch.undo()

    parts = await exported(auditor)
    assert [entry.index for part in parts for entry in part.entries] == list(range(5))


async def test_a_receipt_that_no_message_holds_is_refused_plainly(
    service: Service, make_event: MakeEvent, auditor: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    approval_id = await log_request(service, make_event)
    monkeypatch.setattr(proof_service, "MAX_RECEIPT_BYTES", 1000)

    with pytest.raises(FailedPrecondition, match="export the log instead") as refused:
        await receipt_of(auditor, approval_id)
    assert refused.value.reason == "RECEIPT_TOO_LARGE"
