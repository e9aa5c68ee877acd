"""A real AuditService in the test's own process, with hands to take it away and to stall it."""

from __future__ import annotations

import asyncio
import dataclasses
import importlib
import inspect
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from placet.audit.v1 import audit_service_pb2, audit_service_pb2_grpc
from placet.event.v1 import event_pb2
from placet_proof.signer import new_key
from placet_rpc.client import channel
from placet_rpc.server import start
from placet_rpc.tokens.mint import KeyFiles, SigningKey, mint
from placet_testing.attestation import write_keys
from placet_testing.tokens import StaticToken


class AuditServer:
    """AuditService on a port that stays its own, also while it is away."""

    def __init__(self, folder: Path, keys: KeyFiles, database_url: str = "", log_key: str = "") -> None:
        """`folder` takes its database, unless `database_url` names another. `log_key`: PEM; else new."""
        self._database_url = database_url or f"sqlite:///{folder / 'audit.db'}"
        self._folder = folder / "attestation"
        self._keys = keys
        self._log_key = log_key or new_key()
        self._port = 0
        self._running: AsyncExitStack | None = None
        self._answering = asyncio.Event()
        self._answering.set()

    @property
    def address(self) -> str:
        """host:port, from the first start on."""
        return f"127.0.0.1:{self._port}"

    async def start(self) -> None:
        """Serves, on what was logged before."""
        # By name: a library imports no service, and this runs only where the whole workspace is installed.
        service = importlib.import_module("placet_audit.__main__")
        settings = importlib.import_module("placet_audit.config").Settings(
            database_url=self._database_url,
            listen=f"127.0.0.1:{self._port}",
            jwks_file=self._keys.jwks,
            log_key=self._log_key,
            PLACET_ATTESTATION_KEYS_FILE=write_keys(self._folder)[1],
            tail_poll=0.05,
            sign_of_life=0.5,
        )
        async with AsyncExitStack() as stack:
            parts = await stack.enter_async_context(service.assembled(settings))
            stalling = _Stalling(parts.endpoint.servicer, self._answering)
            stalled = dataclasses.replace(parts.endpoint, servicer=stalling)
            server = await start(settings.server(), [stalled], on_access_refused=parts.on_access_refused)
            stack.push_async_callback(server.stop, 0)
            self._port = server.port
            self._running = stack.pop_all()

    async def stop(self) -> None:
        """Goes away; nothing happens if it is away."""
        running, self._running = self._running, None
        if running is not None:
            await running.aclose()

    def stall(self) -> None:
        """From now on calls are taken and not answered."""
        self._answering.clear()

    def go_on(self) -> None:
        """Answers all that it was asked."""
        self._answering.set()

    async def events(self, tenant: str, approval_id: str = "") -> list[event_pb2.LogEntry]:
        """Events in the tenant's log, of one request or of all."""
        request = audit_service_pb2.ListEventsRequest(
            filter=audit_service_pb2.EventFilter(approval_id=approval_id), page_size=1000
        )
        key = SigningKey.load(self._keys.private_key)
        token = StaticToken(mint(key, "auditor@example.com", tenant, ["auditor"], 60))
        async with channel(self.address, token) as opened:
            response = await audit_service_pb2_grpc.AuditServiceStub(opened).ListEvents(request)
        return list(response.entries)


class _Stalling:
    """A servicer that waits before each answer while it is set to. Any: it looks at no message."""

    def __init__(self, inner: Any, answering: asyncio.Event) -> None:
        self._inner = inner
        self._answering = answering

    def __getattr__(self, rpc: str) -> Callable[..., Any]:
        method = getattr(self._inner, rpc)

        async def answer(request: Any, context: Any) -> Any:
            await self._answering.wait()
            return await method(request, context)

        async def stream(request: Any, context: Any) -> AsyncIterator[Any]:
            async for one in method(request, context):
                await self._answering.wait()
                yield one

        return stream if inspect.isasyncgenfunction(method) else answer
