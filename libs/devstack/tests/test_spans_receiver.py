"""Spans go in over OTLP as the services send them, and come out as a trace."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1 import trace_pb2
from opentelemetry.trace import Link, SpanKind, StatusCode
from opentelemetry.util.types import AttributeValue

from placet_devstack.spans import SpanStore, load_trace
from placet_devstack.spans.receiver import RunningReceiver, start
from placet_telemetry import current_traceparent, providers, record_wait

pytestmark = pytest.mark.integration

ATTRIBUTES: dict[str, AttributeValue] = {
    "n": 1,
    "flag": True,
    "share": 0.5,
    "names": ["a", "b"],
    "text": "x",
}


@pytest.fixture
async def receiver(tmp_path: Path) -> AsyncIterator[RunningReceiver]:
    store = SpanStore(tmp_path / "spans.db")
    running = await start("127.0.0.1:0", store)
    yield running
    await running.stop()
    store.close()


def send_a_trace(port: int) -> str:
    """Emits spans as a service does; returns their trace's id."""
    telemetry = providers(
        "approval", span_exporter=OTLPSpanExporter(endpoint=f"http://127.0.0.1:{port}", timeout=20)
    )
    tracer = telemetry.tracer_provider.get_tracer("test")
    with tracer.start_as_current_span("another trace") as other:
        pass
    with tracer.start_as_current_span("call", kind=SpanKind.SERVER, attributes=ATTRIBUTES) as call:
        now = datetime.now(UTC)
        for _ in range(2):
            record_wait(tracer, "wait", current_traceparent(), "request/3", now, now + timedelta(days=2))
        with tracer.start_as_current_span("answer", links=[Link(other.get_span_context())]) as answer:
            answer.set_status(StatusCode.ERROR, "refused")
    telemetry.shutdown(timeout=40)
    return f"{call.get_span_context().trace_id:032x}"


async def test_a_trace_arrives_whole_with_each_wait_once(receiver: RunningReceiver, tmp_path: Path) -> None:
    trace_id = await asyncio.to_thread(send_a_trace, receiver.port)
    call, *others = load_trace(tmp_path / "spans.db", trace_id)
    assert (call.name, call.service, call.kind, call.parent_id) == ("call", "approval", "server", "")
    assert call.attributes == ATTRIBUTES
    assert {one.parent_id for one in others} == {call.span_id}
    by_name = {one.name: one for one in others}
    assert by_name["wait"].duration == 2 * 86_400 * 10**9
    assert (by_name["answer"].failed, by_name["answer"].message) == (True, "refused")
    assert [len(trace) for trace, _ in by_name["answer"].links] == [32]
    assert len(others) == 2


def request_of(*spans: trace_pb2.Span) -> trace_service_pb2.ExportTraceServiceRequest:
    return trace_service_pb2.ExportTraceServiceRequest(
        resource_spans=[
            trace_pb2.ResourceSpans(
                resource=Resource(), scope_spans=[trace_pb2.ScopeSpans(spans=list(spans))]
            )
        ]
    )


async def export(
    port: int, request: trace_service_pb2.ExportTraceServiceRequest
) -> trace_service_pb2.ExportTraceServiceResponse:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub = trace_service_pb2_grpc.TraceServiceStub(channel)  # type: ignore[no-untyped-call]  # as generated
        answer: trace_service_pb2.ExportTraceServiceResponse = await stub.Export(request, timeout=20)
        return answer


async def test_a_malformed_span_is_left_out_and_the_others_are_stored(
    receiver: RunningReceiver, tmp_path: Path
) -> None:
    good = trace_pb2.Span(trace_id=b"t" * 16, span_id=b"s" * 8, name="good", end_time_unix_nano=2**64 - 1)
    bad = [
        trace_pb2.Span(trace_id=b"t" * 3, span_id=b"s" * 8),
        trace_pb2.Span(trace_id=b"t" * 16, span_id=b""),
        trace_pb2.Span(trace_id=b"t" * 16, span_id=b"u" * 8, parent_span_id=b"p"),
    ]
    answer = await export(receiver.port, request_of(*bad, good))
    assert answer.partial_success.rejected_spans == 3
    (stored,) = load_trace(tmp_path / "spans.db", (b"t" * 16).hex())
    assert (stored.name, stored.service) == ("good", "unknown")


async def test_a_store_that_cannot_write_says_so_and_the_receiver_goes_on(
    receiver: RunningReceiver, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_store: SpanStore, _spans: object) -> int:
        raise sqlite3.OperationalError("disk full")

    span = trace_pb2.Span(trace_id=b"t" * 16, span_id=b"s" * 8)
    with monkeypatch.context() as patched:
        patched.setattr(SpanStore, "add", fail)
        answer = await export(receiver.port, request_of(span))
    assert (answer.partial_success.rejected_spans, answer.partial_success.error_message) == (1, "disk full")
    assert "disk full" in caplog.text
    assert not (await export(receiver.port, request_of(span))).HasField("partial_success")


async def test_it_says_that_it_serves(receiver: RunningReceiver) -> None:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{receiver.port}") as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        answer = await stub.Check(health_pb2.HealthCheckRequest(), timeout=20)
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


@pytest.mark.parametrize("listen", ["0.0.0.0:0", "[::]:0", "example.com:0", "127.0.0.1", "127.0.0.1:x"])
async def test_it_listens_on_loopback_only(listen: str, tmp_path: Path) -> None:
    store = SpanStore(tmp_path / "spans.db")
    with pytest.raises(ValueError):
        await start(listen, store)
    store.close()


async def test_a_port_that_is_taken_is_an_error(receiver: RunningReceiver, tmp_path: Path) -> None:
    store = SpanStore(tmp_path / "other.db")
    with pytest.raises(OSError, match="cannot listen"):
        await start(f"127.0.0.1:{receiver.port}", store)
    store.close()


async def run_process(database: Path, listen: str) -> asyncio.subprocess.Process:
    # Its own spans must not go to itself, whatever the environment says.
    environment = {**os.environ, "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "placet_devstack.spans",
        "--listen",
        listen,
        "--database",
        str(database),
        env=environment,
        stderr=asyncio.subprocess.PIPE,
    )


async def test_the_process_stores_what_it_accepted_and_ends_on_sigterm(tmp_path: Path) -> None:
    process = await run_process(tmp_path / "spans.db", "127.0.0.1:0")
    assert process.stderr is not None
    line = (await asyncio.wait_for(process.stderr.readline(), 60)).decode()
    port = int(line.split("on port ")[1].split(",")[0])
    trace_id = await asyncio.to_thread(send_a_trace, port)
    process.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(process.wait(), 30) == 0
    assert not (tmp_path / "spans.db-wal").exists()
    assert len(load_trace(tmp_path / "spans.db", trace_id)) == 3


async def test_a_process_that_cannot_start_says_why_in_one_line(
    receiver: RunningReceiver, tmp_path: Path
) -> None:
    process = await run_process(tmp_path / "other.db", f"127.0.0.1:{receiver.port}")
    _, stderr = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 2
    # grpc's own core may write lines of its own before ours.
    assert "cannot start" in stderr.decode().splitlines()[-1]
    assert "Traceback" not in stderr.decode()
