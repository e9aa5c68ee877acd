"""AuditService as its callers see it: a real server, real tokens, SQLite and PostgreSQL, two tenants."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from typing import Protocol

import pytest

from placet.audit.v1 import audit_service_pb2, audit_service_pb2_grpc
from placet.event.v1 import event_pb2
from placet_proof import commitment
from placet_rpc.errors import FailedPrecondition, InvalidArgument, OutOfRange, PermissionDenied
from placet_rpc.identity import acting_for
from placet_testing.attestation import attest_all

pytestmark = pytest.mark.integration

MakeEvent = Callable[..., event_pb2.Event]


class Service(Protocol):
    """The running AuditService of the tests' conftest."""

    def stub(
        self, *roles: str, subject: str = ..., tenant: str = ...
    ) -> audit_service_pb2_grpc.AuditServiceStub:
        """A caller in these roles."""
        ...

    def program(self, name: str, *tenants: str) -> audit_service_pb2_grpc.AuditServiceStub:
        """A program of Placet."""
        ...


def append_request(
    approval_id: str, expected_next: int, *events: event_pb2.Event
) -> audit_service_pb2.AppendEventsRequest:
    attested = attest_all(events, "red", approval_id)
    return audit_service_pb2.AppendEventsRequest(
        approval_id=approval_id, expected_next=expected_next, events=attested
    )


async def begun(service: Service, make_event: MakeEvent, tenant: str = "red") -> str:
    """A request that has its first event, of cause "intake"."""
    approval_id = str(uuid.uuid4())
    with acting_for(tenant):
        first = append_request(approval_id, 1, make_event("intake", kind="received"))
        await service.program("approval").AppendEvents(first)
    return approval_id


def causes(entries: object) -> list[str]:
    assert isinstance(entries, list)
    return [entry.entry.event.cause_id for entry in entries]


async def test_an_append_is_answered_with_the_entries_as_stored(
    service: Service, make_event: MakeEvent
) -> None:
    approval_id = await begun(service, make_event)
    with acting_for("red"):
        answer = await service.program("worker-default").AppendEvents(
            append_request(approval_id, 2, make_event("a"))
        )

    assert answer.appended
    (stored,) = answer.entries
    assert (stored.index, stored.entry.tenant, stored.entry.number) == (1, "red", 2)
    assert stored.entry.approval_id == approval_id
    reason = stored.entry.event.commented.text
    assert reason.value == "fine"
    assert reason.commitment == commitment(reason.salt, "fine")
    assert stored.entry.event.time == make_event("a").time


async def test_the_same_append_again_is_answered_with_the_same_entries_and_stores_nothing(
    service: Service, make_event: MakeEvent
) -> None:
    request = append_request(await begun(service, make_event), 2, make_event("a"), make_event("b"))
    stub = service.program("worker-default")
    with acting_for("red"):
        first, again = await stub.AppendEvents(request), await stub.AppendEvents(request)
        reader = service.program("approval")
        size = (await reader.ListEvents(audit_service_pb2.ListEventsRequest())).size

    assert (first.appended, again.appended) == (True, False)
    assert list(first.entries) == list(again.entries)
    assert size == 3


async def test_who_comes_second_gets_what_is_stored_from_its_number_on(
    service: Service, make_event: MakeEvent
) -> None:
    approval_id = await begun(service, make_event)
    stub = service.program("worker-default")
    with acting_for("red"):
        await stub.AppendEvents(append_request(approval_id, 2, *(make_event(c) for c in "abc")))
        late = await stub.AppendEvents(append_request(approval_id, 3, make_event("late")))

    assert not late.appended
    assert causes(list(late.entries)) == ["b", "c"]
    assert late.entries[0].entry.event.commented.text.value == "fine"


async def test_an_append_that_would_leave_a_gap_is_refused_with_the_next_number(
    service: Service, make_event: MakeEvent
) -> None:
    with acting_for("red"), pytest.raises(FailedPrecondition) as refusal:
        await service.program("worker-default").AppendEvents(
            append_request(str(uuid.uuid4()), 7, make_event())
        )

    assert refusal.value.reason == "GAP"
    assert refusal.value.domain == "audit.placet"
    assert refusal.value.metadata == {"expected_next": "7", "next": "1"}


async def test_events_of_the_tenant_are_stored_once_by_cause(service: Service, make_event: MakeEvent) -> None:
    stub = service.program("approval")
    one, other = (make_event(cause, kind="fallback_alarm") for cause in ("approval/a", "approval/b"))
    with acting_for("red"):
        first = await stub.AppendEvents(append_request("", 0, one))
        mixed = await stub.AppendEvents(append_request("", 0, one, other))
        again = await stub.AppendEvents(append_request("", 0, other, other))

    assert (first.appended, mixed.appended, again.appended) == (True, True, False)
    assert causes(list(mixed.entries)) == ["approval/a", "approval/b"]
    assert [entry.index for entry in again.entries] == [1]
    assert [entry.entry.number for entry in mixed.entries] == [0, 0]


