"""Order of the interceptors, and the errors that a caller gets."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any
from unittest.mock import Mock

import grpc.aio
import pytest

from placet.audit.v1 import audit_service_pb2 as pb
from placet.event.v1 import event_pb2
from placet_rpc import errors, identity
from placet_rpc.access import methods_of
from placet_rpc.interceptors import server_interceptors
from placet_testing.conditions import until

pytestmark = pytest.mark.integration

Raising = Callable[[Exception], Callable[..., Any]]


def test_the_interceptors_stand_in_the_promised_order() -> None:
    names = [interceptor.name for interceptor in server_interceptors(Mock(), Mock(), Mock())]

    assert names == [
        "tracking",
        "opentelemetry",
        "request_log",
        "error_mapping",
        "admission",
        "authentication",
        "authorization",
        "validation",
    ]


async def test_a_failed_call_is_seen_as_failed_by_trace_and_log(
    run_audit: Any, spans: Any, caplog: pytest.LogCaptureFixture, raising: Raising
) -> None:
    caplog.set_level(logging.DEBUG, "placet_rpc")
    async with run_audit(ListEvents=raising(errors.OutOfRange("beyond"))) as audit:
        with pytest.raises(errors.OutOfRange):
            await audit.stub.ListEvents(pb.ListEventsRequest())
        await until(lambda: len(spans()) >= 2)

    assert {span.attributes["rpc.response.status_code"] for span in spans()} == {"OUT_OF_RANGE"}
    line = next(record for record in caplog.records if record.name == "placet_rpc.interceptors.observability")
    assert line.getMessage().startswith("placet.audit.v1.AuditService/ListEvents OUT_OF_RANGE in ")
    assert line.levelno == logging.INFO


async def test_a_loss_of_data_is_told_to_whoever_runs_the_service_too(
    run_audit: Any, caplog: pytest.LogCaptureFixture, raising: Raising
) -> None:
    lost = errors.DataLoss("The log of home is not whole", reason="LOG_INCONSISTENT")
    async with run_audit(ListEvents=raising(lost)) as audit:
        with pytest.raises(errors.DataLoss, match="not whole"):
            await audit.stub.ListEvents(pb.ListEventsRequest())

    line = next(record for record in caplog.records if record.name == "placet_rpc.interceptors.error_mapping")
    assert line.levelno == logging.ERROR
    assert line.getMessage() == "placet.audit.v1.AuditService/ListEvents: The log of home is not whole"
    assert vars(line)["reason"] == "LOG_INCONSISTENT"


@pytest.mark.parametrize(
    "error", [RuntimeError("hunter2"), KeyError("hunter2"), grpc.aio.UsageError("hunter2")]
)
async def test_no_text_of_an_exception_leaves_the_server(
    run_audit: Any,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
    raising: Raising,
    raising_stream: Raising,
) -> None:
    async with run_audit(ListEvents=raising(error), TailEvents=raising_stream(error)) as audit:
        with pytest.raises(errors.Internal) as unary:
            await audit.stub.ListEvents(pb.ListEventsRequest())
        with pytest.raises(errors.Internal) as stream:
            async for _ in audit.stub.TailEvents(pb.TailEventsRequest()):
                pass

    for caught in (unary, stream):
        raw = caught.value.__cause__
        assert isinstance(raw, grpc.aio.AioRpcError)
        assert "hunter2" not in f"{raw!r} {raw.trailing_metadata()}"
        reference = caught.value.metadata["reference"]
        logged = [record for record in caplog.records if reference in record.getMessage()]
        assert len(logged) == 1
        assert logged[0].exc_info is not None
        assert "hunter2" in str(logged[0].exc_info[1])


@pytest.mark.parametrize("answer", [None, "text", pb.TailEventsResponse(size=1)])
async def test_an_answer_of_the_wrong_type_is_an_internal_error_like_any_other(
    run_audit: Any, answer: Any
) -> None:
    async def wrong(request: Any, context: Any) -> Any:
        return answer

    async with run_audit(ListEvents=wrong) as audit:
        with pytest.raises(errors.Internal, match="reference"):
            await audit.stub.ListEvents(pb.ListEventsRequest())


async def test_bytes_that_are_no_message_are_an_invalid_argument(run_audit: Any, keys: Any) -> None:
    async with run_audit() as audit, grpc.aio.insecure_channel(audit.address) as channel:
        call: Any = channel.unary_unary("/placet.audit.v1.AuditService/ListEvents")
        metadata = (("authorization", f"Bearer {keys.token('auditor').token()}"),)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(b"\xff\xff", metadata=metadata)

    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert audit.servicer.handled == []


async def test_a_database_that_is_away_is_unavailable_and_its_text_stays(
    run_audit: Any, raising: Raising
) -> None:
    class DatabaseUnavailable(Exception):
        grpc_kind = "unavailable"

    async with run_audit(ListEvents=raising(DatabaseUnavailable("postgresql://u:p@db"))) as audit:
        with pytest.raises(errors.Unavailable) as caught:
            await audit.stub.ListEvents(pb.ListEventsRequest())

    assert "postgresql" not in str(caught.value)


async def test_a_broken_rule_names_its_field_and_a_rule_of_the_message_names_none(
    run_audit: Any, keys: Any
) -> None:
    token = keys.program("worker-default")
    async with run_audit(token=token) as audit:
        with identity.acting_for("default"), pytest.raises(errors.InvalidArgument) as caught:
            await audit.stub.AppendEvents(
                pb.AppendEventsRequest(
                    expected_next=1,
                    events=[event_pb2.Event(cause_id="x", actor=event_pb2.Actor(kind=99))],  # type: ignore[arg-type]  # a number that the enum does not have
                )
            )

    fields = {violation.field for violation in caught.value.violations}
    assert {"", "events[0].time", "events[0].actor.kind", "events[0].body"} <= fields
    assert "expected_next is 1 or more" in str(caught.value)
    assert audit.servicer.handled == []


async def test_a_key_of_a_map_is_named_in_its_field(run_audit: Any) -> None:
    from placet.approval.v1 import approval_service_pb2
    from placet_rpc.interceptors.validation import Validation

    method = methods_of(approval_service_pb2.DESCRIPTOR.services_by_name.values())[
        "/placet.approval.v1.ApprovalService/RequestApproval"
    ]
    request = approval_service_pb2.RequestApprovalRequest(labels={"": "v", "team": "v" * 201})

    with pytest.raises(errors.InvalidArgument) as caught:
        await Validation().unary(method, Mock())(request.SerializeToString(), Mock())

    fields = {violation.field: violation.description for violation in caught.value.violations}
    assert fields["content"] == "value is required"
    assert 'labels["team"]' in fields
    assert fields['labels[""]'].startswith("key ")
