"""DecisionService's parts on real databases, its neighbours, and documents that the tests share."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import pytest

from placet.approval.v1 import approval_pb2, approval_service_pb2, approval_service_pb2_grpc
from placet.audit.v1 import audit_service_pb2, audit_service_pb2_grpc
from placet.decision.v1 import decision_service_pb2, decision_service_pb2_grpc
from placet.event.v1 import event_pb2
from placet_decision.domain import AiDecision, Assessment, Case, Document, Mode
from placet_decision.idempotency import IdempotentAnswers
from placet_decision.providers import Provider
from placet_decision.providers.llm_scorer import LlmScorer
from placet_decision.providers.throttle import Throttle
from placet_decision.servicer import DecisionServicer
from placet_decision.store import Store
from placet_decision.token_budget import TokenBudget, TokenStore
from placet_rpc import identity
from placet_rpc.access_refusals import RefusalRecorder, appending_to
from placet_rpc.client import channel
from placet_rpc.errors import NotFound
from placet_rpc.server import Endpoint, RunningServer, start
from placet_rpc.settings import ServerSettings
from placet_rpc.tokens.mint import KeyFiles, SigningKey, generate_keys, mint, mint_for_program
from placet_storage import Database
from placet_testing.model import FakeModel, serving_model
from placet_testing.servicers import partial_servicer
from placet_testing.tokens import StaticToken

MakeCase = Callable[..., Case]


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    """The answers' store, on SQLite and then on PostgreSQL."""
    database = await Database.open(database_url, migrations="placet_decision")
    yield Store(database)
    await database.close()


@pytest.fixture
async def sqlite_store(sqlite_url: str) -> AsyncIterator[Store]:
    """A store for tests that are not about databases."""
    database = await Database.open(sqlite_url, migrations="placet_decision")
    yield Store(database)
    await database.close()


@pytest.fixture
def make_case() -> MakeCase:
    """A case about a text."""

    def make(text: str, title: str = "A request", **more: object) -> Case:
        return Case(Document(title, text, "text/plain"), **more)  # type: ignore[arg-type]  # a test's shorthand

    return make


@partial_servicer(approval_service_pb2.DESCRIPTOR.services_by_name["ApprovalService"])
class ScriptedApproval:
    """Has contents by tenant and digest; can be told to fail."""

    def __init__(self) -> None:
        self.contents: dict[tuple[str, bytes], approval_service_pb2.GetContentResponse] = {}
        self.asked: list[identity.Principal] = []
        self.failure: Exception | None = None

    def has(self, tenant: str, body: bytes, media_type: str = "text/plain", text: str = "") -> bytes:
        digest = hashlib.sha256(body).digest()
        self.contents[tenant, digest] = approval_service_pb2.GetContentResponse(
            content=approval_pb2.Content(body=body, media_type=media_type),
            text=text or body.decode(errors="replace"),
            title="Menu",
            coverage=event_pb2.ContentCoverage(whole=True),
        )
        return digest

    async def GetContent(
        self, request: approval_service_pb2.GetContentRequest, context: object
    ) -> approval_service_pb2.GetContentResponse:
        self.asked.append(identity.current())
        if self.failure:
            raise self.failure
        found = self.contents.get((identity.current().tenant, request.content_digest))
        if found is None:
            raise NotFound("no such request", reason="UNKNOWN_APPROVAL")
        return found


@partial_servicer(audit_service_pb2.DESCRIPTOR.services_by_name["AuditService"])
class ScriptedAudit:
    """Keeps what was appended, and for which tenant."""

    def __init__(self) -> None:
        self.appended: asyncio.Queue[tuple[str, event_pb2.Event]] = asyncio.Queue()

    async def AppendEvents(
        self, request: audit_service_pb2.AppendEventsRequest, context: object
    ) -> audit_service_pb2.AppendEventsResponse:
        for event in request.events:
            self.appended.put_nowait((identity.current().tenant, event))
        return audit_service_pb2.AppendEventsResponse(appended=True)


class ScriptedProvider(Provider):
    """The rules, with a brake and a counter; keeps what it read."""

    def __init__(self) -> None:
        super().__init__()
        self.failure: Exception | None = None
        self.hold: asyncio.Event | None = None
        self.cases: list[Case] = []
        self.budgets: list[float] = []

    async def assess(self, case: Case, mode: Mode, budget: float) -> Assessment:
        await self._read(case, budget)
        return await super().assess(case, mode, budget)

    async def decide(self, case: Case, budget: float) -> AiDecision:
        await self._read(case, budget)
        return await super().decide(case, budget)

    async def _read(self, case: Case, budget: float) -> None:
        self.cases.append(case)
        self.budgets.append(budget)
        if self.hold:
            await self.hold.wait()
        if self.failure:
            raise self.failure


