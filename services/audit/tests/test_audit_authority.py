"""Rights to append: a rule for every event of the contract, tried with every program."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable
from typing import Protocol

import pytest

from placet.audit.v1 import audit_service_pb2, audit_service_pb2_grpc
from placet.event.v1 import event_pb2, options_pb2
from placet_audit.authority import RULES
from placet_rpc.errors import FailedPrecondition, PermissionDenied
from placet_rpc.identity import PROGRAMS, acting_for

pytestmark = pytest.mark.integration

MakeEvent = Callable[..., event_pb2.Event]
Request = audit_service_pb2.AppendEventsRequest

# Written by EraseEvents and SwitchAutomation, on an operator's word.
NOBODYS = {"erased", "automation_switched"}
ALL_KINDS = [field.name for field in event_pb2.Event.DESCRIPTOR.oneofs_by_name["body"].fields]
KINDS = [kind for kind in ALL_KINDS if kind not in NOBODYS]
OF_THE_TENANT = {"access_refused", "fallback_alarm"}
# Written here once more, so that a contract that opens the log to another program turns a test red.
BY_PROGRAM = {
    "approval": {"received", *OF_THE_TENANT},
    "decision": {"access_refused"},
    "notification": {"access_refused"},
    "witness": set(),
    "worker-default": set(KINDS) - {"received", *OF_THE_TENANT},
    "worker-openai": set(),
    "worker-ml": set(),
}


class Service(Protocol):
    """The running AuditService of the tests."""

    def stub(
        self, *roles: str, subject: str = ..., tenant: str = ...
    ) -> audit_service_pb2_grpc.AuditServiceStub:
        """A caller in these roles."""
        ...

    def program(self, name: str, *tenants: str) -> audit_service_pb2_grpc.AuditServiceStub:
        """A program of Placet."""
        ...


def append_of(kind: str, program: str, *, of_tenant: bool, make_event: MakeEvent) -> Request:
    """An append of one such event to the tenant, or as a new request's first."""
    event = make_event(f"{program}/{uuid.uuid4()}", kind=kind)
    if kind == "access_refused":
        event.access_refused.method = f"/placet.{program}.v1.Service/Method"
    if of_tenant:
        return Request(events=[event])
    return Request(approval_id=str(uuid.uuid4()), expected_next=1, events=[event])


def test_every_kind_of_event_has_a_rule() -> None:
    assert set(RULES) == set(KINDS)


def test_the_contract_gives_each_kind_to_the_programs_that_write_it() -> None:
    assert BY_PROGRAM.keys() == PROGRAMS
    by_program = {
        program: {kind for kind, rule in RULES.items() if program in rule.programs} for program in BY_PROGRAM
    }
    assert by_program == BY_PROGRAM
    assert {kind for kind, rule in RULES.items() if rule.place == options_pb2.PLACE_TENANT} == OF_THE_TENANT
    assert {kind for kind, rule in RULES.items() if rule.place == options_pb2.PLACE_FIRST} == {"received"}


@pytest.mark.parametrize("program", sorted(BY_PROGRAM))
async def test_a_program_appends_only_its_own_kinds_and_each_only_where_it_belongs(
    sqlite_service: Service, make_event: MakeEvent, program: str
) -> None:
    # Of one tenant, so that no refusal is recorded where it would be counted.
    stub = sqlite_service.program(program, "home", "red")
    permitted: set[str] = set()
    for kind in ALL_KINDS:
        belongs_to_tenant = kind in OF_THE_TENANT
        for of_tenant in (True, False):
            append = append_of(kind, program, of_tenant=of_tenant, make_event=make_event)
            with acting_for("red"):
                if kind in BY_PROGRAM[program] and of_tenant == belongs_to_tenant:
                    if await is_permitted(stub, append):
                        permitted.add(kind)
                    continue
                with pytest.raises(PermissionDenied) as refusal:
                    await stub.AppendEvents(append)
            if BY_PROGRAM[program]:
                assert (refusal.value.reason, refusal.value.domain) == ("NOT_THE_WRITER", "audit.placet")
                assert refusal.value.metadata == {"event": kind, "program": program}
            else:
                assert refusal.value.reason == "PROGRAM_REFUSED"
    assert permitted == BY_PROGRAM[program]
    auditor = sqlite_service.stub("auditor", tenant="red")
    listed = await auditor.ListEvents(audit_service_pb2.ListEventsRequest(page_size=1000))
    appended = [one.entry.event for one in listed.entries]
    own = [event for event in appended if event.cause_id.startswith(f"{program}/")]
    assert {event.WhichOneof("body") for event in own} <= BY_PROGRAM[program]
    # What else is there AuditService wrote: the refusals.
    assert {event.cause_id.split("/")[0] for event in appended} <= {program, "audit"}


