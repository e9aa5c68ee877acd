"""The one way to call a Placet service: a channel that adds token, tenant, deadline and trace to each call.

Each call gets a client span, a deadline (unary calls), the token and the tenant; its failure is raised as
the typed error that the service raised. One interceptor per arity, because grpc.aio takes a class for one
arity only; each returns gRPC's own call, or a thin cover of it, so that cancelling a call cancels it.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator, Mapping, Sequence
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

import grpc
import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from placet_rpc import deadlines, identity, status
from placet_rpc.errors import PlacetError
from placet_rpc.tls import TLS_PREFIX, ClientTls
from placet_rpc.tokens.sources import TokenSource

if TYPE_CHECKING:
    from opentelemetry import trace

_Result = TypeVar("_Result")

_MAX_MESSAGE_BYTES: Final = 4 * 1024 * 1024

_OPTIONS: Final = (
    ("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", _MAX_MESSAGE_BYTES),
    # A service that was restarted is found again at once, not after gRPC's minute of growing patience.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    # In spite of its name, how long one attempt to connect may take.
    ("grpc.min_reconnect_backoff_ms", 5000),
    # A long stream whose peer vanished without a word ends after half a minute.
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 0),
)


def channel(
    address: str,
    tokens: TokenSource | None,
    *,
    default_timeout: float = 5.0,
    tls: ClientTls | None = None,
    options: Sequence[tuple[str, int | str]] = (),
) -> grpc.aio.Channel:
    """A channel to the service at `address` (host:port); close it when done. Needs a running loop.

    Unary calls get `default_timeout` seconds unless they say otherwise, and never more than what is left of
    the call being handled, less a little; streams get no deadline. Without `tls` the connection is plain, for
    trusted networks. Awaiting a call, or reading a stream, raises placet_rpc.errors. Stop reading a stream
    early with `call.cancel()`. Raises OSError if a file of `tls` cannot be read. In a fork of this process
    each call raises UsedInFork, where gRPC would hang.
    """
    outgoing = _Outgoing(tokens, default_timeout)
    interceptors = [_UnaryUnary(outgoing), _UnaryStream(outgoing)]
    return _in_one_process(_bare_channel(address, tls, [*_OPTIONS, *options], interceptors))


class UsedInFork(RuntimeError):
    """A process uses what was opened before it was forked; its text says so, for the programmer."""


def check_process(opened_in: int, what: str = "channel") -> None:
    """Raises UsedInFork unless this process opened it."""
    if opened_in != os.getpid():
        raise UsedInFork(
            f"process {opened_in} opened this {what} before it forked; gRPC does not work in the fork: "
            f"open a {what} of its own there"
        )


def _in_one_process(opened: grpc.aio.Channel) -> grpc.aio.Channel:
    """The channel, with calls that check the process. Interceptors are too late: they never run in a fork."""
    process = os.getpid()

    def checked(method: Callable[..., Callable[..., Any]]) -> Callable[..., Any]:
        def of(*positional: Any, **named: Any) -> Callable[..., Any]:
            call = method(*positional, **named)

            def begin(*request: Any, **options: Any) -> Any:
                check_process(process)
                return call(*request, **options)

            return begin

        return of

    # Placet's RPCs have these arities alone.
    for name in ("unary_unary", "unary_stream"):
        setattr(opened, name, checked(getattr(opened, name)))
    return opened


async def serving(
    address: str, service: str = "", *, timeout: float = 1.0, tls: ClientTls | None = None
) -> bool:
    """True if the server at `address` answers SERVING for `service` ("": itself) within `timeout` seconds."""
    # Without interceptors: supervisors probe often, and probes do not belong into traces.
    request = health_pb2.HealthCheckRequest(service=service)
    async with _bare_channel(address, tls, _OPTIONS, ()) as probe:
        try:
            answer = await health_pb2_grpc.HealthStub(probe).Check(request, timeout=timeout)
        except grpc.aio.AioRpcError:
            return False
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


def _bare_channel(
    address: str,
    tls: ClientTls | None,
    options: Sequence[tuple[str, int | str]],
    interceptors: Sequence[grpc.aio.ClientInterceptor],
) -> grpc.aio.Channel:
    if tls is None:
        return grpc.aio.insecure_channel(address, options, interceptors=interceptors)
    return grpc.aio.secure_channel(address, tls.credentials(), options, interceptors=interceptors)


class _Outgoing:
    """Span, deadline, token and tenant of outgoing calls of both arities."""

    def __init__(self, tokens: TokenSource | None, default_timeout: float) -> None:
        self._tokens = tokens
        self._default_timeout = default_timeout

    @cached_property
    def _tracer(self) -> trace.Tracer:
        from opentelemetry import trace

        from placet_rpc import tracing

        return trace.get_tracer(tracing.INSTRUMENTATION)

    async def invoke(
        self,
        begin: Callable[[grpc.aio.ClientCallDetails], Awaitable[_Result]],
        details: grpc.aio.ClientCallDetails,
        *,
        bounded: bool,
    ) -> _Result:
        """Begins a call inside its span, which ends when the call does. `bounded`: it needs a deadline."""
        # A process that never imported OpenTelemetry has no trace and no one to record spans; importing it
        # costs a short command more than its call.
        if "opentelemetry.trace" not in sys.modules:
            return await begin(self._prepared(details, {}, bounded=bounded))
        from opentelemetry import propagate, trace

        from placet_rpc import tracing

        span = self._tracer.start_span(
            origin_of(details), None, trace.SpanKind.CLIENT, tracing.attributes(origin_of(details))
        )
        carrier: dict[str, str] = {}
        propagate.inject(carrier, trace.set_span_in_context(span))
        try:
            call = await begin(self._prepared(details, carrier, bounded=bounded))
        except BaseException as error:
            code = status.code_of(error) if isinstance(error, PlacetError) else grpc.StatusCode.CANCELLED
            tracing.finish(span, code, failed=True)
            raise
        cast(grpc.aio.Call, call).add_done_callback(partial(_end_span, span))
        return call

    def _prepared(
        self, details: grpc.aio.ClientCallDetails, carrier: Mapping[str, str], *, bounded: bool
    ) -> grpc.aio.ClientCallDetails:
        timeout = details.timeout
        if timeout is not None or bounded:
            timeout = deadlines.outgoing_timeout(self._default_timeout if timeout is None else timeout)
        metadata = grpc.aio.Metadata(*(details.metadata or ()))
        for key, value in carrier.items():
            metadata.add(key, value)
        if self._tokens is not None and metadata.get("authorization") is None:
            metadata.add("authorization", f"Bearer {self._tokens.token()}")
        tenant = identity.outgoing_tenant()
        if tenant is not None and metadata.get(identity.TENANT_METADATA) is None:
            metadata.add(identity.TENANT_METADATA, tenant)
        return grpc.aio.ClientCallDetails(
            details.method, timeout, metadata, details.credentials, details.wait_for_ready
        )


class _UnaryUnary(grpc.aio.UnaryUnaryClientInterceptor):
    def __init__(self, outgoing: _Outgoing) -> None:
        self._outgoing = outgoing

    # Any: grpc.aio's interceptors are generic over messages, and these never look at one.
    async def intercept_unary_unary(
        self, continuation: Callable[..., Any], client_call_details: grpc.aio.ClientCallDetails, request: Any
    ) -> Any:
        begin = partial(_swapped, continuation, request)
        call = await self._outgoing.invoke(begin, client_call_details, bounded=True)
        return _TypedUnaryCall(call, origin_of(client_call_details))


class _UnaryStream(grpc.aio.UnaryStreamClientInterceptor):
    def __init__(self, outgoing: _Outgoing) -> None:
        self._outgoing = outgoing

    async def intercept_unary_stream(
        self, continuation: Callable[..., Any], client_call_details: grpc.aio.ClientCallDetails, request: Any
    ) -> Any:
        begin = partial(_swapped, continuation, request)
        call = await self._outgoing.invoke(begin, client_call_details, bounded=False)
        return _TypedStreamCall(call, origin_of(client_call_details))


class _TypedCall:
    """gRPC's own call in all but its errors, which are typed."""

    def __init__(self, call: Any, origin: str) -> None:
        self._call = call
        self._origin = origin

    def __getattr__(self, name: str) -> Any:
        return getattr(self._call, name)

    async def wait_for_connection(self) -> None:
        try:
            await self._call.wait_for_connection()
        except grpc.aio.AioRpcError as error:
            raise status.from_grpc(error, self._origin) from error


