"""Observability of calls: active calls, traces, request log."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import cast

import grpc
import grpc.aio
from opentelemetry import context as otel_context
from opentelemetry import propagate, trace
from opentelemetry.propagators.textmap import Getter

from placet_rpc import identity, tracing
from placet_rpc.access import Method
from placet_rpc.calls import Calls
from placet_rpc.interceptors.base import Context, Surrounding, metadata_of

_LOG = logging.getLogger(__name__)


class Tracking(Surrounding):
    """Counts the call, so that a stop can wait for its end; sets its deadline for the calls that it makes."""

    name = "tracking"

    def __init__(self, calls: Calls) -> None:
        """`calls` is where it is counted."""
        self._calls = calls

    def around(self, method: Method, context: Context) -> AbstractContextManager[None]:
        """See Surrounding."""
        return self._calls.track(method.name, streaming=method.streaming, remaining=context.time_remaining())


class Tracing(Surrounding):
    """The call's server span, below the caller's."""

    name = "opentelemetry"

    def __init__(self) -> None:
        """Uses the tracer provider that is set when the first call comes."""
        self._tracer = trace.get_tracer(tracing.INSTRUMENTATION)

    @contextmanager
    def around(self, method: Method, context: Context) -> Iterator[None]:
        """See Surrounding."""
        parent = propagate.extract(dict(metadata_of(context)), _NO_CONTEXT, _METADATA_GETTER)
        span = self._tracer.start_span(
            method.name, parent, trace.SpanKind.SERVER, tracing.attributes(method.name)
        )
        # Never detached: the RPC's task, and its context with it, ends with the call; and a stream may be
        # closed by another task, where detaching is an error.
        otel_context.attach(trace.set_span_in_context(span, parent))
        code = grpc.StatusCode.OK
        try:
            yield
        except BaseException as error:
            code = code_after(error, context)
            raise
        finally:
            tracing.finish(span, code, failed=code in tracing.SERVER_FAULTS)


class RequestLog(Surrounding):
    """One line a call: method, code, duration, caller. Never the content of request or answer."""

    name = "request_log"

    @contextmanager
    def around(self, method: Method, context: Context) -> Iterator[None]:
        """See Surrounding."""
        started = time.perf_counter()
        code = grpc.StatusCode.OK
        try:
            yield
        except BaseException as error:
            code = code_after(error, context)
            raise
        finally:
            level = _level(code)
            if _LOG.isEnabledFor(level):
                _log_request(level, method, code, time.perf_counter() - started)


def code_after(error: BaseException, context: Context) -> grpc.StatusCode:
    """The code that a call ended with which raised `error` through an interceptor."""
    if isinstance(error, grpc.aio.AbortError):
        return cast(grpc.StatusCode | None, context.code()) or grpc.StatusCode.UNKNOWN
    if isinstance(error, asyncio.CancelledError | GeneratorExit):
        # The caller went away, or gRPC ended the call at its deadline.
        overdue = context.time_remaining() == 0
        return grpc.StatusCode.DEADLINE_EXCEEDED if overdue else grpc.StatusCode.CANCELLED
    return grpc.StatusCode.UNKNOWN


class _MetadataGetter(Getter[Mapping[str, str | bytes]]):
    """Reads trace context from a call's metadata."""

    def get(self, carrier: Mapping[str, str | bytes], key: str) -> list[str] | None:
        """The value of `key`, the last one if there are several."""
        value = carrier.get(key)
        return [value] if isinstance(value, str) else None

    def keys(self, carrier: Mapping[str, str | bytes]) -> list[str]:
        """All keys."""
        return list(carrier)


_METADATA_GETTER = _MetadataGetter()
_NO_CONTEXT = otel_context.Context()


def _level(code: grpc.StatusCode) -> int:
    """DEBUG if the call ended well or its caller left, INFO for a refusal, WARNING for a server's fault."""
    if code in (grpc.StatusCode.OK, grpc.StatusCode.CANCELLED):
        return logging.DEBUG
    return logging.WARNING if code in tracing.SERVER_FAULTS else logging.INFO


def _log_request(level: int, method: Method, code: grpc.StatusCode, seconds: float) -> None:
    principal = identity.current_or_none()
    subject, tenant = (principal.subject, principal.tenant) if principal else ("", "")
    _LOG.log(
        level,
        "%s %s in %.1f ms for %s",
        method.name,
        code.name,
        seconds * 1000,
        subject or "nobody",
        extra={
            "rpc_method": method.name,
            "rpc_code": code.name,
            "duration_ms": round(seconds * 1000, 1),
            "subject": subject,
            "tenant": tenant,
        },
    )