async def is_permitted(stub: audit_service_pb2_grpc.AuditServiceStub, request: Request) -> bool:
    """True if the append is made, or refused by the grammar alone, which is asked after the rights."""
    try:
        return (await stub.AppendEvents(request)).appended
    except FailedPrecondition as refusal:
        return refusal.reason == "NOT_IN_GRAMMAR"


async def test_one_event_that_is_not_the_writers_refuses_the_whole_append_and_is_recorded(
    sqlite_service: Service, make_event: MakeEvent
) -> None:
    approval_id = str(uuid.uuid4())
    events = [make_event(kind, kind=kind) for kind in ("received", "decided")]
    with acting_for("red"), pytest.raises(PermissionDenied):
        await sqlite_service.program("approval").AppendEvents(
            Request(approval_id=approval_id, expected_next=1, events=events)
        )

    (refused,) = await recorded(sqlite_service, 1)
    assert refused.actor.name.value == "approval"
    assert refused.access_refused.reason == "NOT_THE_WRITER"
    assert refused.access_refused.approval_id == approval_id


async def test_received_is_a_requests_first_event_and_never_a_later_one(
    sqlite_service: Service, make_event: MakeEvent
) -> None:
    approval_id, received = str(uuid.uuid4()), make_event("received", kind="received")
    stub = sqlite_service.program("approval")
    with acting_for("red"):
        await stub.AppendEvents(Request(approval_id=approval_id, expected_next=1, events=[received]))
        for later in (
            Request(approval_id=approval_id, expected_next=2, events=[received]),
            Request(approval_id=approval_id, expected_next=1, events=[received, received]),
        ):
            with pytest.raises(PermissionDenied):
                await stub.AppendEvents(later)


async def test_no_program_takes_the_cause_of_another_before_it(
    sqlite_service: Service, make_event: MakeEvent
) -> None:
    alarm = make_event("approval/fallback-alarm/1/first", kind="fallback_alarm")
    taken = make_event(alarm.cause_id, kind="access_refused")
    taken.access_refused.method = "/placet.decision.v1.DecisionService/Decide"
    with acting_for("red"):
        for cause in (alarm.cause_id, "decision", "", "decisions/1", "erase/1/1"):
            taken.cause_id = cause or "x"
            with pytest.raises(PermissionDenied) as refusal:
                await sqlite_service.program("decision").AppendEvents(Request(events=[taken]))
            assert refusal.value.reason == "NOT_THE_WRITER"
        answer = await sqlite_service.program("approval").AppendEvents(Request(events=[alarm]))
    assert answer.appended
    assert answer.entries[0].entry.event.HasField("fallback_alarm")


@pytest.mark.parametrize(
    "method",
    [
        "",
        "/placet.approval.v1.ApprovalService/GetApproval",
        "/placet.decisions.v1.X/Y",
        "placet.decision.v1.X/Y",
    ],
)
async def test_a_program_records_refusals_of_its_own_rpcs_alone(
    sqlite_service: Service, make_event: MakeEvent, method: str
) -> None:
    event = make_event("decision/refusal/1", kind="access_refused")
    event.access_refused.method = method
    with acting_for("red"), pytest.raises(PermissionDenied) as refusal:
        await sqlite_service.program("decision").AppendEvents(Request(events=[event]))
    assert refusal.value.reason == "NOT_THE_WRITER"


async def test_a_program_appends_nothing_for_a_tenant_that_its_token_does_not_name(
    sqlite_service: Service, make_event: MakeEvent
) -> None:
    request = append_of("received", "approval", of_tenant=False, make_event=make_event)
    with acting_for("red"), pytest.raises(PermissionDenied) as refusal:
        await sqlite_service.program("approval", "blue").AppendEvents(request)
    assert refusal.value.reason == "OTHER_TENANT"
    auditor = sqlite_service.stub("auditor", tenant="red")
    assert (await auditor.ListEvents(audit_service_pb2.ListEventsRequest())).size == 0


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
