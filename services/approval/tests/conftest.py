"""ApprovalService as its callers see it: real servers, tokens and databases; only Temporal is a fake."""

from __future__ import annotations

import asyncio
import hashlib
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest

from placet.approval.v1 import approval_pb2, approval_service_pb2
from placet.approval.v1.approval_service_pb2_grpc import ApprovalServiceStub
from placet.audit.v1 import audit_service_pb2
from placet.audit.v1.audit_service_pb2_grpc import AuditServiceStub
from placet.event.v1 import event_pb2
from placet_approval.__main__ import assembled
from placet_approval.adapters.temporal import NoSuchWorkflow, Workflows
from placet_approval.config import Settings
from placet_domain import coverage, interpreter
from placet_domain.commands import BaseCommand
from placet_domain.events import Event, LogEntry, Processed
from placet_domain.policy import Policy
from placet_domain.state import ApprovalState
from placet_domain.stimuli import Begin, Stimulus, TierTimeout
from placet_logtail import consumers
from placet_mapping import from_proto, to_proto
from placet_rpc.client import channel
from placet_rpc.errors import PlacetError, Unavailable
from placet_rpc.identity import acting_for
from placet_rpc.server import start
from placet_rpc.tokens.mint import KeyFiles, SigningKey, generate_keys, mint, mint_for_program
from placet_storage import Database
from placet_testing.audit_server import AuditServer
from placet_testing.conditions import until
from placet_testing.requests import decision_message, delivered_notices, request_message
from placet_testing.tokens import StaticToken
from placet_workflows.activity_types import ApprovalInput

T = TypeVar("T")

HOME, ABROAD = "home", "abroad"
CALLER, ALICE, BOB = "ci@example.com", "alice@example.com", "bob@example.com"
SOON = 15.0
# Seconds that a command handler waits for a result: with a worker, and without one.
PATIENT, HASTY = 10.0, 0.2


