"""What a call passes through, in which order, and what the caller gets to know."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any
from unittest.mock import Mock

import grpc.aio
import pytest
from google.protobuf import descriptor_pb2
from google.protobuf.descriptor_pool import DescriptorPool

from placet.audit.v1 import audit_service_pb2 as pb
from placet.audit.v1 import event_pb2
from placet_rpc import errors, identity
from placet_rpc.access import ContractError, methods_of
from placet_rpc.interceptors import server_interceptors
from placet_rpc.server import CannotListen, Endpoint, start

Eventually = Callable[..., Awaitable[Any]]
APPROVAL_ID = "1c9e3a52-6f0b-4d52-9a39-0e5d5a1f7b11"


async def empty_list(request: Any, context: Any) -> pb.ListEventsResponse:
    return pb.ListEventsResponse()


def raising(error: Exception) -> Callable[..., Any]:
    async def handle(request: Any, context: Any) -> Any:
        raise error

    return handle


def raising_stream(error: Exception) -> Callable[..., Any]:
    async def handle(request: Any, context: Any) -> AsyncIterator[Any]:
        yield pb.TailEventsResponse(size=1)
        raise error

    return handle


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
    run_audit: Any, spans: Any, caplog: pytest.LogCaptureFixture, eventually: Eventually
) -> None:
    caplog.set_level(logging.DEBUG, "placet.rpc")
    async with run_audit(ListEvents=raising(errors.OutOfRange("beyond"))) as audit:
        with pytest.raises(errors.OutOfRange):
            await audit.stub.ListEvents(pb.ListEventsRequest())
        await eventually(lambda: len(spans()) == 2)

    assert {span.attributes["rpc.response.status_code"] for span in spans()} == {"OUT_OF_RANGE"}
    line = next(record for record in caplog.records if record.name == "placet.rpc.requests")
    assert line.getMessage().startswith("placet.audit.v1.AuditService/ListEvents OUT_OF_RANGE in ")
    assert line.levelno == logging.INFO


@pytest.mark.parametrize(
    "error", [RuntimeError("hunter2"), KeyError("hunter2"), grpc.aio.UsageError("hunter2")]
)
async def test_no_text_of_an_exception_leaves_the_server(
    run_audit: Any, caplog: pytest.LogCaptureFixture, error: Exception
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


async def test_a_database_that_is_away_is_unavailable_and_its_text_stays(run_audit: Any) -> None:
    class DatabaseUnavailable(Exception):
        grpc_kind = "unavailable"

    async with run_audit(ListEvents=raising(DatabaseUnavailable("postgresql://u:p@db"))) as audit:
        with pytest.raises(errors.Unavailable) as caught:
            await audit.stub.ListEvents(pb.ListEventsRequest())

    assert "postgresql" not in str(caught.value)


async def test_a_broken_rule_names_its_field_and_a_rule_of_the_message_names_none(
    run_audit: Any, keys: Any
) -> None:
    token = keys.token("worker")
    async with run_audit(token=token) as audit:
        with identity.acting_for("default"), pytest.raises(errors.InvalidArgument) as caught:
            await audit.stub.AppendEvents(
                pb.AppendEventsRequest(
                    expected_next=1,
                    events=[event_pb2.Event(cause_id="x", actor=event_pb2.Actor(kind=99))],  # type: ignore[arg-type]
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


async def test_the_caller_is_known_to_the_handler(run_audit: Any) -> None:
    seen: list[identity.Principal] = []

    async def note(request: Any, context: Any) -> pb.ListEventsResponse:
        seen.append(identity.current())
        return pb.ListEventsResponse()

    async def note_stream(request: Any, context: Any) -> AsyncIterator[Any]:
        seen.append(identity.current())
        yield pb.TailEventsResponse()

    async with run_audit(ListEvents=note, TailEvents=note_stream) as audit:
        await audit.stub.ListEvents(pb.ListEventsRequest())
        async for _ in audit.stub.TailEvents(pb.TailEventsRequest()):
            pass

    assert [(who.subject, who.tenant) for who in seen] == [("auditor@example.com", "default")] * 2
    assert identity.current_or_none() is None


async def test_a_service_acts_for_the_tenant_that_its_call_names(run_audit: Any, keys: Any) -> None:
    seen: list[str] = []

    async def note(request: Any, context: Any) -> pb.ListEventsResponse:
        seen.append(identity.current().tenant)
        return pb.ListEventsResponse()

    async with run_audit(token=keys.token("service"), ListEvents=note) as audit:
        for tenant in ("acme", "globex"):
            with identity.acting_for(tenant):
                await audit.stub.ListEvents(pb.ListEventsRequest())
        with pytest.raises(errors.PermissionDenied) as caught:
            await audit.stub.ListEvents(pb.ListEventsRequest())

    assert seen == ["acme", "globex"]
    assert caught.value.reason == "TENANT_REQUIRED"


async def test_the_tenant_goes_on_to_the_calls_that_a_call_makes(run_audit: Any, keys: Any) -> None:
    seen: list[str] = []

    async def note(request: Any, context: Any) -> pb.ListEventsResponse:
        seen.append(identity.current().tenant)
        return pb.ListEventsResponse()

    async with run_audit(token=keys.token("service"), ListEvents=note) as inner:

        async def ask(request: Any, context: Any) -> Any:
            return await inner.stub.ListEvents(request)

        token = keys.token("auditor", tenant="acme")
        async with run_audit(token=token, ListEvents=ask) as outer:
            await outer.stub.ListEvents(pb.ListEventsRequest())

    assert seen == ["acme"]


async def test_a_refusal_by_role_is_reported_with_who_and_about_what(
    run_audit: Any, keys: Any, eventually: Eventually
) -> None:
    heard: list[tuple[Any, ...]] = []

    async def hook(*refusal: Any) -> None:
        heard.append(refusal)

    token = keys.token("requester", subject="eve@example.com")
    async with run_audit(token=token, on_access_refused=hook) as audit:
        with pytest.raises(errors.PermissionDenied):
            await audit.stub.ListEvents(pb.ListEventsRequest(approval_id=APPROVAL_ID))
        with pytest.raises(errors.PermissionDenied):
            await audit.stub.ListEvents(pb.ListEventsRequest(approval_id="x" * 5000))
        await eventually(lambda: len(heard) == 2)

    method, reason, principal, approval_id = heard[0]
    assert (method, reason) == ("/placet.audit.v1.AuditService/ListEvents", "ROLE_REQUIRED")
    assert (principal.subject, approval_id) == ("eve@example.com", APPROVAL_ID)
    assert heard[1][3] == ""


async def test_a_refusal_by_a_handler_is_reported_and_a_stranger_s_call_is_not(
    run_audit: Any, keys: Any, eventually: Eventually
) -> None:
    heard: list[tuple[Any, ...]] = []

    async def hook(*refusal: Any) -> None:
        heard.append(refusal)

    denied = errors.PermissionDenied("not asked", reason="NOT_ASKED")
    async with run_audit(
        on_access_refused=hook, ListEvents=raising(denied), TailEvents=raising_stream(denied)
    ) as audit:
        async with grpc.aio.insecure_channel(audit.address) as stranger:
            call: Any = stranger.unary_unary("/placet.audit.v1.AuditService/ListEvents")
            with pytest.raises(grpc.aio.AioRpcError):
                await call(b"")
        with pytest.raises(errors.PermissionDenied):
            await audit.stub.ListEvents(pb.ListEventsRequest())
        with pytest.raises(errors.PermissionDenied):
            async for _ in audit.stub.TailEvents(pb.TailEventsRequest()):
                pass
        await eventually(lambda: len(heard) == 2)

    assert {refusal[1] for refusal in heard} == {"NOT_ASKED"}
    assert {refusal[2].subject for refusal in heard} == {"auditor@example.com"}


async def test_a_hook_that_hangs_or_fails_neither_delays_nor_fails_a_call(run_audit: Any, keys: Any) -> None:
    blocked = asyncio.Event()

    async def hook(*refusal: Any) -> None:
        await blocked.wait()
        raise RuntimeError

    async with run_audit(token=keys.token("requester"), on_access_refused=hook) as audit:
        for _ in range(1100):
            with pytest.raises(errors.PermissionDenied):
                await audit.stub.ListEvents(pb.ListEventsRequest())
        blocked.set()


async def test_refusals_are_handed_over_before_the_server_has_stopped(run_audit: Any, keys: Any) -> None:
    heard: list[Any] = []

    async def slow_hook(*refusal: Any) -> None:
        await asyncio.sleep(0.01)
        heard.append(refusal)

    async with run_audit(token=keys.token("requester"), on_access_refused=slow_hook) as audit:
        for _ in range(20):
            with pytest.raises(errors.PermissionDenied):
                await audit.stub.ListEvents(pb.ListEventsRequest())

    assert len(heard) == 20


async def test_a_message_beyond_the_bound_is_refused_and_the_server_lives(run_audit: Any) -> None:
    async with run_audit(changes={"max_message_bytes": 10_000}, ListEvents=empty_list) as audit:
        with pytest.raises(errors.ResourceExhausted):
            await audit.stub.ListEvents(pb.ListEventsRequest(approval_id="x" * 20_000))
        await audit.stub.ListEvents(pb.ListEventsRequest())


async def test_calls_beyond_the_bound_are_refused_and_health_still_answers(
    run_audit: Any, eventually: Eventually
) -> None:
    from placet_rpc.client import serving

    release = asyncio.Event()

    async def wait(request: Any, context: Any) -> pb.ListEventsResponse:
        await release.wait()
        return pb.ListEventsResponse()

    async with run_audit(changes={"max_calls": 3}, ListEvents=wait) as audit:
        held = [asyncio.ensure_future(audit.stub.ListEvents(pb.ListEventsRequest())) for _ in range(3)]
        await eventually(lambda: len(audit.servicer.handled) == 3)

        with pytest.raises(errors.ResourceExhausted, match="try later"):
            await audit.stub.ListEvents(pb.ListEventsRequest())
        assert await serving(audit.address, "placet.audit.v1.AuditService")

        release.set()
        await asyncio.gather(*held)
        await audit.stub.ListEvents(pb.ListEventsRequest())


async def test_health_knows_the_server_and_its_services_only(run_audit: Any) -> None:
    from placet_rpc.client import serving

    async with run_audit() as audit:
        assert await serving(audit.address)
        assert await serving(audit.address, "placet.audit.v1.AuditService")
        assert not await serving(audit.address, "placet.approval.v1.ApprovalService")
    assert not await serving(audit.address)


@pytest.mark.parametrize("asked", [False, True])
async def test_the_contracts_are_told_only_when_that_was_asked_for(run_audit: Any, asked: bool) -> None:
    from grpc_reflection.v1alpha import (
        reflection_pb2,
        reflection_pb2_grpc,
    )

    async with (
        run_audit(changes={"reflection": asked}) as audit,
        grpc.aio.insecure_channel(audit.address) as channel,
    ):
        stub: Any = reflection_pb2_grpc.ServerReflectionStub(channel)
        call = stub.ServerReflectionInfo(iter([reflection_pb2.ServerReflectionRequest(list_services="")]))
        names: set[str] = set()
        with suppress(grpc.aio.AioRpcError):
            async for answer in call:
                names.update(service.name for service in answer.list_services_response.service)

    assert ("placet.audit.v1.AuditService" in names) == asked


async def test_a_port_that_is_taken_is_a_clear_error(run_audit: Any, settings: Any) -> None:
    async with run_audit() as audit:
        with pytest.raises(CannotListen, match=audit.address):
            await start(settings(listen=audit.address), [])


def service_with(method: descriptor_pb2.MethodDescriptorProto) -> Any:
    """A service of one RPC, as another contract might have it."""
    file = descriptor_pb2.FileDescriptorProto(name="x.proto", package="placet.x.v1", syntax="proto3")
    file.message_type.add(name="Message")
    method.MergeFrom(
        descriptor_pb2.MethodDescriptorProto(
            name="Do", input_type=".placet.x.v1.Message", output_type=".placet.x.v1.Message"
        )
    )
    file.service.add(name="XService").method.append(method)
    pool = DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return pool.FindServiceByName("placet.x.v1.XService")


def with_roles(*roles: int) -> descriptor_pb2.MethodDescriptorProto:
    from placet.rpc.v1 import access_pb2

    method = descriptor_pb2.MethodDescriptorProto()
    method.options.Extensions[access_pb2.access].roles.extend(roles)  # type: ignore[arg-type]
    return method


async def test_a_server_whose_servicer_answers_in_another_style_refuses_to_start(settings: Any) -> None:
    class Written:
        async def AppendEvents(self, request: Any, context: Any) -> Any: ...

        async def ListEvents(self, request: Any, context: Any) -> Any: ...

        async def TailEvents(self, request: Any, context: Any) -> None:
            await context.write(pb.TailEventsResponse())

    endpoint = Endpoint(
        pb.DESCRIPTOR.services_by_name["AuditService"], lambda servicer, server: None, Written()
    )

    with pytest.raises(ContractError, match="TailEvents must be an async generator"):
        await start(settings(), [endpoint])


@pytest.mark.parametrize(
    ("method", "why"),
    [
        (descriptor_pb2.MethodDescriptorProto(), "names no role"),
        (with_roles(), "names no role"),
        (with_roles(0, 1), "ROLE_UNSPECIFIED"),
        (descriptor_pb2.MethodDescriptorProto(client_streaming=True), "streams its requests"),
    ],
)
async def test_a_server_with_an_rpc_that_it_cannot_guard_refuses_to_start(
    settings: Any, method: descriptor_pb2.MethodDescriptorProto, why: str
) -> None:
    endpoint = Endpoint(service_with(method), lambda servicer, server: None, object())

    with pytest.raises(ContractError, match=why):
        await start(settings(), [endpoint])
