"""Trace contexts travel as text, and a wait is one span however often it is emitted."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from placet_telemetry import context_from, current_traceparent, link_to, providers, record_wait, untraced

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE}-00f067aa0ba902b7-01"
START = datetime(2026, 3, 1, 12, 0, 0, 1, tzinfo=UTC)


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def tracer(exporter: InMemorySpanExporter) -> trace.Tracer:
    telemetry = providers("projector")
    telemetry.tracer_provider.add_span_processor(SimpleSpanProcessor(exporter))
    return telemetry.tracer_provider.get_tracer("test")


def emit(tracer: trace.Tracer, key: str, traceparent: str = PARENT) -> None:
    record_wait(tracer, "wait for alice", traceparent, key, START, START + timedelta(hours=2))


def span_id(span: ReadableSpan) -> int:
    context = span.get_span_context()
    assert context is not None
    return context.span_id


def test_the_current_span_survives_as_text(tracer: trace.Tracer) -> None:
    with tracer.start_as_current_span("call") as span:
        traceparent = current_traceparent()
    restored = trace.get_current_span(context_from(traceparent)).get_span_context()
    assert (restored.trace_id, restored.span_id) == (
        span.get_span_context().trace_id,
        span.get_span_context().span_id,
    )
    assert restored.is_remote


def test_no_span_is_an_empty_text() -> None:
    assert current_traceparent() == ""


@pytest.mark.parametrize("text", ["", "nonsense", f"00-{'0' * 32}-00f067aa0ba902b7-01", "00-abc-def-01"])
def test_a_text_that_names_no_span_gives_an_empty_context(text: str, tracer: trace.Tracer) -> None:
    with tracer.start_as_current_span("must not leak in"):
        assert context_from(text) == otel_context.Context()
        assert link_to(text) is None


def test_a_wait_is_a_span_of_its_true_length(tracer: trace.Tracer, exporter: InMemorySpanExporter) -> None:
    end = (START + timedelta(days=3)).astimezone(timezone(timedelta(hours=5)))
    with tracer.start_as_current_span("some other trace"):
        record_wait(
            tracer, "wait", PARENT, "tier-1", START, end, {"placet.tier": 1}, links=[PARENT, "nonsense"]
        )
        other = trace.get_current_span()
    span = exporter.get_finished_spans()[0]
    assert span.start_time == 1_772_366_400_000_001_000
    assert span.end_time == span.start_time + 3 * 86_400 * 10**9
    assert span.context is not None
    assert f"{span.context.trace_id:032x}" == TRACE
    assert span.parent is not None
    assert f"{span.parent.span_id:016x}" == "00f067aa0ba902b7"
    assert span.attributes == {"placet.tier": 1}
    assert [f"{link.context.trace_id:032x}" for link in span.links] == [TRACE]
    assert other.get_span_context().trace_id != span.context.trace_id


def test_a_wait_emitted_twice_is_the_same_span(tracer: trace.Tracer, exporter: InMemorySpanExporter) -> None:
    for key in ("request/3", "request/3", "request/4"):
        emit(tracer, key)
    emit(tracer, "request/3", PARENT.replace("4bf9", "0000"))
    first, again, other, elsewhere = (span_id(span) for span in exporter.get_finished_spans())
    assert first == again
    assert len({first, other, elsewhere}) == 3


def test_other_spans_keep_random_ids(tracer: trace.Tracer, exporter: InMemorySpanExporter) -> None:
    emit(tracer, "request/3")
    for _ in range(2):
        tracer.start_span("after").end()
    assert len({span_id(span) for span in exporter.get_finished_spans()}) == 3


def test_a_wait_without_a_trace_is_not_emitted(tracer: trace.Tracer, exporter: InMemorySpanExporter) -> None:
    emit(tracer, "request/3", traceparent="")
    assert exporter.get_finished_spans() == ()


def test_a_wait_of_a_trace_that_is_not_sampled_is_not_emitted(
    tracer: trace.Tracer, exporter: InMemorySpanExporter
) -> None:
    emit(tracer, "request/3", traceparent=PARENT.removesuffix("01") + "00")
    assert exporter.get_finished_spans() == ()


def test_what_is_untraced_leaves_no_span_here_or_where_it_arrives(
    tracer: trace.Tracer, exporter: InMemorySpanExporter
) -> None:
    with untraced():
        arriving = current_traceparent()
        tracer.start_span("asked").end()
    tracer.start_span("answered", context=context_from(arriving)).end()
    assert exporter.get_finished_spans() == ()
    tracer.start_span("after").end()
    assert len(exporter.get_finished_spans()) == 1