@dataclass
class FakeWorkflow:
    """One request's workflow."""

    policy: Policy
    state: ApprovalState
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class FakeWorkflows(Workflows):
    """A fake of Temporal and a worker: starts and signals are durable, and processed while `working`.

    The log is the real one, and so are the rules.
    """

    def __init__(self, audit: AuditServer, key: SigningKey) -> None:
        self._audit = audit
        self._token = StaticToken(mint_for_program(key, "worker-default", HOME, 3600, tenants=["*"]))
        self._running: dict[str, FakeWorkflow] = {}
        self._waiting: list[tuple[str, Stimulus]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self.starts: Counter[str] = Counter()
        self.commands: list[BaseCommand] = []
        self.turned_away = 0
        self.away = False
        self.working = True

    async def start(self, start: ApprovalInput) -> None:
        """See Workflows. A second start of a workflow that is not forgotten has no effect."""
        self._refuse_if_away()
        await asyncio.sleep(0)
        entry = start.received.entry
        if entry.approval_id in self._running:
            return
        self.starts[entry.approval_id] += 1
        state = start.state or ApprovalState()
        if start.state is None:
            state.fold(start.received)
        self._running[entry.approval_id] = FakeWorkflow(start.policy, state)
        self._take(entry.approval_id, Begin())
        for command in start.commands:
            self._take(entry.approval_id, command)

    async def command(self, approval_id: str, command: BaseCommand) -> None:
        """See Workflows."""
        self._refuse_if_away()
        played = self._running.get(approval_id)
        if played is None or played.state.closed is not None:
            raise NoSuchWorkflow(approval_id)
        self.commands.append(command)
        self._take(approval_id, command)

    async def running(self, approval_ids: Sequence[str]) -> set[str]:
        """See Workflows."""
        self._refuse_if_away()
        played = ((approval_id, self._running.get(approval_id)) for approval_id in approval_ids)
        return {approval_id for approval_id, one in played if one is not None and one.state.closed is None}

    def terminate(self, approval_id: str) -> None:
        """As an operator does in Temporal's own UI: signals that were not processed are lost."""
        self.forget(approval_id)
        self._waiting = [(one, stimulus) for one, stimulus in self._waiting if one != approval_id]

    def forget(self, approval_id: str) -> None:
        """As after the end of Temporal's retention."""
        del self._running[approval_id]

    async def work(self) -> None:
        """A worker comes back, and processes all that waits."""
        self.working = True
        waiting, self._waiting = self._waiting, []
        for approval_id, stimulus in waiting:
            self._take(approval_id, stimulus)
        await asyncio.gather(*self._tasks)

    async def happen(self, approval_id: str, *events: Event) -> None:
        """An event that the workflow logs by itself."""
        played = self._running[approval_id]
        async with played.lock:
            await self._append(played, list(events))

    @asynccontextmanager
    async def audit_stub(self) -> AsyncIterator[AuditServiceStub]:
        """AuditService as the worker calls it."""
        async with channel(self._audit.address, self._token, default_timeout=SOON) as opened:
            yield AuditServiceStub(opened)

    async def time_out(self, approval_id: str, tier: int) -> None:
        """The open tier's notices are delivered, and its time runs out."""
        played = self._running[approval_id]
        await self.happen(approval_id, *delivered_notices(played.state))
        await self._process(played, TierTimeout(tier))

    async def close(self) -> None:
        """Ends what is under way."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _refuse_if_away(self) -> None:
        if self.away:
            self.turned_away += 1
            raise Unavailable("Temporal does not answer", reason="DEPENDENCY_UNAVAILABLE")

    def _take(self, approval_id: str, stimulus: Stimulus) -> None:
        if not self.working:
            self._waiting.append((approval_id, stimulus))
            return
        task = asyncio.create_task(self._process(self._running[approval_id], stimulus))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _process(self, played: FakeWorkflow, stimulus: Stimulus) -> None:
        async with played.lock:
            now = datetime.now(UTC)
            events = interpreter.respond(played.policy, played.state, stimulus, now)
            if isinstance(stimulus, Begin) and played.state.processed is None:
                processed = Processed(
                    method="text", characters=1, words=1, text_digest="00" * 32, coverage=coverage.WHOLE
                )
                events = [interpreter.processed_event(processed, now), *events]
            if events:
                await self._append(played, events)

    async def _append(self, played: FakeWorkflow, events: list[Event]) -> None:
        """Until it is done, as the workflow does."""
        request = audit_service_pb2.AppendEventsRequest(
            approval_id=played.state.approval_id,
            expected_next=played.state.last_number + 1,
            events=[to_proto(event, event_pb2.Event) for event in events],
        )
        while True:
            try:
                with acting_for(played.state.tenant):
                    async with channel(self._audit.address, self._token, default_timeout=1) as opened:
                        response = await AuditServiceStub(opened).AppendEvents(request)
                break
            except PlacetError:
                await asyncio.sleep(0.05)
        for stored in response.entries:
            played.state.fold(from_proto(stored, LogEntry))


CONTENT = b"Pay 4,711 EUR to Example Ltd.\n"
DIGEST = hashlib.sha256(CONTENT).digest()


def asking(
    policy: str = "simple", required_approver: str = ALICE, manager_approver: str = BOB, **fields: Any
) -> approval_service_pb2.RequestApprovalRequest:
    """A request that is in order, but for what a test changes."""
    content = approval_pb2.Content(body=CONTENT, media_type="text/plain")
    return request_message(policy, required_approver, manager_approver, **({"content": content} | fields))


def deciding(approval_id: str, **fields: Any) -> approval_service_pb2.SubmitDecisionRequest:
    """An approval that is in order, but for what a test changes."""
    return decision_message(approval_id, **({"content_digest": DIGEST} | fields))


@dataclass
class Platform:
    """Everything around ApprovalService, and as many replicas of it as a test starts."""

    folder: Path
    database_url: str
    keys: KeyFiles
    audit: AuditServer
    workflows: FakeWorkflows
    stack: AsyncExitStack
    address: str = ""

    # Tests cannot import a conftest, so what they share hangs here.
    asking, deciding = staticmethod(asking), staticmethod(deciding)
    until = staticmethod(until)

    def settings(self, **changes: Any) -> Settings:
        """A replica's settings. Any: of each the setting's own type."""
        token = self.folder / "approval.token"
        key = SigningKey.load(self.keys.private_key)
        token.write_text(mint_for_program(key, "approval", HOME, 3600, tenants=["*"]))
        values: dict[str, Any] = {
            "listen": "127.0.0.1:0",
            "PLACET_JWKS_FILE": self.keys.jwks,
            "PLACET_TOKEN_FILE": token,
            "PLACET_AUDIT_ADDRESS": self.audit.address,
            "database_url": self.database_url,
            "command_budget": PATIENT,
            "sign_of_life": 0.3,
            "intake_recovery_interval": 3600,
            "workflow_recovery_interval": 3600,
            "recovery_age": 0.01,
            "grace": 0,
        }
        return Settings(**(values | changes))

    async def serve(self, **changes: Any) -> AsyncExitStack:
        """Starts a replica, which is the one that is called from now on; closing the stack ends it."""
        settings = self.settings(**changes)
        async with AsyncExitStack() as stack:
            service = await stack.enter_async_context(assembled(settings, self.workflows))
            server = await start(
                settings.server(), [service.endpoint], on_access_refused=service.on_access_refused
            )
            stack.push_async_callback(server.stop, settings.grace)
            self.address = f"127.0.0.1:{server.port}"
            replica = stack.pop_all()
        self.stack.push_async_callback(replica.aclose)
        return replica

    @staticmethod
    def cancelling(approval_id: str, **fields: Any) -> approval_service_pb2.CancelApprovalRequest:
        """A cancellation to be sent."""
        values: dict[str, Any] = {
            "approval_id": approval_id,
            "command_id": str(uuid.uuid4()),
            "reason": "moot",
        }
        return approval_service_pb2.CancelApprovalRequest(**values)

    async def as_(
        self, subject: str, *roles: str, tenant: str = HOME, address: str = ""
    ) -> ApprovalServiceStub:
        """ApprovalService as somebody calls it; who asks and decides by default."""
        held = roles or ("requester", "approver")
        token = mint(SigningKey.load(self.keys.private_key), subject, tenant, held, 3600)
        return await self._stub(token, address)

    async def as_program(self, name: str) -> ApprovalServiceStub:
        """ApprovalService as a program of Placet calls it, which may act for all tenants."""
        key = SigningKey.load(self.keys.private_key)
        return await self._stub(mint_for_program(key, name, HOME, 3600, tenants=["*"]))

    async def _stub(self, token: str, address: str = "") -> ApprovalServiceStub:
        opened = channel(address or self.address, StaticToken(token), default_timeout=SOON)
        return ApprovalServiceStub(await self.stack.enter_async_context(opened))

    async def request(self, *, tenant: str = HOME, by: str = CALLER, **fields: Any) -> str:
        """Asks; the request's id once it waits for a person in the view."""
        stub = await self.as_(by, tenant=tenant)
        approval_id = (await stub.RequestApproval(asking(**fields))).approval_id
        get = approval_service_pb2.GetApprovalRequest(approval_id=approval_id)

        async def waiting() -> bool:
            return (await stub.GetApproval(get)).approval.waiting_for_approval

        if self.workflows.working:
            await until(waiting)
        return approval_id

    async def get(self, approval_id: str, tenant: str = HOME) -> approval_pb2.Approval:
        """A request as its caller sees it."""
        stub, get = await self.as_(CALLER, tenant=tenant), approval_service_pb2.GetApprovalRequest
        return (await stub.GetApproval(get(approval_id=approval_id))).approval

    async def decide(self, approval_id: str, by: str = ALICE, **fields: Any) -> approval_pb2.CommandResult:
        """One decision by one call."""
        return (await (await self.as_(by)).SubmitDecision(self.deciding(approval_id, **fields))).result

    async def command_result(
        self, approval_id: str, command_id: str, by: str = ALICE
    ) -> approval_pb2.CommandResult:
        """The answer of GetCommand."""
        request = approval_service_pb2.GetCommandRequest(approval_id=approval_id, command_id=command_id)
        return (await (await self.as_(by)).GetCommand(request)).result

    async def escalate(self, approval_id: str) -> None:
        """Opens the second tier, as the workflow does by itself."""
        await self.workflows.time_out(approval_id, 1)


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> KeyFiles:
    """The keys that all tokens are signed and verified with."""
    return generate_keys(tmp_path_factory.mktemp("keys"))


OpenPlatform = Callable[..., Coroutine[Any, Any, Platform]]


@pytest.fixture
async def open_platform(tmp_path: Path, keys: KeyFiles) -> AsyncIterator[OpenPlatform]:
    """Builds a platform on a database, and its log on another; it goes with the test."""
    async with AsyncExitStack() as stack:

        async def build(database_url: str, log_url: str = "") -> Platform:
            audit = AuditServer(tmp_path, keys, log_url)
            await audit.start()
            stack.push_async_callback(audit.stop)
            workflows = FakeWorkflows(audit, SigningKey.load(keys.private_key))
            stack.push_async_callback(workflows.close)
            return Platform(tmp_path, database_url, keys, audit, workflows, stack)

        yield build


@pytest.fixture
async def bare_platform(open_platform: OpenPlatform, sqlite_url: str) -> Platform:
    """A platform without a replica of ApprovalService."""
    return await open_platform(sqlite_url)


@pytest.fixture
async def platform(bare_platform: Platform) -> Platform:
    """A platform with one replica, on SQLite."""
    await bare_platform.serve()
    return bare_platform


@pytest.fixture
async def hasty(bare_platform: Platform) -> Platform:
    """A platform that answers ACCEPTED soon."""
    await bare_platform.serve(command_budget=HASTY)
    return bare_platform


@pytest.fixture
async def either_platform(open_platform: OpenPlatform, database_url: str) -> Platform:
    """A platform with one replica, on SQLite and then on PostgreSQL."""
    platform = await open_platform(database_url)
    await platform.serve()
    return platform


@pytest.fixture
def long_leases(monkeypatch: pytest.MonkeyPatch) -> timedelta:
    """The leases of all consumers last for an hour, so that one of a dead process outlives the test."""
    lease = timedelta(hours=1)
    monkeypatch.setattr(consumers, "LEASE", lease)
    return lease


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """The service's database, on SQLite and then on PostgreSQL."""
    database = await Database.open(database_url, migrations="placet_approval")
    yield database
    await database.close()


@pytest.fixture
async def store(platform: Platform) -> AsyncIterator[Database]:
    """The replica's database, beside it."""
    database = await Database.open(platform.database_url, migrations="placet_approval")
    yield database
    await database.close()
