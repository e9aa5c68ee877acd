"""Trace contexts as text, and spans whose ids are known beforehand."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta

from opentelemetry import trace
from opentelemetry.context import Context, attach, detach
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.trace import Link, SpanContext, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.types import AttributeValue

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_w3c = TraceContextTextMapPropagator()
_next_span_id: ContextVar[int | None] = ContextVar("placet_next_span_id", default=None)


class DerivedIdGenerator(RandomIdGenerator):
    """Random ids, except within `_with_span_id`."""

    def generate_span_id(self) -> int:
        """The id that was asked for, or a random one."""
        return _next_span_id.get() or super().generate_span_id()


def current_traceparent() -> str:
    """The current span as a W3C traceparent (https://www.w3.org/TR/trace-context/); empty without one."""
    carrier: dict[str, str] = {}
    _w3c.inject(carrier)
    return carrier.get("traceparent", "")


def context_from(traceparent: str) -> Context:
    """A context in which the span of `traceparent` is the current one; an empty context if it names none."""
    return _w3c.extract({"traceparent": traceparent}, context=Context())


def link_to(traceparent: str) -> Link | None:
    """A link to the span of `traceparent`; None if it names none."""
    context = _span_context(traceparent)
    return Link(context) if context.is_valid else None


def record_wait(
    tracer: Tracer,
    name: str,
    traceparent: str,
    span_key: str,
    start: datetime,
    end: datetime,
    attributes: Mapping[str, AttributeValue] | None = None,
    links: Sequence[str] = (),
) -> None:
    """Emits a span that is already over, as a child of `traceparent`, from `start` to `end` (aware).

    Its id is derived from the trace and `span_key`: emitted twice it is the same span, which a store keeps
    once. `links`: traceparents of spans in other traces; what names none is left out. Without a valid
    `traceparent` nothing is emitted, because it could not be found.
    """
    parent = _span_context(traceparent)
    if not parent.is_valid:
        return
    with _with_span_id(derived_span_id(parent.trace_id, span_key)):
        span = tracer.start_span(
            name,
            context=context_from(traceparent),
            start_time=_nanoseconds(start),
            attributes=attributes,
            links=[link for link in map(link_to, links) if link is not None],
        )
    span.end(_nanoseconds(end))


def derived_span_id(trace_id: int, span_key: str) -> int:
    """The span id that `record_wait` gives: the first 8 bytes of SHA-256 over trace id and key; never 0."""
    digest = hashlib.sha256(trace_id.to_bytes(16, "big") + span_key.encode()).digest()
    return int.from_bytes(digest[:8], "big") or 1


@contextmanager
def untraced() -> Iterator[None]:
    """Calls made inside leave no spans, here and where they arrive: for what is asked every few seconds."""
    # The last byte says that this trace is not sampled.
    token = attach(context_from(f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-00"))
    try:
        yield
    finally:
        detach(token)


@contextmanager
def _with_span_id(span_id: int) -> Iterator[None]:
    token = _next_span_id.set(span_id)
    try:
        yield
    finally:
        _next_span_id.reset(token)


def _span_context(traceparent: str) -> SpanContext:
    return trace.get_current_span(context_from(traceparent)).get_span_context()


def _nanoseconds(instant: datetime) -> int:
    # Not by timestamp(), a float too coarse for nanoseconds.
    return (instant - _EPOCH) // timedelta(microseconds=1) * 1000
