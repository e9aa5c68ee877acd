"""Health by gRPC's health protocol (grpc/health/v1), open to all.

Not the library's servicer: its watchers never end, so each would delay a stop for the whole grace, and they
may be cut off before they get NOT_SERVING. Here a watcher gets NOT_SERVING, and its stream ends.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any, TypeAlias

import grpc
import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

# Seconds between looks at a part, by a watcher of it.
PART_SECONDS = 1.0

Context: TypeAlias = grpc.aio.ServicerContext[Any, Any]


class Health(health_pb2_grpc.HealthServicer):  # type: ignore[misc]  # its wheel carries no types; hence Any below
    """SERVING for the server as a whole ("") and each of its services, from `serve` to `stop`.

    For a part of the server only while that part says so besides; one at fault leaves the server SERVING.
    """

    def __init__(self, services: Iterable[str], parts: Mapping[str, Callable[[], bool]]) -> None:
        """`services` are full names; `parts` by name."""
        self._parts = dict(parts)
        self._services = frozenset(services) | {""} | self._parts.keys()
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
            changed, told = self._changed, self._answer(request.service)
            yield told
            if self._stopped:
                return
            await self._change(request.service, told, changed)

    async def _change(self, service: str, told: Any, changed: asyncio.Event) -> None:
        """Returns when the answer may be another than the one that was told."""
        if service not in self._parts:
            await changed.wait()
        while self._answer(service) == told and not changed.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(changed.wait(), PART_SECONDS)

    def _tell_watchers(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def _answer(self, service: str) -> Any:
        states = health_pb2.HealthCheckResponse
        if service not in self._services:
            return states(status=states.SERVICE_UNKNOWN)
        part = self._parts.get(service)
        serving = self._serving and (part is None or part())
        return states(status=states.SERVING if serving else states.NOT_SERVING)
