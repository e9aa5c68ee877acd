"""One trace through every hop, its spans ended once, with the statuses of what really happened."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind, StatusCode

from placet.audit.v1 import audit_service_pb2 as pb
from placet_rpc import errors
from placet_testing.conditions import until

pytestmark = pytest.mark.integration

Spans = Callable[[], list[ReadableSpan]]

LIST = "placet.audit.v1.AuditService/ListEvents"
TAIL = "placet.audit.v1.AuditService/TailEvents"


def tree(spans: list[ReadableSpan]) -> dict[str, Any]:
    """Name and kind of each span below its parent; a parent that is elsewhere is a root."""
    known = {span.context.span_id for span in spans if span.context}

    def below(parent: int | None) -> dict[str, Any]:
        return {
            f"{span.kind.name} {span.name}": below(span.context.span_id)
            for span in spans
            if span.context
            and (span.parent.span_id if span.parent and span.parent.span_id in known else None) == parent
        }

    return below(None)


async def empty(request: Any, context: Any) -> pb.ListEventsResponse:
    return pb.ListEventsResponse()


async def test_a_call_inside_a_call_is_one_trace(run_audit: Any, spans: Spans) -> None:
    async with run_audit(ListEvents=empty) as far:

        async def stream(request: Any, context: Any) -> AsyncIterator[Any]:
            await far.stub.ListEvents(pb.ListEventsRequest())
            yield pb.TailEventsResponse()

        async with run_audit(TailEvents=stream) as near:
            with trace.get_tracer("test").start_as_current_span("caller"):
                async for _ in near.stub.TailEvents(pb.TailEventsRequest()):
                    pass
            await until(lambda: len(spans()) >= 5)

    assert tree(spans()) == {
        "INTERNAL caller": {f"CLIENT {TAIL}": {f"SERVER {TAIL}": {f"CLIENT {LIST}": {f"SERVER {LIST}": {}}}}}
    }
    assert len({span.context.trace_id for span in spans() if span.context}) == 1
    assert {span.status.status_code for span in spans()} == {StatusCode.UNSET}


async def test_the_span_in_which_a_server_was_started_is_nobody_s_parent(
    run_audit: Any, spans: Spans
) -> None:
    import grpc.aio

    with trace.get_tracer("test").start_as_current_span("start-up"):
        context = run_audit(ListEvents=empty)
        audit = await context.__aenter__()
    async with grpc.aio.insecure_channel(audit.address) as stranger:
        call: Any = stranger.unary_unary(f"/{LIST}")
        with pytest.raises(grpc.aio.AioRpcError):
            await call(b"")
    await until(lambda: len(spans()) >= 2)
    await context.__aexit__(None, None, None)

    (server,) = (span for span in spans() if span.kind is SpanKind.SERVER)
    assert server.parent is None


@pytest.mark.parametrize(
    ("error", "code", "server_status"),
    [
        (errors.NotFound("x"), "NOT_FOUND", StatusCode.UNSET),
        (errors.Unavailable("x"), "UNAVAILABLE", StatusCode.ERROR),
        (RuntimeError("x"), "INTERNAL", StatusCode.ERROR),
    ],
)
async def test_a_refusal_is_the_client_s_error_and_a_fault_is_both_s(
    run_audit: Any,
    spans: Spans,
    error: Exception,
    code: str,
    server_status: StatusCode,
) -> None:
    async def fail(request: Any, context: Any) -> Any:
        raise error

    async with run_audit(ListEvents=fail) as audit:
        with pytest.raises(errors.PlacetError):
            await audit.stub.ListEvents(pb.ListEventsRequest())
        await until(lambda: len(spans()) >= 2)

    by_kind = {span.kind: span for span in spans()}
    assert by_kind[SpanKind.CLIENT].status.status_code is StatusCode.ERROR
    assert by_kind[SpanKind.SERVER].status.status_code is server_status
    for span in by_kind.values():
        assert span.attributes is not None
        assert span.attributes["rpc.response.status_code"] == code
        assert span.attributes["rpc.method"] == LIST
        assert span.events == ()


@pytest.mark.parametrize("streaming", [False, True])
async def test_a_cancelled_call_ends_both_spans_and_is_no_error(
    run_audit: Any, spans: Spans, streaming: bool
) -> None:
    begun = asyncio.Event()

    async def wait(request: Any, context: Any) -> Any:
        begun.set()
        await asyncio.Event().wait()

    async def stream(request: Any, context: Any) -> AsyncIterator[Any]:
        begun.set()
        while True:
            yield pb.TailEventsResponse()
            await asyncio.sleep(0.001)  # the pace of the stream

    async with run_audit(ListEvents=wait, TailEvents=stream) as audit:
        call = (
            audit.stub.TailEvents(pb.TailEventsRequest())
            if streaming
            else audit.stub.ListEvents(pb.ListEventsRequest())
        )
        await asyncio.wait_for(begun.wait(), 10)
        call.cancel()
        await until(lambda: len(spans()) >= 2)

    assert {span.attributes["rpc.response.status_code"] for span in spans() if span.attributes} == {
        "CANCELLED"
    }
    assert {span.status.status_code for span in spans()} == {StatusCode.UNSET}


async def test_a_call_that_cannot_even_begin_has_a_failed_span(run_audit: Any, spans: Spans) -> None:
    from pathlib import Path

    from placet_rpc.tokens.sources import FileTokenSource

    async with run_audit(token=FileTokenSource(Path("/nowhere/token"))) as audit:
        with pytest.raises(errors.Unauthenticated):
            await audit.stub.ListEvents(pb.ListEventsRequest())

    (span,) = spans()
    assert span.attributes is not None
    assert span.attributes["rpc.response.status_code"] == "UNAUTHENTICATED"


async def test_health_checks_make_no_spans(run_audit: Any, spans: Spans) -> None:
    from placet_rpc.client import serving

    async with run_audit() as audit:
        assert await serving(audit.address)

    assert spans() == []
