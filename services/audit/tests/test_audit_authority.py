"""Rights to append: a rule for every event of the contract, tried with every role."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable
from itertools import product
from typing import Protocol

import pytest

from placet.audit.v1 import audit_service_pb2, audit_service_pb2_grpc
from placet.event.v1 import event_pb2, options_pb2
from placet_audit.authority import RULES
from placet_rpc.errors import FailedPrecondition, PermissionDenied
from placet_rpc.identity import acting_for

pytestmark = pytest.mark.integration

MakeEvent = Callable[..., event_pb2.Event]
Request = audit_service_pb2.AppendEventsRequest

# An erasure is written by EraseEvents, in one transaction with what it says.
NOBODYS = {"erased"}
ALL_KINDS = [field.name for field in event_pb2.Event.DESCRIPTOR.oneofs_by_name["body"].fields]
KINDS = [kind for kind in ALL_KINDS if kind not in NOBODYS]
# Services write a request's first event and their refusals, workers all else.
OF_THE_TENANT = {"access_refused", "fallback_alarm"}
OF_THE_SERVICE = {"received", *OF_THE_TENANT}
BY_ROLE = {"service": OF_THE_SERVICE, "worker": set(KINDS) - OF_THE_SERVICE}


class Service(Protocol):
    """The running AuditService of the tests."""

    def stub(
        self, *roles: str, subject: str = ..., tenant: str = ...
    ) -> audit_service_pb2_grpc.AuditServiceStub:
        """A caller in these roles."""
        ...


def append_of(kind: str, *, of_tenant: bool, make_event: MakeEvent) -> Request:
    """An append of one such event to the tenant, or as a new request's first."""
    events = [make_event(kind, kind=kind)]
    if of_tenant:
        return Request(events=events)
    return Request(approval_id=str(uuid.uuid4()), expected_next=1, events=events)


def test_every_kind_of_event_has_a_rule() -> None:
    assert set(RULES) == set(KINDS)


def test_the_contract_gives_each_kind_to_the_role_that_writes_it() -> None:
    by_role = {role: {kind for kind, rule in RULES.items() if rule.role == role} for role in BY_ROLE}
    assert by_role == BY_ROLE
    assert {kind for kind, rule in RULES.items() if rule.place == options_pb2.PLACE_TENANT} == OF_THE_TENANT
    assert {kind for kind, rule in RULES.items() if rule.place == options_pb2.PLACE_FIRST} == {"received"}


@pytest.mark.parametrize(("kind", "role"), list(product(NOBODYS, BY_ROLE)))
async def test_what_has_no_rule_nobody_appends(
    sqlite_service: Service, make_event: MakeEvent, kind: str, role: str
) -> None:
    with acting_for("red"):
        for of_tenant in (True, False):
            with pytest.raises(PermissionDenied) as refusal:
                await sqlite_service.stub(role).AppendEvents(
                    append_of(kind, of_tenant=of_tenant, make_event=make_event)
                )
            assert (refusal.value.reason, refusal.value.metadata) == ("NOT_THE_WRITER", {"event": kind})


@pytest.mark.parametrize(("kind", "role"), list(product(KINDS, BY_ROLE)))
async def test_a_role_appends_only_its_own_kinds_and_each_only_where_it_belongs(
    sqlite_service: Service, make_event: MakeEvent, kind: str, role: str
) -> None:
    stub = sqlite_service.stub(role)
    belongs_to_tenant = kind in OF_THE_TENANT
    with acting_for("red"):
        misplaced = append_of(kind, of_tenant=not belongs_to_tenant, make_event=make_event)
        with pytest.raises(PermissionDenied) as refusal:
            await stub.AppendEvents(misplaced)
        assert refusal.value.reason == "NOT_THE_WRITER"

        placed = append_of(kind, of_tenant=belongs_to_tenant, make_event=make_event)
        if kind in BY_ROLE[role]:
            assert await is_permitted(stub, placed)
            return
        with pytest.raises(PermissionDenied) as refusal:
            await stub.AppendEvents(placed)
    assert refusal.value.domain == "audit.placet"
    assert refusal.value.metadata == {"event": kind, "role": role_of(kind)}


async def is_permitted(stub: audit_service_pb2_grpc.AuditServiceStub, request: Request) -> bool:
    """True if the append is made, or refused by the grammar alone, which is asked after the rights."""
    try:
        return (await stub.AppendEvents(request)).appended
    except FailedPrecondition as refusal:
        return refusal.reason == "NOT_IN_GRAMMAR"


def role_of(kind: str) -> str:
    return next(role for role, kinds in BY_ROLE.items() if kind in kinds)


async def test_one_event_that_is_not_the_writers_refuses_the_whole_append_and_is_recorded(
    sqlite_service: Service, make_event: MakeEvent
) -> None:
    approval_id = str(uuid.uuid4())
    events = [make_event(kind, kind=kind) for kind in ("received", "decided")]
    with acting_for("red"), pytest.raises(PermissionDenied):
        await sqlite_service.stub("service", subject="placet-notification").AppendEvents(
            Request(approval_id=approval_id, expected_next=1, events=events)
        )

    (refused,) = await recorded(sqlite_service, 1)
    assert refused.actor.name.value == "placet-notification"
    assert refused.access_refused.reason == "NOT_THE_WRITER"
    assert refused.access_refused.approval_id == approval_id


async def test_received_is_a_requests_first_event_and_never_a_later_one(
    sqlite_service: Service, make_event: MakeEvent
) -> None:
    approval_id, received = str(uuid.uuid4()), make_event("received", kind="received")
    stub = sqlite_service.stub("service")
    with acting_for("red"):
        await stub.AppendEvents(Request(approval_id=approval_id, expected_next=1, events=[received]))
        for later in (
            Request(approval_id=approval_id, expected_next=2, events=[received]),
            Request(approval_id=approval_id, expected_next=1, events=[received, received]),
        ):
            with pytest.raises(PermissionDenied):
                await stub.AppendEvents(later)


async def recorded(service: Service, number: int) -> Iterable[event_pb2.Event]:
    """The first events that the tenant's log holds, once they are there."""
    auditor = service.stub("auditor", subject="alice@example.com", tenant="red")
    tail = auditor.TailEvents(audit_service_pb2.TailEventsRequest(from_log_index=0))
    found: list[event_pb2.Event] = []
    async for answer in tail:
        found += [entry.entry.event for entry in answer.entries]
        if len(found) >= number:
            break
    tail.cancel()
    return found
