"""Entry point of a service: a program with one gRPC server."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import TypeVar

from pydantic_settings import BaseSettings

from placet_rpc.access_refusals import OnAccessRefused
from placet_rpc.program import Telemetry, run_program
from placet_rpc.server import Endpoint, serve
from placet_rpc.settings import ServiceSettings

_ServiceSettings = TypeVar("_ServiceSettings", bound=ServiceSettings)


@dataclass(frozen=True)
class Service:
    """A service's parts at work; it lacks only a server."""

    endpoint: Endpoint
    on_access_refused: OnAccessRefused
    # Health is NOT_SERVING until it returns; None: the service is ready at once.
    until_ready: Callable[[], Awaitable[None]] | None = None
    # See `placet_rpc.server.start`.
    parts: Mapping[str, Callable[[], bool]] = field(default_factory=dict)


def run_service(
    name: str,
    settings: type[_ServiceSettings],
    assemble: Callable[[_ServiceSettings], AbstractAsyncContextManager[Service]],
    *,
    telemetry: Callable[[], Telemetry],
    about: str | None,
    also: Sequence[type[BaseSettings]] = (),
    explained: tuple[type[Exception], ...] = (),
) -> int:
    """Serves until SIGTERM or SIGINT; then the server stops first, and `assemble` closes what it uses.

    Arguments and exit status are those of `run_program`.
    """

    async def work(chosen: _ServiceSettings) -> None:
        async with assemble(chosen) as service:
            await serve(
                chosen.server(),
                [service.endpoint],
                on_access_refused=service.on_access_refused,
                until_ready=service.until_ready,
                parts=service.parts,
            )

    return run_program(name, settings, work, telemetry=telemetry, about=about, also=also, explained=explained)
