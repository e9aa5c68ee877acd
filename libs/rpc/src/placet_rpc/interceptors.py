"""What every call to a Placet server passes through, outermost first: see `server_interceptors`.

gRPC would walk a list of interceptors for every call. Here each one wraps a method's handler once, when
the method is first called; `InterceptorChain` is the only one that gRPC sees.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    aclosing,
    contextmanager,
    nullcontext,
)
from dataclasses import replace
from typing import Any, ClassVar, NoReturn, TypeAlias, cast

import grpc
import grpc.aio
import protovalidate
from google.protobuf.message import DecodeError, Message
from opentelemetry import context as otel_context
from opentelemetry import propagate, trace
from opentelemetry.propagators.textmap import Getter

from placet_rpc import identity, status, tracing
from placet_rpc.access import ContractError, Method
from placet_rpc.calls import Calls, stopping_error
from placet_rpc.errors import (
    RPC_DOMAIN,
    FieldViolation,
    Internal,
    InvalidArgument,
    PermissionDenied,
    PlacetError,
    Unauthenticated,
)
from placet_rpc.identity import Principal
from placet_rpc.refusals import Refusals
from placet_rpc.tokens import Verifier

# Requests and answers are bytes in all interceptors but the innermost: who is not let in is not parsed.
# For gRPC's own services (health, reflection) they are messages; hence Any.
Context: TypeAlias = grpc.aio.ServicerContext[Any, Any]
Unary: TypeAlias = Callable[[Any, Context], Awaitable[Any]]
Stream: TypeAlias = Callable[[Any, Context], AsyncIterator[Any]]
Metadata: TypeAlias = Sequence[tuple[str, str | bytes]]

_REQUESTS = logging.getLogger("placet.rpc.requests")
_ERRORS = logging.getLogger("placet.rpc.errors")


class Interceptor:
    """Wraps a method's handler, once per method. `name` is how logs and tests call it."""

    name: ClassVar[str]

    def prepare(self, methods: Iterable[Method]) -> None:
        """Does what can be done before the first call. Raises ContractError for what can never be served."""

    def unary(self, method: Method, inner: Unary) -> Unary:
        """`inner`, wrapped, for a method that answers once."""
        raise NotImplementedError

    def stream(self, method: Method, inner: Stream) -> Stream:
        """`inner`, wrapped, for a method that answers with a stream."""
        raise NotImplementedError


class Surrounding(Interceptor):
    """An interceptor that does something before and after each call."""

    def around(self, method: Method, context: Context) -> AbstractContextManager[None]:
        """Entered before the call, left after it with what it raised."""
        raise NotImplementedError

    def unary(self, method: Method, inner: Unary) -> Unary:
        """See Interceptor."""

        async def call(request: Any, context: Context) -> Any:
            with self.around(method, context):
                return await inner(request, context)

        return call

    def stream(self, method: Method, inner: Stream) -> Stream:
        """See Interceptor."""

        async def call(request: Any, context: Context) -> AsyncGenerator[Any, None]:
            with self.around(method, context):
                async with closing(inner(request, context)) as answers:
                    async for answer in answers:
                        yield answer

        return call


class Guard(Interceptor):
    """An interceptor that only lets a call pass or raises a PlacetError. Quick: it cannot wait."""

    def check(self, method: Method, request: bytes, context: Context) -> None:
        """Raises if the call may not pass."""
        raise NotImplementedError

    def unary(self, method: Method, inner: Unary) -> Unary:
        """See Interceptor."""

        def call(request: Any, context: Context) -> Awaitable[Any]:
            self.check(method, request, context)
            return inner(request, context)

        return call

    def stream(self, method: Method, inner: Stream) -> Stream:
        """See Interceptor."""

        def call(request: Any, context: Context) -> AsyncIterator[Any]:
            self.check(method, request, context)
            return inner(request, context)

        return call


class Tracking(Surrounding):
    """Counts the call, so that a stop can wait for its end; notes its deadline for the calls it makes."""

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
        parent = propagate.extract(
            _metadata(context), context=otel_context.Context(), getter=_METADATA_GETTER
        )
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
    """One line a call: what, how it ended, how long it took, who asked. Never what was said."""

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
            if _REQUESTS.isEnabledFor(level):
                _log_request(level, method, code, time.perf_counter() - started)


