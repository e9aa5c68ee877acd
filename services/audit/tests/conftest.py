"""The log on a real database of each kind, without a server around it and with one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from pydantic import SecretStr

from placet.audit.v1 import audit_service_pb2_grpc
from placet.event.v1 import error_reason_pb2, event_pb2
from placet_audit.__main__ import assembled
from placet_audit.config import Settings
from placet_audit.domain import TENANT_LEVEL, Append, Draft
from placet_audit.leaf import seal
from placet_audit.log_keys import LogKeys
from placet_audit.log_stream import LogStream
from placet_audit.sequencer import Sequencer
from placet_audit.store import Store
from placet_proof.signer import new_key
from placet_rpc.client import channel
from placet_rpc.server import start
from placet_rpc.tokens.mint import SigningKey, generate_keys, mint, mint_for_program
from placet_storage import Database
from placet_testing.attestation import KEYS, attest_all, write_keys
from placet_testing.tokens import StaticToken

MakeEvent = Callable[..., event_pb2.Event]
MakeAppend = Callable[..., Append]


@pytest.fixture
def make_event() -> MakeEvent:
    """A comment, a vote or a request's first event, with an erasable actor and text; or an empty event of
    another kind."""

    def make(
        cause_id: str = "cause",
        *,
        actor: str = "alice@example.com",
        reason: str = "fine",
        kind: str = "commented",
    ) -> event_pb2.Event:
        event = event_pb2.Event(
            actor=event_pb2.Actor(
                kind=event_pb2.ACTOR_KIND_PERSON,
                name=event_pb2.Erasable(value=actor),
                authenticated_by="jwt:test",
            ),
            cause_id=cause_id,
        )
        event.time.FromMicroseconds(1_700_000_000_123_457)
        getattr(event, kind).SetInParent()
        if kind == "commented":
            event.commented.text.value = reason
        if kind == "voted":
            event.voted.tier, event.voted.verdict = 1, event_pb2.VERDICT_APPROVE
            event.voted.reason.value = reason
        if kind == "refused":
            event.refused.reason = error_reason_pb2.ERROR_REASON_CLOSED
            event.refused.message.value = reason
        if kind == "received":
            event.received.title.value = reason
        return event

    return make


@pytest.fixture
def make_append(make_event: MakeEvent) -> MakeAppend:
    """An append of comments, sealed, after a request's first event; one event per cause id."""

    def make(approval_id: str, expected_next: int, *cause_ids: str, tenant: str = "default") -> Append:
        drafts: list[Draft] = []
        for position, cause_id in enumerate(cause_ids):
            number = 0 if approval_id == TENANT_LEVEL else expected_next + position
            kind = "received" if number == 1 else "commented" if number else "access_refused"
            event = make_event(cause_id, reason=f"because {cause_id}", kind=kind)
            if number:
                attest_all([event], tenant, approval_id)
            drafts.append(
                seal(event_pb2.Entry(tenant=tenant, approval_id=approval_id, number=number, event=event))
            )
        return Append(tenant, approval_id, expected_next, tuple(drafts))

    return make


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """The log's database, on SQLite and then on PostgreSQL."""
    database = await Database.open(database_url, migrations="placet_audit")
    yield database
    await database.close()


@pytest.fixture
def log_keys() -> LogKeys:
    """Keys of the log."""
    return replace(LogKeys.read(new_key(), "test.example/log"), attesting=KEYS)


@pytest.fixture
def store(database: Database, log_keys: LogKeys) -> Store:
    """The store on that database."""
    return Store(database, log_keys)


@dataclass
class RunningLog:
    """Sequencer and stream on one store, as one process runs them."""

    store: Store
    sequencer: Sequencer
    stream: LogStream
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    async def __aenter__(self) -> RunningLog:
        self.tasks = [asyncio.create_task(self.sequencer.run())]
        await self.stream.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stream.__aexit__()
        self.sequencer.close()
        await asyncio.gather(*self.tasks)


StartLog = Callable[..., RunningLog]


@pytest.fixture
def start_log() -> StartLog:
    """Builds a log on a store; `async with` runs it."""

    def build(
        store: Store, *, queue_limit: int = 1000, keep_bytes: int = 1 << 20, sign_of_life: float = 5
    ) -> RunningLog:
        stream = LogStream(store, keep=keep_bytes, poll=0.05, sign_of_life=sign_of_life)
        sequencer = Sequencer(store, stream.publish_entries, queue_limit=queue_limit, batch_limit=100)
        return RunningLog(store, sequencer, stream)

    return build


@pytest.fixture
async def running(store: Store, start_log: StartLog) -> AsyncIterator[RunningLog]:
    """A running log on each kind of database."""
    async with start_log(store) as log:
        yield log


@dataclass
class Service:
    """A running AuditService and its callers."""

    address: str
    key: SigningKey
    stack: AsyncExitStack = field(default_factory=AsyncExitStack)

    def stub(
        self, *roles: str, subject: str = "somebody", tenant: str = "home"
    ) -> audit_service_pb2_grpc.AuditServiceStub:
        """A caller in these roles."""
        return self._stub(mint(self.key, subject, tenant, roles, ttl=600))

    def program(self, name: str, *tenants: str) -> audit_service_pb2_grpc.AuditServiceStub:
        """A program of Placet that may act for these tenants; by default for all."""
        return self._stub(mint_for_program(self.key, name, "home", 600, tenants=tenants or ["*"]))

    def _stub(self, token: str) -> audit_service_pb2_grpc.AuditServiceStub:
        opened = channel(self.address, StaticToken(token))
        self.stack.push_async_callback(opened.close)
        return audit_service_pb2_grpc.AuditServiceStub(opened)


@pytest.fixture(scope="session")
def key_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the keys that sign and verify all tokens."""
    folder = tmp_path_factory.mktemp("keys")
    generate_keys(folder)
    return folder


@pytest.fixture
async def service(database_url: str, key_folder: Path) -> AsyncIterator[Service]:
    """AuditService on SQLite and then on PostgreSQL."""
    async with _serving(database_url, key_folder) as service:
        yield service


@pytest.fixture
async def sqlite_service(sqlite_url: str, key_folder: Path) -> AsyncIterator[Service]:
    """AuditService, where the kind of database makes no difference."""
    async with _serving(sqlite_url, key_folder) as service:
        yield service


@asynccontextmanager
async def _serving(database_url: str, key_folder: Path) -> AsyncIterator[Service]:
    settings = Settings(
        database_url=database_url,
        listen="127.0.0.1:0",
        jwks_file=key_folder / "jwks.json",
        log_key=SecretStr(new_key()),
        attestation_keys_file=write_keys(key_folder)[1],
        refusals_per_minute=3,
    )
    async with assembled(settings) as parts:
        server = await start(settings.server(), [parts.endpoint], on_access_refused=parts.on_access_refused)
        service = Service(f"127.0.0.1:{server.port}", SigningKey.load(key_folder / "signing-key.json"))
        async with service.stack:
            yield service
        await server.stop(0)
