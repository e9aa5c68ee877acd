"""A request is kept for the time that is set, and erased before it only if the operator says so."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Protocol

import pytest
from pydantic import ValidationError

from placet.audit.v1 import audit_service_pb2, audit_service_pb2_grpc
from placet.event.v1 import event_pb2
from placet_audit.config import Settings
from placet_rpc.errors import FailedPrecondition
from placet_rpc.identity import acting_for
from placet_testing.attestation import attest

MakeEvent = Callable[..., event_pb2.Event]
Stub = audit_service_pb2_grpc.AuditServiceStub


class Service(Protocol):
    """The running AuditService of the tests."""

    def stub(self, *roles: str, subject: str = ..., tenant: str = ...) -> Stub:
        """A caller in these roles."""
        ...

    def program(self, name: str, *tenants: str) -> Stub:
        """A program of Placet."""
        ...


@pytest.mark.integration
async def test_a_request_is_kept_until_its_time_is_over_unless_the_operator_says_otherwise(
    service: Service, make_event: MakeEvent
) -> None:
    approval_id, now = str(uuid.uuid4()), datetime.now(UTC)
    operator = service.stub("operator", subject="op@example.com")
    received, decided = make_event("intake", kind="received"), make_event("cancel", kind="decided")
    decided.decided.state, decided.decided.source = event_pb2.STATE_CANCELLED, event_pb2.SOURCE_REQUESTER
    decided.decided.approver.value = decided.actor.name.value
    attest(decided, "home", approval_id)
    closed = make_event("close", kind="closed")
    closed.closed.state = event_pb2.STATE_CANCELLED
    closed.time.FromDatetime(now)
    with acting_for("home"):
        for number, program, events in (
            (1, "approval", [received]),
            (2, "worker-default", [decided, closed]),
        ):
            await service.program(program).AppendEvents(
                audit_service_pb2.AppendEventsRequest(
                    approval_id=approval_id, expected_next=number, events=events
                )
            )
    erasing = audit_service_pb2.EraseEventsRequest(approval_id=approval_id, reason="asked to")

    with pytest.raises(FailedPrecondition) as refused:
        await operator.EraseEvents(erasing)

    assert refused.value.reason == "RETAINED"
    until = datetime.fromisoformat(refused.value.metadata["until"])
    assert abs(until - now - timedelta(days=184)) < timedelta(seconds=2)
    listed = await operator.ListEvents(audit_service_pb2.ListEventsRequest())
    assert all(one.entry.event.actor.name.value for one in listed.entries)

    erasing.before_retention = True
    answer = await operator.EraseEvents(erasing)
    assert answer.entry.entry.event.erased.values == 5


@pytest.mark.parametrize("days", [-1, 36_501, 10**12])
def test_a_time_to_keep_that_no_calendar_holds_is_refused_at_the_start(days: int) -> None:
    with pytest.raises(ValidationError, match="retention_days"):
        Settings(retention_days=days)
    assert Settings(retention_days=36_500).retention() == timedelta(days=36_500)
