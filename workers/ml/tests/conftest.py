"""A log behind a real gRPC server, written by the test, and the worker's stub to read it with."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from placet.audit.v1 import audit_service_pb2, audit_service_pb2_grpc
from placet.audit.v1.audit_service_pb2 import (
    AppendEventsResponse,
    ListEventsRequest,
    ListEventsResponse,
    TailEventsResponse,
)
from placet.event.v1 import event_pb2
from placet_domain.events import (
    AiResult,
    Body,
    Decided,
    Entry,
    Event,
    LogEntry,
    PreScreened,
    Received,
    Source,
    State,
    TierOpened,
)
from placet_mapping import to_proto
from placet_rpc import identity
from placet_rpc.client import channel
from placet_rpc.errors import Unavailable
from placet_rpc.server import Endpoint, start
from placet_rpc.settings import ServerSettings
from placet_rpc.tokens.mint import SigningKey, generate_keys, mint_for_program, write_token
from placet_rpc.tokens.sources import FileTokenSource
from placet_testing.servicers import partial_servicer

TENANT = "acme"
AUDIT = audit_service_pb2.DESCRIPTOR.services_by_name["AuditService"]


@partial_servicer(AUDIT)
@dataclass
class Log(audit_service_pb2_grpc.AuditServiceServicer):
    """AuditService.ListEvents over a list, in pages as small as a test likes."""

    entries: list[LogEntry] = field(default_factory=list)
    most: int = 1000
    # Reading from this index on waits until the gate opens.
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    gated_from: int | None = None
    # The call of this number, from 0, is refused.
    refuse_call: int | None = None
    calls: list[ListEventsRequest] = field(default_factory=list)
    tenants: set[str] = field(default_factory=set)
    on_call: Callable[[], None] = lambda: None

    def add(self, approval_id: str, body: Body) -> None:
        """Stores an event."""
        entry = Entry(tenant=TENANT, approval_id=approval_id, number=1, event=Event(body=body))
        self.entries.append(LogEntry(index=len(self.entries), entry=entry))

    def ask(
        self, approval_id: str, risk: float | None, *, model: str = "rules/1", policy: str = "document"
    ) -> None:
        """A request comes in and is scored; None: the pre-screen abstained."""
        self.add(approval_id, Received(policy=policy))
        if risk is None:
            self.add(approval_id, PreScreened(result=AiResult.ABSTAINED, model=model))
        else:
            self.add(
                approval_id,
                PreScreened(result=AiResult.DECIDED, risk=risk, model=model, prompt_digest="ab" * 32),
            )
        self.add(approval_id, TierOpened(tier=1))

    def decide(self, approval_id: str, state: State, source: Source = Source.HUMAN) -> None:
        """A request is decided."""
        self.add(approval_id, Decided(state=state, source=source))

    async def ListEvents(self, request: ListEventsRequest, context: object) -> ListEventsResponse:
        self.calls.append(request)
        self.tenants.add(identity.current().tenant)
        self.on_call()
        if len(self.calls) - 1 == self.refuse_call:
            raise Unavailable("the log is away")
        begin = int(request.page_token) if request.page_token else request.filter.from_log_index
        if self.gated_from is not None and begin >= self.gated_from:
            await self.gate.wait()
        found = [
            stored
            for stored in self.entries[begin:]
            if request.filter.approval_id in ("", stored.entry.approval_id)
        ]
        page = found[: min(request.page_size, self.most)]
        return ListEventsResponse(
            entries=[to_proto(stored, event_pb2.LogEntry) for stored in page],
            next_page_token=str(page[-1].index + 1) if len(page) < len(found) else "",
            size=len(self.entries),
        )

    async def AppendEvents(self, request: object, context: object) -> AppendEventsResponse:
        raise AssertionError("an evaluation writes nothing")

    async def TailEvents(self, request: object, context: object) -> AsyncIterator[TailEventsResponse]:
        yield TailEventsResponse()


@dataclass(frozen=True)
class Served:
    """A log that is served, and how the worker reaches it."""

    log: Log
    address: str
    token_file: Path
    stub: audit_service_pb2_grpc.AuditServiceStub


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    files = generate_keys(tmp_path / "keys")
    token_file = tmp_path / "token"
    write_token(token_file, mint_for_program(SigningKey.load(files.private_key), "worker-ml", TENANT, 600))
    log = Log()
    server = await start(
        ServerSettings(listen="127.0.0.1:0", jwks_file=files.jwks),
        [Endpoint(AUDIT, audit_service_pb2_grpc.add_AuditServiceServicer_to_server, log)],
    )
    address = f"127.0.0.1:{server.port}"
    async with channel(address, FileTokenSource(token_file)) as to_audit:
        yield Served(log, address, token_file, audit_service_pb2_grpc.AuditServiceStub(to_audit))
    await server.stop(0)