@grpc.aio.UnaryUnaryCall.register
class _TypedUnaryCall(_TypedCall):
    """A unary call that raises typed errors."""

    def __await__(self) -> Generator[Any, None, Any]:
        try:
            return (yield from self._call.__await__())
        except grpc.aio.AioRpcError as error:
            raise status.from_grpc(error, self._origin) from error


@grpc.aio.UnaryStreamCall.register
class _TypedStreamCall(_TypedCall):
    """A stream that raises typed errors."""

    async def _answers(self) -> AsyncIterator[Any]:
        try:
            async for answer in self._call:
                yield answer
        except grpc.aio.AioRpcError as error:
            raise status.from_grpc(error, self._origin) from error

    def __aiter__(self) -> AsyncIterator[Any]:
        return self._answers()

    async def read(self) -> Any:
        try:
            return await self._call.read()
        except grpc.aio.AioRpcError as error:
            raise status.from_grpc(error, self._origin) from error


def origin_of(details: grpc.aio.ClientCallDetails) -> str:
    """The RPC's full name, "placet.audit.v1.AuditService/AppendEvents"."""
    # bytes at run time, whatever the stubs say
    method: str | bytes = cast(str | bytes, details.method)
    return (method.decode() if isinstance(method, bytes) else method).removeprefix("/")


async def _swapped(
    continuation: Callable[..., Awaitable[Any]], request: Any, details: grpc.aio.ClientCallDetails
) -> Any:
    return await continuation(details, request)


def _end_span(span: trace.Span, call: grpc.aio.Call) -> None:
    """A call's done callback."""
    from placet_rpc import tracing

    code = _result_now(call.code())
    # A cancelled call is no failure: its caller wanted its end.
    failed = code is not grpc.StatusCode.OK and not call.cancelled()
    tracing.finish(span, code, failed=failed, end_time=time.time_ns())


def _result_now(coroutine: Coroutine[Any, Any, _Result]) -> _Result:
    """The result of a coroutine that has nothing to wait for: a finished call's code, in a plain callback."""
    try:
        coroutine.send(None)
    except StopIteration as finished:
        return cast(_Result, finished.value)
    coroutine.close()
    raise RuntimeError("a call that is done does not know its code")


def tls_from_environment() -> ClientTls | None:
    """TLS files of a client as the PLACET_TLS_ variables name them; None for a plain connection.

    Raises ValueError, in a sentence for the user, if only half of a pair is set or a variable is empty.
    """
    if not any(name.startswith(TLS_PREFIX) for name in os.environ):
        return None
    # Imported late: pydantic takes longer to import than a call takes, and a plain connection needs none.
    from pydantic import ValidationError

    from placet_rpc.settings import CallerSettings, describe_error

    try:
        return CallerSettings().tls()
    except ValidationError as error:
        raise ValueError(describe_error(error, [CallerSettings])) from error
