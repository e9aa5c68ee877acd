"""A process's telemetry from its start to its end, in processes of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from concurrent import futures
from typing import Any

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from placet_telemetry import providers

pytestmark = pytest.mark.integration

_SERVICE = """
import logging, time
from opentelemetry import trace
from placet_telemetry import setup
early = trace.get_tracer("early")
telemetry = setup("approval")
with early.start_as_current_span("call"):
    logging.getLogger("placet").info("inside")
start = time.monotonic()
telemetry.shutdown()
print(time.monotonic() - start)
"""
_TWICE = """
from placet_telemetry import setup
setup("approval").shutdown()
setup("approval")
"""


def run(program: str, **environment: str) -> subprocess.CompletedProcess[str]:
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "PLACET_"))
    }
    return subprocess.run(
        [sys.executable, "-c", program],
        env={**inherited, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


class Receiver(trace_service_pb2_grpc.TraceServiceServicer):
    def __init__(self) -> None:
        self.requests: list[trace_service_pb2.ExportTraceServiceRequest] = []

    def Export(
        self, request: trace_service_pb2.ExportTraceServiceRequest, context: Any
    ) -> trace_service_pb2.ExportTraceServiceResponse:
        self.requests.append(request)
        return trace_service_pb2.ExportTraceServiceResponse()


def test_spans_reach_the_endpoint_before_the_process_ends() -> None:
    receiver = Receiver()
    server = grpc.server(futures.ThreadPoolExecutor(1))
    register = trace_service_pb2_grpc.add_TraceServiceServicer_to_server
    register(receiver, server)  # type: ignore[no-untyped-call]  # generated without types
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    ended = run(_SERVICE, OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{port}")
    server.stop(None).wait()
    assert ended.returncode == 0, ended.stderr
    (resource,) = receiver.requests[0].resource_spans
    names = {attribute.key: attribute.value.string_value for attribute in resource.resource.attributes}
    assert names["service.name"] == "approval"
    (span,) = resource.scope_spans[0].spans
    assert span.name == "call"
    (line,) = map(json.loads, ended.stderr.splitlines())
    assert line["trace_id"] == span.trace_id.hex()


def test_without_an_endpoint_nothing_is_sent_and_logs_still_name_the_trace() -> None:
    ended = run(_SERVICE)
    assert ended.returncode == 0, ended.stderr
    (line,) = map(json.loads, ended.stderr.splitlines())
    assert len(line["trace_id"]) == 32


def test_an_endpoint_that_is_away_does_not_hold_the_end() -> None:
    ended = run(_SERVICE, OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:1")
    assert ended.returncode == 0, ended.stderr
    assert float(ended.stdout) < 8  # Left alone the exporter tries for 10 s.


def test_setting_up_twice_is_a_mistake() -> None:
    ended = run(_TWICE)
    assert ended.returncode != 0
    assert "once in a process" in ended.stderr


def test_shutdown_does_not_wait_for_an_exporter_that_hangs() -> None:
    released, exported = threading.Event(), threading.Event()

    class Hanging(SpanExporter):
        def export(self, spans: object) -> SpanExportResult:
            released.wait()
            exported.set()
            return SpanExportResult.SUCCESS

    telemetry = providers("approval", span_exporter=Hanging())
    telemetry.tracer_provider.get_tracer("t").start_span("stuck").end()
    telemetry.shutdown(timeout=0.2)
    assert not exported.is_set()
    released.set()


def test_a_finished_span_is_sent_soon_while_others_are_still_open() -> None:
    sent = threading.Event()

    class Noticing(SpanExporter):
        def export(self, spans: tuple[ReadableSpan, ...]) -> SpanExportResult:  # type: ignore[override]  # narrower
            sent.set()
            return SpanExportResult.SUCCESS

    telemetry = providers("approval", span_exporter=Noticing())
    tracer = telemetry.tracer_provider.get_tracer("t")
    with tracer.start_as_current_span("a request that is pending"):
        tracer.start_span("its first step").end()
        assert sent.wait(20)
    telemetry.shutdown()
