"""Refusals of authority reach the log of the refused caller's tenant, and cannot flood it."""

from __future__ import annotations

from placet.event.v1 import event_pb2
from placet_rpc.access_refusals import RefusalRecorder, refusal_event
from placet_rpc.identity import Principal

METHOD = "/placet.approval.v1.ApprovalService/SubmitDecision"
ID = "0d5ad5c6-7a4e-5c53-8b1f-1f6bd0d2a001"


def principal(subject: str = "mallory@example.com", tenant: str = "home") -> Principal:
    return Principal(subject, tenant, frozenset({"approver"}), "jwt:test")


def test_a_refusal_says_who_was_refused_what_and_why() -> None:
    event = refusal_event(METHOD, "NOT_ASKED", principal(), ID, program="approval")

    assert event.actor.kind == event_pb2.ACTOR_KIND_PERSON
    assert (event.actor.name.value, event.actor.authenticated_by) == ("mallory@example.com", "jwt:test")
    assert event.access_refused == event_pb2.AccessRefused(method=METHOD, reason="NOT_ASKED", approval_id=ID)
    assert event.time.seconds > 0


def test_two_refusals_are_two_events_also_when_they_are_alike() -> None:
    first, second = (
        refusal_event(METHOD, "NOT_ASKED", principal(), ID, program="approval") for _ in range(2)
    )

    assert first.cause_id != second.cause_id
    # The log takes a program's own causes only.
    assert first.cause_id.startswith("approval/")


def test_a_program_is_recorded_as_one() -> None:
    event = refusal_event(METHOD, "ROLE_REQUIRED", principal("worker-default"), "", program="approval")

    assert event.actor.kind == event_pb2.ACTOR_KIND_SERVICE
    assert not event.actor.authenticated_by


async def test_no_tenant_is_recorded_more_often_than_the_bound_and_none_at_anothers_cost() -> None:
    appended: list[str] = []

    async def append(tenant: str, event: event_pb2.Event) -> None:
        appended.append(tenant)

    recorder = RefusalRecorder(append, program="approval", per_minute=2)
    for tenant in ("home", "home", "home", "home", "abroad"):
        await recorder.record(METHOD, "NOT_ASKED", principal(tenant=tenant), ID)

    assert 2 <= appended.count("home") < 4  # more than 2 only if a minute ended meanwhile
    assert appended.count("abroad") == 1
