"""The one way to run a Placet gRPC server: `serve` for a process, `start` inside one.

A graceful stop goes in this order: health says NOT_SERVING; new calls are refused and streams are ended,
while unary calls in flight finish within the grace; then all handlers' `finally` blocks; then what the
caller closes (channels, database, telemetry). So nothing is closed under a call that uses it.
"""

from __future__ import annotations

import asyncio
import gc
import ipaddress
import logging
import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from contextvars import Context
from dataclasses import dataclass
from typing import Any

import grpc
import grpc.aio
from google.protobuf.descriptor import ServiceDescriptor
from grpc_health.v1 import health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from placet_rpc.access import check_servicer, methods_of
from placet_rpc.access_refusals import OnAccessRefused, Refusals
from placet_rpc.calls import Calls
from placet_rpc.health import Health
from placet_rpc.interceptors import InterceptorChain, server_interceptors
from placet_rpc.settings import ServerSettings
from placet_rpc.signals import stop_signals
from placet_rpc.tokens.verify import Verifier

_LOG = logging.getLogger(__name__)

# Time after the grace for handlers to run their `finally`, and for queued refusals to be recorded.
_FINALLY_SECONDS = 5.0
_REFUSALS_SECONDS = 5.0


class CannotListen(OSError):
    """The address cannot be listened on: taken, forbidden, or none of this machine's."""


@dataclass(frozen=True)
class Endpoint:
    """One service of a server.

    `descriptor` is the contract's (`audit_service_pb2.DESCRIPTOR.services_by_name["AuditService"]`),
    `register` the generated `add_…Servicer_to_server`, `servicer` what it gets: async functions, and async
    generators for RPCs that answer with a stream.
    """

    descriptor: ServiceDescriptor
    # Generated: takes the servicer's own type, which differs from endpoint to endpoint.
    register: Callable[[Any, grpc.aio.Server], None]
    servicer: object


class RunningServer:
    """A running server."""

    def __init__(
        self,
        server: grpc.aio.Server,
        port: int,
        grace: float,
        health: Health,
        calls: Calls,
        refusals: Refusals,
        until_ready: Callable[[], Awaitable[None]] | None,
    ) -> None:
        """Made by `start`."""
        self.port = port
        self._server = server
        self._grace = grace
        self._health = health
        self._calls = calls
        self._refusals = refusals
        self._stop: asyncio.Task[None] | None = None
        self._getting_ready: asyncio.Task[None] | None = None
        if until_ready is None:
            health.serve()
        else:
            self._getting_ready = asyncio.create_task(self._serve_when_ready(until_ready))

    async def _serve_when_ready(self, until_ready: Callable[[], Awaitable[None]]) -> None:
        await until_ready()
        self._health.serve()

    async def stop(self, grace: float | None = None) -> None:
        """Stops in the order of this module's docstring; `grace` in seconds, default the settings'.

        Returns when the last handler has ended, also when another caller began the stop. A second call
        with a smaller grace cuts the first one's short.
        """
        seconds = self._grace if grace is None else grace
        if self._stop is None:
            self._stop = asyncio.create_task(self._stop_in_order(seconds))
        elif grace is not None:
            await self._server.stop(seconds)
        await asyncio.shield(self._stop)

    async def _stop_in_order(self, grace: float) -> None:
        self._calls.stopping.set()
        if self._getting_ready is not None:
            self._getting_ready.cancel()
        self._health.stop()
        stopped = asyncio.create_task(self._server.stop(grace))
        self._calls.end_streams()
        await stopped
        for name in await self._calls.drained(_FINALLY_SECONDS):
            _LOG.error("%s did not end within %.0f s of being aborted", name, _FINALLY_SECONDS)
        await self._refusals.stop(_REFUSALS_SECONDS)