async def test_two_tenants_with_the_same_request_share_nothing(
    service: Service, make_event: MakeEvent
) -> None:
    approval_id = str(uuid.uuid4())
    stub = service.program("approval")
    for tenant in ("red", "blue"):
        with acting_for(tenant):
            first = make_event(tenant, kind="received")
            answer = await stub.AppendEvents(append_request(approval_id, 1, first))
            assert answer.appended
            assert answer.entries[0].index == 0

    for tenant in ("red", "blue"):
        auditor = service.stub("auditor", subject="alice@example.com", tenant=tenant)
        listed = await auditor.ListEvents(
            audit_service_pb2.ListEventsRequest(filter=audit_service_pb2.EventFilter(approval_id=approval_id))
        )
        assert causes(list(listed.entries)) == [tenant]
        tail = auditor.TailEvents(audit_service_pb2.TailEventsRequest(from_log_index=0))
        assert causes(list((await anext(aiter(tail))).entries)) == [tenant]
        tail.cancel()


async def test_pages_lead_through_the_whole_list_and_end(service: Service, make_event: MakeEvent) -> None:
    ours, theirs = await begun(service, make_event), await begun(service, make_event)
    writer, stub = service.program("worker-default"), service.program("approval")
    with acting_for("red"):
        for number in range(2, 6):
            for approval_id in (ours, theirs):
                await writer.AppendEvents(append_request(approval_id, number, make_event(f"c{number}")))
        for approval_id, expected in [(ours, [0, 2, 4, 6, 8]), ("", list(range(10)))]:
            request = audit_service_pb2.ListEventsRequest(
                filter=audit_service_pb2.EventFilter(approval_id=approval_id), page_size=3
            )
            indexes = []
            while True:
                page = await stub.ListEvents(request)
                indexes += [entry.index for entry in page.entries]
                assert page.size == 10
                if not page.next_page_token:
                    break
                request.page_token = page.next_page_token
            assert indexes == expected

        request.filter.approval_id, request.page_token = ours, "bm9uZQ=="
        with pytest.raises(InvalidArgument) as refusal:
            await stub.ListEvents(request)
    assert [violation.field for violation in refusal.value.violations] == ["page_token"]


async def test_a_tail_is_live_and_can_be_resumed_after_the_last_index_seen(
    service: Service, make_event: MakeEvent
) -> None:
    writer, stub = service.program("worker-default"), service.program("approval")
    with acting_for("red"):
        tail = stub.TailEvents(audit_service_pb2.TailEventsRequest(from_log_index=0))
        answers = aiter(tail)
        assert (await anext(answers)).size == 0
        approval_id = await begun(service, make_event)
        assert (await anext(answers)).size == 1
        await writer.AppendEvents(append_request(approval_id, 2, make_event("a"), make_event("b")))
        live = await anext(answers)
        tail.cancel()
        resumed = stub.TailEvents(audit_service_pb2.TailEventsRequest(from_log_index=2))
        rest = await anext(aiter(resumed))
        resumed.cancel()
        with pytest.raises(OutOfRange) as refusal:
            await anext(aiter(stub.TailEvents(audit_service_pb2.TailEventsRequest(from_log_index=4))))

    assert (causes(list(live.entries)), live.size) == (["a", "b"], 3)
    assert causes(list(rest.entries)) == ["b"]
    assert refusal.value.metadata == {"from": "4", "end": "3"}


@pytest.mark.parametrize(
    ("field", "spoil"),
    [
        ("approval_id", lambda request: setattr(request, "approval_id", "no uuid")),
        ("", lambda request: request.ClearField("expected_next")),
        ("events", lambda request: request.ClearField("events")),
        ("events[0].cause_id", lambda request: setattr(request.events[0], "cause_id", "\0")),
        ("events[0].time", lambda request: setattr(request.events[0].time, "seconds", 10**15)),
        ("events[0].commented.text.salt", lambda request: setattr(reason_of(request), "salt", b"chosen")),
        ("events[0].commented.text.value", lambda request: setattr(reason_of(request), "value", "x" * 16385)),
    ],
)
async def test_what_cannot_be_stored_is_refused_by_the_name_of_its_field(
    service: Service,
    make_event: MakeEvent,
    field: str,
    spoil: Callable[[audit_service_pb2.AppendEventsRequest], None],
) -> None:
    request = append_request(str(uuid.uuid4()), 1, make_event())
    spoil(request)

    with acting_for("red"), pytest.raises(InvalidArgument) as refusal:
        await service.program("worker-default").AppendEvents(request)

    assert field in [violation.field for violation in refusal.value.violations]


def reason_of(request: audit_service_pb2.AppendEventsRequest) -> event_pb2.Erasable:
    return request.events[0].commented.text


async def test_a_refusal_of_authority_is_recorded_in_the_callers_tenant_within_a_bound(
    service: Service, make_event: MakeEvent
) -> None:
    intruder = service.stub("requester", subject="bob@example.com", tenant="red")
    for _ in range(5):
        with pytest.raises(PermissionDenied):
            await intruder.AppendEvents(append_request(str(uuid.uuid4()), 1, make_event()))

    auditor = service.stub("auditor", subject="alice@example.com", tenant="red")
    tail = auditor.TailEvents(audit_service_pb2.TailEventsRequest(from_log_index=0))
    recorded: list[event_pb2.LogEntry] = []
    async with asyncio.timeout(60):
        async for answer in tail:
            recorded += answer.entries
            if len(recorded) >= 3:
                break
    tail.cancel()

    assert len({entry.entry.event.cause_id for entry in recorded}) == 3
    refused = recorded[0].entry.event
    assert refused.actor.name.value == "bob@example.com"
    assert refused.access_refused.method == "/placet.audit.v1.AuditService/AppendEvents"
    assert refused.access_refused.reason == "ROLE_REQUIRED"
    listed = await auditor.ListEvents(audit_service_pb2.ListEventsRequest())
    assert listed.size == 3
