"""Begins the trace of a command, so that it reaches from the keyboard to the outcome."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

from placet_cli.session import Session

OTLP_ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
FLUSH_SECONDS = 1.0


@contextmanager
def traced(session: Session, span: str) -> Iterator[None]:
    """Inside, there is a span of this name, and spans are exported."""
    with exported(session):
        from opentelemetry import trace

        with trace.get_tracer("placet.cli").start_as_current_span(span):
            yield


@contextmanager
def exported(session: Session) -> Iterator[None]:
    """Inside, spans are recorded and sent to the stack's store, or to where OTEL_EXPORTER_OTLP_ENDPOINT says.

    A store that does not answer costs a second at the end and nothing else.
    """
    # Imported late: half a second that `placet list` need not spend.
    from opentelemetry import trace
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

    from placet_telemetry import providers

    # Its complaints are not the user's.
    logging.getLogger("opentelemetry").addHandler(logging.NullHandler())
    endpoint = os.environ.get(OTLP_ENDPOINT) or f"http://{session.ports.address('spans')}"
    insecure = endpoint.startswith("http://")
    telemetry = providers("placet-cli", span_exporter=OTLPSpanExporter(endpoint=endpoint, insecure=insecure))
    trace.set_tracer_provider(telemetry.tracer_provider)
    try:
        yield
    finally:
        telemetry.shutdown(FLUSH_SECONDS)