@dataclass
class Stack:
    """The running servers, and stubs for them."""

    approval: ScriptedApproval
    audit: ScriptedAudit
    provider: ScriptedProvider
    decision: RunningServer
    behind: RunningServer
    signing: SigningKey
    open: AsyncExitStack

    async def stub(
        self, subject: str = "worker-openai", *roles: str, tenant: str = "default"
    ) -> decision_service_pb2_grpc.DecisionServiceStub:
        """The service, called by a program of Placet for whatever tenant; with roles, by that caller."""
        token = (
            mint(self.signing, subject, tenant, roles, 600)
            if roles
            else mint_for_program(self.signing, subject, tenant, 600, tenants=["*"])
        )
        made = channel(f"127.0.0.1:{self.decision.port}", StaticToken(token), default_timeout=20)
        self.open.push_async_callback(made.close)
        return decision_service_pb2_grpc.DecisionServiceStub(made)


@pytest.fixture(scope="session")
def key_files(tmp_path_factory: pytest.TempPathFactory) -> KeyFiles:
    return generate_keys(tmp_path_factory.mktemp("keys"))


@pytest.fixture
async def stack(key_files: KeyFiles, sqlite_store: Store) -> AsyncIterator[Stack]:
    signing = SigningKey.load(key_files.private_key)
    settings = ServerSettings(listen="127.0.0.1:0", jwks_file=key_files.jwks, grace=0)
    approval, audit, provider = ScriptedApproval(), ScriptedAudit(), ScriptedProvider()
    behind = await start(
        settings,
        [
            Endpoint(
                approval_service_pb2.DESCRIPTOR.services_by_name["ApprovalService"],
                approval_service_pb2_grpc.add_ApprovalServiceServicer_to_server,
                approval,
            ),
            Endpoint(
                audit_service_pb2.DESCRIPTOR.services_by_name["AuditService"],
                audit_service_pb2_grpc.add_AuditServiceServicer_to_server,
                audit,
            ),
        ],
    )
    own = StaticToken(mint_for_program(signing, "decision", "default", 600, tenants=["*"]))
    others = channel(f"127.0.0.1:{behind.port}", own, default_timeout=5)
    approvals = approval_service_pb2_grpc.ApprovalServiceStub(others)
    append = appending_to(audit_service_pb2_grpc.AuditServiceStub(others))
    refusals = RefusalRecorder(append, program="decision", per_minute=1)
    endpoint = Endpoint(
        decision_service_pb2.DESCRIPTOR.services_by_name["DecisionService"],
        decision_service_pb2_grpc.add_DecisionServiceServicer_to_server,
        DecisionServicer(IdempotentAnswers(sqlite_store), approvals, provider),
    )
    decision = await start(settings, [endpoint], on_access_refused=refusals.record)
    async with AsyncExitStack() as stubs:
        yield Stack(approval, audit, provider, decision, behind, signing, stubs)
    await decision.stop(0)
    await others.close()
    await behind.stop(0)


@pytest.fixture
async def model() -> AsyncIterator[FakeModel]:
    """A model that answers as told."""
    async with serving_model() as model:
        yield model


@dataclass
class MemoryTokens:
    """A store of tokens."""

    spent: dict[tuple[str, date], int] = field(default_factory=dict)

    async def spent_tokens(self, tenant: str, day: date) -> int:
        return self.spent.get((tenant, day), 0)

    async def spend_tokens(self, tenant: str, day: date, tokens: int) -> None:
        self.spent[tenant, day] = self.spent.get((tenant, day), 0) + tokens


@pytest.fixture
def token_store() -> TokenStore:
    """A store of tokens, for tests that are not about databases."""
    return MemoryTokens()


@pytest.fixture(scope="session")
def api_key() -> str:
    """A key that no log and no error may show."""
    return "sk-test-4c1d9f0b7e"


@pytest.fixture(scope="session")
def provider_for(api_key: str) -> Callable[..., AbstractAsyncContextManager[Provider]]:
    """Makes a provider that asks the model behind a base URL."""

    @asynccontextmanager
    async def make(base_url: str, **changes: Any) -> AsyncIterator[Provider]:
        settings: dict[str, Any] = {
            "api_key": lambda: api_key,
            "base_url": base_url,
            "model": "model-1",
            "timeout": 30.0,
            "max_input_characters": 10_000,
            "max_output_tokens": 512,
            "throttle": Throttle(6000),
            "tokens": TokenBudget(MemoryTokens(), None),
        }
        provider = Provider(LlmScorer(**{**settings, **changes}))
        try:
            yield provider
        finally:
            await provider.close()

    return make


@pytest.fixture
async def provider(
    model: FakeModel, provider_for: Callable[..., AbstractAsyncContextManager[Provider]]
) -> AsyncIterator[Provider]:
    """A provider that asks that model."""
    async with provider_for(model.base_url) as made:
        yield made
