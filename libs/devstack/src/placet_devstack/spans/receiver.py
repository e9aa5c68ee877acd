"""Takes spans over OTLP/gRPC (https://opentelemetry.io/docs/specs/otlp/), on loopback, from anyone there."""

from __future__ import annotations

import asyncio
import base64
import ipaddress
import logging
import sqlite3
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeAlias

import grpc.aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1 import trace_pb2

from placet_devstack.spans.model import Json, Span
from placet_devstack.spans.store import SpanStore

_Request: TypeAlias = trace_service_pb2.ExportTraceServiceRequest
_Response: TypeAlias = trace_service_pb2.ExportTraceServiceResponse

_LOG = logging.getLogger(__name__)

# An exporter's batch is 512 spans; their attributes may be long.
_MAX_MESSAGE = 16 * 1024 * 1024
_GRACE_SECONDS = 2.0


class Receiver(trace_service_pb2_grpc.TraceServiceServicer):
    """OTLP's TraceService. Writes on a thread of its own, so that the event loop never waits for the disk."""

    def __init__(self, store: SpanStore) -> None:
        self._store = store
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="spans")

    async def Export(  # noqa: N802 - the contract's name
        self,
        request: _Request,
        context: grpc.aio.ServicerContext[_Request, _Response],
    ) -> _Response:
        """Answers when the spans are stored; says how many were not, and why, as OTLP's partial success."""
        sent = sum(len(scope.spans) for resource in request.resource_spans for scope in resource.scope_spans)
        spans = list(spans_of(request))
        loop = asyncio.get_running_loop()
        try:
            left_out = await loop.run_in_executor(self._writer, self._store.add, spans)
        except sqlite3.Error as error:
            # Sent again they would fail again, and each sender would hold its queue for it.
            _LOG.error("%d spans were not stored: %s", sent, error)
            return _partial(sent, str(error))
        rejected = sent - len(spans) + left_out
        return _partial(rejected, "malformed, or their trace is full") if rejected else _Response()

    async def close(self) -> None:
        """Waits until what was accepted is stored."""
        await asyncio.to_thread(self._writer.shutdown)


class RunningReceiver:
    """A receiver that listens on `port`."""

    def __init__(self, server: grpc.aio.Server, receiver: Receiver, port: int) -> None:
        self._server = server
        self._receiver = receiver
        self.port = port

    async def stop(self) -> None:
        """Takes no more calls, finishes those under way within 2 s, stores what was accepted."""
        await self._server.stop(_GRACE_SECONDS)
        await self._receiver.close()


async def start(listen: str, store: SpanStore) -> RunningReceiver:
    """Starts to listen on `host:port`, where port 0 takes any free one.

    There is no authentication, so ValueError for a host that is not loopback; OSError if the port is taken.
    """
    _require_loopback(listen)
    server = grpc.aio.server(
        options=[("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", _MAX_MESSAGE)]
    )
    receiver = Receiver(store)
    register = trace_service_pb2_grpc.add_TraceServiceServicer_to_server
    register(receiver, server)  # type: ignore[no-untyped-call]  # generated without types
    status = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(status, server)
    await status.set("", health_pb2.HealthCheckResponse.SERVING)
    try:
        port = server.add_insecure_port(listen)
    except RuntimeError as error:
        raise OSError(f"cannot listen on {listen}: {error}") from error
    await server.start()
    return RunningReceiver(server, receiver, port)


def spans_of(request: _Request) -> Iterator[Span]:
    """The request's spans, without those whose ids are malformed."""
    for resource in request.resource_spans:
        service = str(_attributes(resource.resource.attributes).get("service.name", "unknown"))
        for scope in resource.scope_spans:
            for span in scope.spans:
                if len(span.trace_id) == 16 and len(span.span_id) == 8 and len(span.parent_span_id) in (0, 8):
                    yield _span(span, service)


def _span(span: trace_pb2.Span, service: str) -> Span:
    return Span(
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        name=span.name,
        service=service,
        kind=trace_pb2.Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_").lower(),
        start=_storable(span.start_time_unix_nano),
        end=_storable(span.end_time_unix_nano),
        failed=span.status.code == trace_pb2.Status.STATUS_CODE_ERROR,
        message=span.status.message,
        attributes=_attributes(span.attributes),
        links=tuple((link.trace_id.hex(), link.span_id.hex()) for link in span.links),
    )


def _storable(nanoseconds: int) -> int:
    # OTLP's are unsigned; SQLite's integers end at 2^63 - 1, in the year 2262.
    return min(nanoseconds, 2**63 - 1)


def _attributes(pairs: Iterable[KeyValue]) -> dict[str, Json]:
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: AnyValue) -> Json:
    match value.WhichOneof("value"):
        case "string_value":
            return value.string_value
        case "bool_value":
            return value.bool_value
        case "int_value":
            return value.int_value
        case "double_value":
            return value.double_value
        case "array_value":
            return [_value(item) for item in value.array_value.values]
        case "kvlist_value":
            return {pair.key: _value(pair.value) for pair in value.kvlist_value.values}
        case "bytes_value":
            return base64.b64encode(value.bytes_value).decode()
        case _:
            return None


def _require_loopback(listen: str) -> None:
    host, separator, port = listen.rpartition(":")
    if not separator or not port.isdigit():
        raise ValueError(f"{listen!r} is not host:port")
    host = host.strip("[]")
    if host != "localhost" and not _is_loopback(host):
        raise ValueError(f"{host} is not a loopback address: whoever reaches this can write spans")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _partial(rejected: int, message: str) -> _Response:
    return _Response(
        partial_success=trace_service_pb2.ExportTracePartialSuccess(
            rejected_spans=rejected, error_message=message
        )
    )
