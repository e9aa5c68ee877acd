"""Fixtures of the tests of placet_rpc: keys, an AuditService that they script, spans and bounded waits."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from placet.audit.v1 import audit_service_pb2, audit_service_pb2_grpc
from placet_rpc import client
from placet_rpc.access_refusals import OnAccessRefused
from placet_rpc.server import Endpoint, RunningServer, start
from placet_rpc.settings import ServerSettings
from placet_rpc.tokens.mint import KeyFiles, SigningKey, generate_keys, mint, mint_for_program
from placet_testing.servicers import partial_servicer
from placet_testing.tokens import StaticToken

AUDIT = audit_service_pb2.DESCRIPTOR.services_by_name["AuditService"]


@partial_servicer(AUDIT)
class ScriptedAudit(audit_service_pb2_grpc.AuditServiceServicer):
    """Each RPC does what the test put in its place."""

    def __init__(self, **behaviours: Callable[..., Any]) -> None:
        self._behaviours = behaviours
        self.handled: list[str] = []

    async def AppendEvents(self, request: Any, context: Any) -> Any:
        self.handled.append("AppendEvents")
        return await self._behaviours["AppendEvents"](request, context)

    async def ListEvents(self, request: Any, context: Any) -> Any:
        self.handled.append("ListEvents")
        return await self._behaviours["ListEvents"](request, context)

    async def TailEvents(self, request: Any, context: Any) -> AsyncIterator[Any]:
        self.handled.append("TailEvents")
        async for answer in self._behaviours["TailEvents"](request, context):
            yield answer


@dataclass(frozen=True)
class Keys:
    """A signing key and its files."""

    files: KeyFiles
    signing: SigningKey

    def token(
        self, *roles: str, subject: str = "svc", tenant: str = "default", ttl: float = 600
    ) -> StaticToken:
        return StaticToken(mint(self.signing, subject, tenant, roles, ttl))

    def program(self, name: str, *tenants: str, home: str = "default") -> StaticToken:
        """A program's token, for its home alone or for these tenants."""
        return StaticToken(mint_for_program(self.signing, name, home, 600, tenants=tenants))


@dataclass(frozen=True)
class Running:
    """A served AuditService and a stub that reaches it."""

    server: RunningServer
    stub: Any
    address: str
    servicer: ScriptedAudit


RunAudit = Callable[..., AbstractAsyncContextManager[Running]]


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    files = generate_keys(tmp_path_factory.mktemp("keys"))
    return Keys(files, SigningKey.load(files.private_key))


@pytest.fixture(scope="session")
def settings(keys: Keys) -> Callable[..., ServerSettings]:
    def make(**changes: Any) -> ServerSettings:
        values = {"listen": "127.0.0.1:0", "jwks_file": keys.files.jwks, "grace": 5.0}
        return ServerSettings.model_validate(values | changes)

    return make


@pytest.fixture(scope="session")
def run_audit(keys: Keys, settings: Callable[..., ServerSettings]) -> RunAudit:
    """Serves an AuditService for as long as the context lasts, called with an auditor's token by default."""

    @asynccontextmanager
    async def run(
        token: StaticToken | None = None,
        on_access_refused: OnAccessRefused | None = None,
        changes: dict[str, Any] | None = None,
        default_timeout: float = 5.0,
        **behaviours: Callable[..., Any],
    ) -> AsyncIterator[Running]:
        servicer = ScriptedAudit(**behaviours)
        server = await start(
            settings(**(changes or {})),
            [Endpoint(AUDIT, audit_service_pb2_grpc.add_AuditServiceServicer_to_server, servicer)],
            on_access_refused=on_access_refused,
        )
        address = f"127.0.0.1:{server.port}"
        tokens = token or keys.token("auditor", subject="auditor@example.com")
        async with client.channel(address, tokens, default_timeout=default_timeout) as channel:
            yield Running(server, audit_service_pb2_grpc.AuditServiceStub(channel), address, servicer)
        await server.stop(0)

    return run


@pytest.fixture(scope="session")
def span_exporter() -> InMemorySpanExporter:
    provider = trace.get_tracer_provider()
    if not isinstance(provider, TracerProvider):
        provider = TracerProvider()
        trace.set_tracer_provider(provider)
    exporter = InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return exporter


@pytest.fixture
def spans(span_exporter: InMemorySpanExporter) -> Iterator[Callable[[], list[ReadableSpan]]]:
    span_exporter.clear()
    yield lambda: list(span_exporter.get_finished_spans())
    span_exporter.clear()


@pytest.fixture
def contents(tmp_path: Path) -> Path:
    """A folder of the test's own."""
    return tmp_path


def _raising(error: Exception) -> Callable[..., Any]:
    """An RPC that raises."""

    async def handle(request: Any, context: Any) -> Any:
        raise error

    return handle


def _raising_stream(error: Exception) -> Callable[..., Any]:
    """An RPC that raises after its first answer."""

    async def handle(request: Any, context: Any) -> AsyncIterator[Any]:
        yield audit_service_pb2.TailEventsResponse(size=1)
        raise error

    return handle


@pytest.fixture(scope="session")
def raising() -> Callable[[Exception], Callable[..., Any]]:
    return _raising


@pytest.fixture(scope="session")
def raising_stream() -> Callable[[Exception], Callable[..., Any]]:
    return _raising_stream