class ErrorMapping(Interceptor):
    """Answers every exception with a status, and none with its text; reports refusals of authority."""

    name = "error_mapping"

    def __init__(self, calls: Calls, refusals: Refusals) -> None:
        """`refusals` hears of every PermissionDenied."""
        self._calls = calls
        self._refusals = refusals

    def unary(self, method: Method, inner: Unary) -> Unary:
        """See Interceptor."""

        async def call(request: Any, context: Context) -> Any:
            try:
                return await inner(request, context)
            except grpc.aio.AbortError:
                raise
            except (Exception, asyncio.CancelledError) as caught:  # noqa: BLE001 (all are answered, none told)
                error = self._ended_or(caught)
            return await self._abort(method, request, context, error)

        return call

    def stream(self, method: Method, inner: Stream) -> Stream:
        """See Interceptor."""

        async def call(request: Any, context: Context) -> AsyncGenerator[Any, None]:
            try:
                async with closing(inner(request, context)) as answers:
                    async for answer in answers:
                        yield answer
            except grpc.aio.AbortError:
                raise
            except (Exception, asyncio.CancelledError) as caught:  # noqa: BLE001 (all are answered, none told)
                error = self._ended_or(caught)
            else:
                return
            await self._abort(method, request, context, error)

        return call

    def _ended_or(self, caught: Exception | asyncio.CancelledError) -> Exception:
        """What to answer with. A cancellation that is not ours is the caller's or gRPC's: it goes on."""
        if isinstance(caught, Exception):
            return caught
        if self._calls.ended_by_stop():
            return stopping_error()
        raise caught

    async def _abort(self, method: Method, request: bytes, context: Context, error: Exception) -> NoReturn:
        told = status.public_error(error)
        if told is not error or isinstance(told, Internal):
            _log_hidden(method, told, error)
        if isinstance(told, PermissionDenied):
            principal = identity.current_or_none()
            if principal is not None:
                reason = told.reason or told.grpc_kind.upper()
                self._refusals.report(method.path, reason, principal, method.approval_id(request))
        await context.abort_with_status(status.to_grpc(told, method.area))


class Admission(Guard):
    """Refuses calls beyond the server's bound, and new streams while it stops."""

    name = "admission"

    def __init__(self, calls: Calls) -> None:
        """`calls` knows the bound."""
        self._calls = calls

    def check(self, method: Method, request: bytes, context: Context) -> None:
        """See Guard."""
        self._calls.admit(streaming=method.streaming)


class Authentication(Guard):
    """Finds out who calls, from the bearer token in the metadata, and for which tenant."""

    name = "authentication"

    def __init__(self, verifier: Verifier) -> None:
        """`verifier` judges tokens."""
        self._verifier = verifier

    def check(self, method: Method, request: bytes, context: Context) -> None:
        """See Guard."""
        metadata = _metadata(context)
        principal = self._verifier.verify(_bearer_token(metadata))
        # Before the tenant is judged, so that a refusal is recorded with who asked, in their own tenant.
        identity.enter(principal)
        wanted = _single(metadata, identity.TENANT_METADATA)
        if principal.names_tenant:
            identity.enter(_in_tenant(principal, wanted))
        elif wanted is not None and wanted != principal.tenant:
            raise PermissionDenied(
                "the token is for another tenant", reason="OTHER_TENANT", domain=RPC_DOMAIN
            )


class Authorization(Guard):
    """Lets in who holds one of the roles that the contract names for the method."""

    name = "authorization"

    def check(self, method: Method, request: bytes, context: Context) -> None:
        """See Guard."""
        if method.roles.isdisjoint(identity.current().roles):
            raise PermissionDenied(
                f"{method.name} needs one of the roles: {', '.join(sorted(method.roles))}",
                reason="ROLE_REQUIRED",
                domain=RPC_DOMAIN,
            )


