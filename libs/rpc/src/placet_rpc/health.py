"""Health by gRPC's health protocol (grpc/health/v1), open to all.

Not the library's servicer: its watchers never end, so each would delay a stop for the whole grace, and they
may be cut off before they get NOT_SERVING. Here a watcher gets NOT_SERVING, and its stream ends.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import Any, TypeAlias

import grpc
import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

Context: TypeAlias = grpc.aio.ServicerContext[Any, Any]


class Health(health_pb2_grpc.HealthServicer):  # type: ignore[misc]  # its wheel carries no types; hence Any below
    """SERVING for the server as a whole ("") and each of its services, until it stops."""

    def __init__(self, services: Iterable[str]) -> None:
        """`services` are full names."""
        self._services = frozenset(services) | {""}
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """NOT_SERVING from now on, for good; all watchers get it."""
        self._stopping.set()

    async def Check(self, request: Any, context: Context) -> Any:  # noqa: N802 (the contract's name)
        """The state of a service; NOT_FOUND for one that is not here."""
        if request.service not in self._services:
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such service here")
        return self._answer(request.service)

    async def Watch(self, request: Any, context: Context) -> AsyncIterator[Any]:  # noqa: N802 (the contract's name)
        """The state now and when the server stops, where the stream ends."""
        yield self._answer(request.service)
        if not self._stopping.is_set():
            await self._stopping.wait()
            yield self._answer(request.service)

    def _answer(self, service: str) -> Any:
        states = health_pb2.HealthCheckResponse
        if service not in self._services:
            return states(status=states.SERVICE_UNKNOWN)
        return states(status=states.NOT_SERVING if self._stopping.is_set() else states.SERVING)
