"""A wait becomes a span when it ends: once, of its true length, in the trace of its request."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from placet_approval.projection import wait_spans as waits
from placet_approval.projection.wait_spans import record_waits
from placet_domain import interpreter
from placet_domain.commands import DecisionCommand
from placet_domain.events import (
    Actor,
    ActorKind,
    Assignment,
    Entry,
    Event,
    LogEntry,
    Notified,
    Received,
    Source,
    Verdict,
)
from placet_domain.policy_files import load
from placet_domain.state import ApprovalState
from placet_domain.stimuli import Begin, Stimulus, TierTimeout
from placet_telemetry.traces import DerivedIdGenerator

START = datetime(2030, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
TRACE, DECISION_TRACE = "0af7651916cd43dd8448eb211c80319c", "1bf7651916cd43dd8448eb211c80319c"
SPAN = "b7ad6b7169203331"
CONTENT = "ab" * 32


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    exporter, provider = InMemorySpanExporter(), TracerProvider(id_generator=DerivedIdGenerator())
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(waits, "get_tracer", provider.get_tracer)
    yield exporter
    provider.shutdown()


class Request:
    """A request whose every entry is told to `record_waits` before it is folded."""

    def __init__(self, policy: str, traceparent: str = f"00-{TRACE}-{SPAN}-01") -> None:
        self.policy = load(None)[policy]
        self.state = ApprovalState()
        received = Received(
            assignments=(
                Assignment(slot="required_approver", people=("alice@example.com",)),
                Assignment(slot="manager_approver", people=("bob@example.com",)),
            ),
            content_digest=CONTENT,
        )
        self.log([Event(time=START, body=received, traceparent=traceparent)])

    def log(self, events: list[Event]) -> None:
        for event in events:
            number = self.state.last_number + 1
            entry = Entry(tenant="home", approval_id="a", number=number, event=event)
            stored = LogEntry(index=number - 1, entry=entry)
            # As when a projector dies between telling and writing, and another tells again.
            for _ in range(2):
                record_waits(self.state, stored)
            self.state.fold(stored)

    def happen(self, stimulus: Stimulus, after: timedelta) -> None:
        """Logs the events of a stimulus; who is asked is told at once."""
        events = interpreter.respond(self.policy, self.state, stimulus, START + after)
        self.log(events)
        if self.state.open_tier is not None and any(event.body.type == "asked" for event in events):
            service = Actor(kind=ActorKind.SERVICE, name="notification")
            told = [
                Notified(delivered=True, asked_number=one.number) for one in self.state.open_tier.assignments
            ]
            self.log([Event(time=START + after, actor=service, body=body) for body in told])


def told(exporter: InMemorySpanExporter) -> dict[int, ReadableSpan]:
    """The spans as a store keeps them: each once."""
    return {span.context.span_id: span for span in exporter.get_finished_spans() if span.context}


def length(span: ReadableSpan) -> timedelta:
    assert span.start_time is not None
    assert span.end_time is not None
    return timedelta(microseconds=(span.end_time - span.start_time) // 1000)


HOUR = timedelta(hours=1)


def test_a_decision_ends_a_wait_and_is_linked(spans: InMemorySpanExporter) -> None:
    request = Request("simple")
    request.happen(Begin(), timedelta(seconds=1))
    command = DecisionCommand(
        id="d",
        actor=Actor(kind=ActorKind.PERSON, name="alice@example.com"),
        traceparent=f"00-{DECISION_TRACE}-{SPAN}-01",
        verdict=Verdict.APPROVE,
        content_digest=CONTENT,
    )
    request.happen(command, 72 * HOUR)

    (span,) = told(spans).values()
    assert span.name == "wait for approver"
    assert span.context is not None
    assert f"{span.context.trace_id:032x}" == TRACE
    assert length(span) == 72 * HOUR - timedelta(seconds=1)
    assert [f"{link.context.trace_id:032x}" for link in span.links] == [DECISION_TRACE]
    assert span.attributes is not None
    assert span.attributes["placet.ended_by"] == Source.HUMAN.lower()


def test_each_tier_is_a_wait_of_its_own(spans: InMemorySpanExporter) -> None:
    request = Request("escalating")
    request.happen(Begin(), timedelta(0))
    request.happen(TierTimeout(tier=1), 2 * HOUR)
    request.happen(TierTimeout(tier=2), 6 * HOUR)

    assert [(span.name, length(span)) for span in told(spans).values()] == [
        ("wait for team member", 2 * HOUR),
        ("wait for manager", 4 * HOUR),
    ]
    assert {(span.attributes or {})["placet.ended_by"] for span in told(spans).values()} == {"timeout"}


def test_a_request_that_was_not_traced_has_no_spans(spans: InMemorySpanExporter) -> None:
    request = Request("escalating", traceparent="")
    request.happen(Begin(), timedelta(0))
    request.happen(TierTimeout(tier=1), 2 * HOUR)

    assert not told(spans)
