"""The chain of interceptors, folded around each method once rather than walked in each call."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, cast

import grpc
import grpc.aio

from placet_rpc.access import Method
from placet_rpc.interceptors.base import Interceptor, Stream, Unary


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