async def start(
    settings: ServerSettings,
    endpoints: Sequence[Endpoint],
    *,
    on_access_refused: OnAccessRefused | None = None,
    until_ready: Callable[[], Awaitable[None]] | None = None,
    parts: Mapping[str, Callable[[], bool]] | None = None,
) -> RunningServer:
    """Starts to serve `endpoints`, with health, on the running loop.

    Health is NOT_SERVING until `until_ready` returns; calls are answered all the same. `parts` are names that
    health knows besides the services', each with what tells whether that part does its work.
    `on_access_refused(method, reason, principal, approval_id)` is called, in the background, for each call of
    a known caller that authority refused. Raises ContractError if an RPC names no role or has an unreadable
    rule, OSError or ValueError if the JWKS cannot be used, CannotListen if the address cannot.
    """
    methods = methods_of(endpoint.descriptor for endpoint in endpoints)
    verifier = Verifier(settings.jwks_file, issuer=settings.issuer, audience=settings.audience)
    calls, refusals = Calls(settings.max_calls), Refusals(on_access_refused)
    interceptors = server_interceptors(calls, refusals, verifier)
    for interceptor in interceptors:
        interceptor.prepare(methods.values())
    chain = InterceptorChain(interceptors, methods)
    server = grpc.aio.server(interceptors=[chain], options=_options(settings))
    for endpoint in endpoints:
        check_servicer(endpoint.descriptor, endpoint.servicer)
        endpoint.register(endpoint.servicer, server)
    names = [endpoint.descriptor.full_name for endpoint in endpoints]
    health = Health(names, parts or {})
    health_pb2_grpc.add_HealthServicer_to_server(health, server)
    if settings.reflection:
        reflection.enable_server_reflection([*names, reflection.SERVICE_NAME], server)
    port = _listen(server, settings)
    refusals.start()
    # In an empty context: every call's context is a copy of the one that the server was started in.
    await asyncio.create_task(server.start(), context=Context())
    return RunningServer(server, port, settings.grace, health, calls, refusals, until_ready)


async def serve(
    settings: ServerSettings,
    endpoints: Sequence[Endpoint],
    *,
    on_access_refused: OnAccessRefused | None = None,
    until_ready: Callable[[], Awaitable[None]] | None = None,
    parts: Mapping[str, Callable[[], bool]] | None = None,
    ready: Callable[[RunningServer], None] | None = None,
) -> None:
    """Serves until SIGTERM or SIGINT, then stops gracefully.

    `until_ready` and `parts`: see `start`. `ready` is called once the server answers. A second signal cuts
    the grace short. Raises as `start` does.
    """
    signals: asyncio.Queue[signal.Signals] = asyncio.Queue()
    async with AsyncExitStack() as stack:
        # Before anything else, so that a signal does not interrupt the start.
        stack.enter_context(stop_signals(signals.put_nowait))
        server = await start(
            settings, endpoints, on_access_refused=on_access_refused, until_ready=until_ready, parts=parts
        )
        stack.push_async_callback(server.stop)
        # Freeze the objects that live for ever: a collection that scans them all stops every call meanwhile.
        gc.collect()
        gc.freeze()
        stack.callback(gc.unfreeze)
        _LOG.info("serving on %s", settings.listen, extra={"port": server.port})
        if ready is not None:
            ready(server)
        received = await signals.get()
        _LOG.info("stopping after %s", received.name)
        await _stop_or_cut_short(server, signals)


async def _stop_or_cut_short(server: RunningServer, signals: asyncio.Queue[signal.Signals]) -> None:
    stop, again = asyncio.create_task(server.stop()), asyncio.create_task(signals.get())
    await asyncio.wait([stop, again], return_when=asyncio.FIRST_COMPLETED)
    if not stop.done():
        _LOG.warning("stopping at once, calls in flight are cut")
        await server.stop(0)
    again.cancel()
    await stop


def _listen(server: grpc.aio.Server, settings: ServerSettings) -> int:
    """Opens the port and returns its number."""
    try:
        if settings.tls is None:
            if not _only_this_machine(settings.listen):
                _LOG.warning(
                    "no TLS on %s: anyone on the network can read tokens; set "
                    "PLACET_TLS_CERTIFICATE_FILE unless a proxy or mesh encrypts",
                    settings.listen,
                )
            return server.add_insecure_port(settings.listen)
        return server.add_secure_port(settings.listen, settings.tls.credentials())
    except RuntimeError as error:
        # gRPC says no more than "failed to bind".
        raise CannotListen(f"cannot listen on {settings.listen}: taken, or not an address here") from error


def _only_this_machine(listen: str) -> bool:
    """True if no other machine can call."""
    host = listen.rpartition(":")[0].strip("[]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or listen.startswith("unix")


def _options(settings: ServerSettings) -> list[tuple[str, int]]:
    return [
        ("grpc.max_receive_message_length", settings.max_message_bytes),
        ("grpc.max_send_message_length", settings.max_message_bytes),
        # Two processes must never share a port by accident: the second one's start fails instead.
        ("grpc.so_reuseport", 0),
        # Clients may ask every 10 s whether the connection lives; who pings faster is sent away.
        ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
        ("grpc.keepalive_permit_without_calls", 1),
    ]
