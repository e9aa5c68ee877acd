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
    """SERVING for the server as a whole ("") and each of its services, from `serve` to `stop`."""

    def __init__(self, services: Iterable[str]) -> None:
        """`services` are full names."""
        self._services = frozenset(services) | {""}
        self._serving = self._stopped = False
        # Set at the next change, and replaced then.
        self._changed = asyncio.Event()

    def serve(self) -> None:
        """SERVING from now on; all watchers get it. No effect after `stop`."""
        self._serving = not self._stopped
        self._tell_watchers()

    def stop(self) -> None:
        """NOT_SERVING from now on, for good; all watchers get it."""
        self._serving, self._stopped = False, True
        self._tell_watchers()

    async def Check(self, request: Any, context: Context) -> Any:  # noqa: N802 (the contract's name)
        """The state of a service; NOT_FOUND for one that is not here."""
        if request.service not in self._services:
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such service here")
        return self._answer(request.service)

    async def Watch(self, request: Any, context: Context) -> AsyncIterator[Any]:  # noqa: N802 (the contract's name)
        """The state now and whenever it changes; the stream ends when the server stops."""
        while True:
            changed = self._changed
            yield self._answer(request.service)
            if self._stopped:
                return
            await changed.wait()

    def _tell_watchers(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def _answer(self, service: str) -> Any:
        states = health_pb2.HealthCheckResponse
        if service not in self._services:
            return states(status=states.SERVICE_UNKNOWN)
        return states(status=states.SERVING if self._serving else states.NOT_SERVING)
