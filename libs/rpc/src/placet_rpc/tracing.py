"""Attributes and end of RPC spans, on server and client (OpenTelemetry's conventions for gRPC)."""

from __future__ import annotations

from typing import Final

import grpc
from opentelemetry.trace import Span, Status, StatusCode

INSTRUMENTATION: Final = "placet.rpc"

# Codes that say that the server failed, not that it refused.
SERVER_FAULTS: Final = frozenset(
    {
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.UNIMPLEMENTED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DATA_LOSS,
    }
)


def attributes(name: str) -> dict[str, str]:
    """The attributes that every span of the RPC `name` ("package.Service/Method") starts with."""
    return {"rpc.system.name": "grpc", "rpc.method": name}


def finish(span: Span, code: grpc.StatusCode, *, failed: bool, end_time: int | None = None) -> None:
    """Ends `span` with the call's code. `end_time` in nanoseconds since the epoch, default now."""
    if span.is_recording():
        span.set_attribute("rpc.response.status_code", code.name)
        if failed:
            span.set_attribute("error.type", code.name)
            span.set_status(Status(StatusCode.ERROR, code.name))
    span.end(end_time)
