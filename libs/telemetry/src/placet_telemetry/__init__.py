"""One call that sets up tracing, metrics and logs."""

from placet_telemetry.logs import configure_logging
from placet_telemetry.telemetry import Telemetry, providers, setup
from placet_telemetry.traces import (
    context_from,
    current_traceparent,
    derived_span_id,
    link_to,
    record_wait,
    untraced,
)

__all__ = [
    "Telemetry",
    "configure_logging",
    "context_from",
    "current_traceparent",
    "derived_span_id",
    "link_to",
    "providers",
    "record_wait",
    "setup",
    "untraced",
]