class Validation(Interceptor):
    """Turns the request's bytes into a message that keeps the contract's rules, and the answer into bytes."""

    name = "validation"

    def __init__(self) -> None:
        """Rules are compiled once per message."""
        self._violations = protovalidate.Validator().collect_violations

    def prepare(self, methods: Iterable[Method]) -> None:
        """Compiles all rules, so that a wrong one stops the start and no caller waits for it."""
        for method in methods:
            try:
                self._violations(method.decode(b""))
            except protovalidate.CompilationError as error:
                raise ContractError(f"{method.name}: a rule of its request is wrong: {error}") from error

    def unary(self, method: Method, inner: Unary) -> Unary:
        """See Interceptor."""
        encode = method.encode

        async def call(request: bytes, context: Context) -> bytes:
            return encode(await inner(self._valid(method, request), context))

        return call

    def stream(self, method: Method, inner: Stream) -> Stream:
        """See Interceptor."""
        encode = method.encode

        async def call(request: bytes, context: Context) -> AsyncGenerator[bytes, None]:
            async with closing(inner(self._valid(method, request), context)) as answers:
                async for answer in answers:
                    yield encode(answer)

        return call

    def _valid(self, method: Method, request: bytes) -> Message:
        try:
            message = method.decode(request)
        except DecodeError:
            raise InvalidArgument(
                "the request's bytes are not the contract's message", reason="UNDECODABLE", domain=RPC_DOMAIN
            ) from None
        violations = self._violations(message)
        if violations:
            raise _invalid_argument([_field_violation(violation) for violation in violations])
        return message


def server_interceptors(calls: Calls, refusals: Refusals, verifier: Verifier) -> list[Interceptor]:
    """The interceptors of a server, outermost first. The order is a promise, and a test holds it.

    Tracing is outside of error mapping, so that failed calls are traced as failed; nothing is parsed for
    who is not authenticated, and nothing is validated for who may not call.
    """
    return [
        Tracking(calls),
        Tracing(),
        RequestLog(),
        ErrorMapping(calls, refusals),
        Admission(calls),
        Authentication(verifier),
        Authorization(),
        Validation(),
    ]


class InterceptorChain(grpc.aio.ServerInterceptor):
    """The one interceptor that gRPC sees: folds all others around each method's handler, once.

    Methods that are not in the table (health, reflection) are open to all and pass by them.
    """

    def __init__(self, interceptors: Sequence[Interceptor], methods: Mapping[str, Method]) -> None:
        """`interceptors` outermost first; `methods` by path."""
        self._interceptors = tuple(reversed(interceptors))
        self._methods = methods
        self._folded: dict[str, grpc.RpcMethodHandler[Any, Any]] = {}

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        """The method's handler inside all interceptors; None if there is no such method."""
        path = handler_call_details.method
        folded = self._folded.get(path)
        if folded is None:
            handler = await continuation(handler_call_details)
            if handler is None:
                return None
            method = self._methods.get(path)
            folded = handler if method is None else self._fold(method, handler)
            self._folded[path] = folded
        return folded

    def _fold(
        self, method: Method, handler: grpc.RpcMethodHandler[Any, Any]
    ) -> grpc.RpcMethodHandler[Any, Any]:
        """Without (de)serializers: the innermost interceptor does that."""
        if method.streaming:
            stream = cast(Stream, handler.unary_stream)
            for interceptor in self._interceptors:
                stream = interceptor.stream(method, stream)
            return grpc.unary_stream_rpc_method_handler(stream)
        unary = cast(Unary, handler.unary_unary)
        for interceptor in self._interceptors:
            unary = interceptor.unary(method, unary)
        return grpc.unary_unary_rpc_method_handler(unary)


def closing(answers: AsyncIterator[Any]) -> AbstractAsyncContextManager[AsyncIterator[Any]]:
    """Closes a handler's stream at once when its reader goes, rather than when it is collected."""
    if isinstance(answers, AsyncGenerator):
        return aclosing(answers)
    return nullcontext(answers)


def code_after(error: BaseException, context: Context) -> grpc.StatusCode:
    """The code that a call ended with which raised `error` through an interceptor."""
    if isinstance(error, grpc.aio.AbortError):
        return cast(grpc.StatusCode | None, context.code()) or grpc.StatusCode.UNKNOWN
    if isinstance(error, asyncio.CancelledError | GeneratorExit):
        # The caller went away, or gRPC ended the call at its deadline.
        overdue = context.time_remaining() == 0
        return grpc.StatusCode.DEADLINE_EXCEEDED if overdue else grpc.StatusCode.CANCELLED
    return grpc.StatusCode.UNKNOWN


