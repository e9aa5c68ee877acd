"""Base classes of interceptors."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Sequence,
)
from contextlib import AbstractAsyncContextManager, AbstractContextManager, aclosing, nullcontext
from typing import Any, ClassVar, TypeAlias, cast

import grpc.aio

from placet_rpc.access import Method

# Requests and answers are bytes in all interceptors but the innermost: a refused request is not parsed.
# For gRPC's own services (health, reflection) they are messages; hence Any.
Context: TypeAlias = grpc.aio.ServicerContext[Any, Any]
Unary: TypeAlias = Callable[[Any, Context], Awaitable[Any]]
Stream: TypeAlias = Callable[[Any, Context], AsyncIterator[Any]]
Metadata: TypeAlias = Sequence[tuple[str, str | bytes]]


class Interceptor(ABC):
    """Wraps a method's handler, once per method. `name` is how logs and tests call it."""

    name: ClassVar[str]

    def prepare(self, methods: Iterable[Method]) -> None:  # noqa: B027  # most have nothing to prepare
        """Does what can be done before the first call. Raises ContractError for what can never be served."""

    @abstractmethod
    def unary(self, method: Method, inner: Unary) -> Unary:
        """`inner`, wrapped, for a method that answers once."""

    @abstractmethod
    def stream(self, method: Method, inner: Stream) -> Stream:
        """`inner`, wrapped, for a method that answers with a stream."""


class Surrounding(Interceptor):
    """An interceptor that does something before and after each call."""

    @abstractmethod
    def around(self, method: Method, context: Context) -> AbstractContextManager[None]:
        """Entered before the call, left after it with what it raised."""

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

    @abstractmethod
    def check(self, method: Method, request: bytes, context: Context) -> None:
        """Raises if the call may not pass."""

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


def closing(answers: AsyncIterator[Any]) -> AbstractAsyncContextManager[AsyncIterator[Any]]:
    """Closes a handler's stream at once when its reader goes, rather than when it is collected."""
    if isinstance(answers, AsyncGenerator):
        return aclosing(answers)
    return nullcontext(answers)


def metadata_of(context: Context) -> Metadata:
    """The call's metadata."""
    return cast(Metadata, context.invocation_metadata() or ())
