"""Mapping of exceptions to statuses; what the status leaves out goes into the log."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from typing import Any, NoReturn

import grpc.aio

from placet_rpc import identity, status
from placet_rpc.access import Method
from placet_rpc.access_refusals import Refusals
from placet_rpc.calls import Calls, stopping_error
from placet_rpc.errors import DataLoss, Internal, PermissionDenied, PlacetError
from placet_rpc.interceptors.base import Context, Interceptor, Stream, Unary, closing

_LOG = logging.getLogger(__name__)


class ErrorMapping(Interceptor):
    """Answers every exception with a status, and none with its text; reports refusals of authority."""

    name = "error_mapping"

    def __init__(self, calls: Calls, refusals: Refusals) -> None:
        """`refusals` gets every PermissionDenied of a known caller."""
        self._calls = calls
        self._refusals = refusals

    def unary(self, method: Method, inner: Unary) -> Unary:
        """See Interceptor."""

        async def call(request: Any, context: Context) -> Any:
            try:
                return await inner(request, context)
            except grpc.aio.AbortError:
                raise
            except (Exception, asyncio.CancelledError) as caught:  # noqa: BLE001 (every error becomes a status)
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
            except (Exception, asyncio.CancelledError) as caught:  # noqa: BLE001 (every error becomes a status)
                error = self._ended_or(caught)
            else:
                return
            await self._abort(method, request, context, error)

        return call

    def _ended_or(self, caught: Exception | asyncio.CancelledError) -> Exception:
        """The error to answer with. A cancellation by the caller or gRPC is raised again."""
        if isinstance(caught, Exception):
            return caught
        if self._calls.ended_by_stop():
            return stopping_error()
        raise caught

    async def _abort(self, method: Method, request: bytes, context: Context, error: Exception) -> NoReturn:
        public = status.public_error(error)
        if public is not error or isinstance(public, Internal):
            _log_hidden(method, public, error)
        if isinstance(public, DataLoss):
            # For the operator too, however few callers there are.
            _LOG.error("%s: %s", method.name, public.message, extra={"reason": public.reason})
        if isinstance(public, PermissionDenied):
            principal = identity.current_or_none()
            if principal is not None:
                if principal.program:
                    # A program that lacks a right: a mistake of the operator's or of ours, or a stolen token.
                    _LOG.warning("%s: %s was refused: %s", method.name, principal.program, public.message)
                reason = public.reason or public.grpc_kind.upper()
                self._refusals.report(method.path, reason, principal, method.approval_id(request))
        await context.abort_with_status(status.to_grpc(public, method.area))


def _log_hidden(method: Method, public: PlacetError, error: Exception) -> None:
    """Logs the error that the status does not name."""
    if isinstance(public, Internal):
        reference = public.metadata.get("reference", "")
        _LOG.error(
            "%s failed, reference %s", method.name, reference, exc_info=error, extra={"reference": reference}
        )
    else:
        _LOG.warning("%s: %s: %s", method.name, type(error).__name__, error)