class _MetadataGetter(Getter[Metadata]):
    """Reads trace context from a call's metadata."""

    def get(self, carrier: Metadata, key: str) -> list[str] | None:
        """All values of `key`."""
        values = [value for name, value in carrier if name == key and isinstance(value, str)]
        return values or None

    def keys(self, carrier: Metadata) -> list[str]:
        """All keys."""
        return [name for name, _ in carrier]


_METADATA_GETTER = _MetadataGetter()


def _metadata(context: Context) -> Metadata:
    return cast(Metadata, context.invocation_metadata() or ())


def _single(metadata: Metadata, key: str) -> str | None:
    """The value of `key`; None without one. Raises Unauthenticated when there are several."""
    values = [value for name, value in metadata if name == key]
    if not values:
        return None
    if len(values) > 1 or not isinstance(values[0], str):
        raise Unauthenticated(f"metadata {key} must be given once", reason="TOKEN_INVALID", domain=RPC_DOMAIN)
    return values[0]


def _bearer_token(metadata: Metadata) -> str:
    value = _single(metadata, "authorization")
    if value is None:
        raise Unauthenticated(
            "the call carries no token (metadata authorization)", reason="TOKEN_MISSING", domain=RPC_DOMAIN
        )
    scheme, _, token = value.partition(" ")
    if scheme.lower() != "bearer":
        raise Unauthenticated(
            "metadata authorization must be: Bearer <token>", reason="TOKEN_INVALID", domain=RPC_DOMAIN
        )
    return token


def _in_tenant(principal: Principal, wanted: str | None) -> Principal:
    """A worker or service, acting for the tenant that its call names."""
    if wanted is None:
        raise PermissionDenied(
            f"a worker or service must say for which tenant it calls (metadata {identity.TENANT_METADATA})",
            reason="TENANT_REQUIRED",
            domain=RPC_DOMAIN,
        )
    try:
        tenant = identity.checked_tenant(wanted)
    except ValueError as error:
        raise PermissionDenied(str(error), reason="TENANT_REQUIRED", domain=RPC_DOMAIN) from error
    return replace(principal, tenant=tenant)


def _field_violation(violation: protovalidate.Violation) -> FieldViolation:
    """One broken rule; without a field when the rule is about the whole message."""
    broken = violation.proto
    path = ""
    for element in broken.field.elements if broken.field else ():
        if element.field_name:
            path += f".{element.field_name}" if path else element.field_name
        if element.subscript is not None:
            path += f"[{json.dumps(element.subscript.value)}]"
    description = broken.message or broken.rule_id or "is not valid"
    return FieldViolation(path, f"key {description}" if broken.for_key else description)


def _invalid_argument(violations: list[FieldViolation]) -> InvalidArgument:
    first = "; ".join(f"{item.field}: {item.description}".removeprefix(": ") for item in violations[:3])
    more = f"; and {len(violations) - 3} more" if len(violations) > 3 else ""
    return InvalidArgument(
        first + more, violations=violations, reason="CONSTRAINT_VIOLATED", domain=RPC_DOMAIN
    )


def _level(code: grpc.StatusCode) -> int:
    """A caller that goes away is no fault of anybody; a refusal is news; a fault needs somebody."""
    if code in (grpc.StatusCode.OK, grpc.StatusCode.CANCELLED):
        return logging.DEBUG
    return logging.WARNING if code in tracing.SERVER_FAULTS else logging.INFO


def _log_request(level: int, method: Method, code: grpc.StatusCode, seconds: float) -> None:
    principal = identity.current_or_none()
    subject, tenant = (principal.subject, principal.tenant) if principal else ("", "")
    _REQUESTS.log(
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


def _log_hidden(method: Method, told: PlacetError, error: Exception) -> None:
    """Keeps what the caller is not told."""
    if isinstance(told, Internal):
        reference = told.metadata.get("reference", "")
        _ERRORS.error(
            "%s failed, reference %s", method.name, reference, exc_info=error, extra={"reference": reference}
        )
    else:
        _ERRORS.warning("%s: %s: %s", method.name, type(error).__name__, error)
