"""One call sets up tracing, metrics and logs."""

from __future__ import annotations

import os
import threading
import uuid
from dataclasses import dataclass

from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricReader, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter

from placet_telemetry.logs import configure_logging
from placet_telemetry.traces import DerivedIdGenerator

# Milliseconds that a finished span waits for company. Shorter than the SDK's 5 s, because people look at the
# traces of requests that are still pending.
_BATCH_DELAY = 1000.0
# Seconds that the end of a process waits for a backend.
_FLUSH_SECONDS = 3.0

_once = threading.Lock()


@dataclass(frozen=True)
class Telemetry:
    """The providers of a process."""

    tracer_provider: TracerProvider
    meter_provider: MeterProvider

    def shutdown(self, timeout: float = _FLUSH_SECONDS) -> None:
        """Sends what was not sent yet; waits for `timeout` seconds at most, then lets it go. Never raises."""
        # In threads, because the SDK's own bound is 30 s and does not cover an export under way.
        threads = [
            threading.Thread(target=end, daemon=True)
            for end in (self.tracer_provider.shutdown, self.meter_provider.shutdown)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout / len(threads))


def setup(service: str) -> Telemetry:
    """Sets up this process's tracing, metrics and logs, under `service` as service.name. Once in a process.

    Spans are sent to OTEL_EXPORTER_OTLP_ENDPOINT over OTLP/gRPC, if it is set; metrics too, if besides
    OTEL_METRICS_EXPORTER is `otlp`. Sampling, limits and batches follow the standard OTEL_ variables. Logs
    are `configure_logging`'s. Raises RuntimeError when called again, ValueError for a wrong PLACET_LOG_LEVEL.
    """
    if not _once.acquire(blocking=False):
        raise RuntimeError("telemetry is set up once in a process")
    configure_logging(service)
    telemetry = providers(service, span_exporter=_span_exporter(), metric_reader=_metric_reader())
    trace.set_tracer_provider(telemetry.tracer_provider)
    metrics.set_meter_provider(telemetry.meter_provider)
    return telemetry


def providers(
    service: str, *, span_exporter: SpanExporter | None = None, metric_reader: MetricReader | None = None
) -> Telemetry:
    """Providers that are not made the process's own; without an exporter spans have ids and go nowhere."""
    resource = Resource.create(
        {
            "service.name": service,
            "service.namespace": "placet",
            "service.instance.id": str(uuid.uuid4()),
            "process.pid": os.getpid(),
        }
    )
    # No atexit: `shutdown` is part of the stop of a service, and is bounded.
    tracer_provider = TracerProvider(
        resource=resource, id_generator=DerivedIdGenerator(), shutdown_on_exit=False
    )
    if span_exporter is not None:
        tracer_provider.add_span_processor(
            BatchSpanProcessor(span_exporter, schedule_delay_millis=_batch_delay())
        )
    readers = [] if metric_reader is None else [metric_reader]
    meter_provider = MeterProvider(resource=resource, metric_readers=readers, shutdown_on_exit=False)
    return Telemetry(tracer_provider, meter_provider)


def _exports() -> bool:
    return bool(os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT"))


def _span_exporter() -> SpanExporter | None:
    if not _exports():
        return None
    # Imported late: it brings gRPC, which who exports nothing may do without.
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

    return OTLPSpanExporter()


def _metric_reader() -> MetricReader | None:
    if not (_exports() and os.environ.get("OTEL_METRICS_EXPORTER") == "otlp"):
        return None
    from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter

    return PeriodicExportingMetricReader(OTLPMetricExporter())


def _batch_delay() -> float:
    return float(os.environ.get("OTEL_BSP_SCHEDULE_DELAY", _BATCH_DELAY))
