"""The embedded stack for end-to-end tests: the real server, services and workers, and hands to break them."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from temporalio.client import Client

from placet.approval.v1 import approval_pb2, approval_service_pb2
from placet.approval.v1.approval_service_pb2_grpc import ApprovalServiceStub
from placet.audit.v1 import audit_service_pb2
from placet.audit.v1.audit_service_pb2_grpc import AuditServiceStub
from placet.event.v1 import event_pb2
from placet.notification.v1.notification_service_pb2_grpc import NotificationServiceStub
from placet_cli.home import Home, Ports
from placet_cli.identity import TENANT, signing_key
from placet_devstack.child import ProcessSpec
from placet_devstack.lifecycle import running_stack
from placet_devstack.plan import StackOptions, stack
from placet_devstack.supervisor import Supervisor
from placet_domain.commands import BaseCommand
from placet_proof.signer import read_key
from placet_rpc.client import channel
from placet_rpc.errors import DeadlineExceeded, FailedPrecondition, PlacetError, Unavailable
from placet_rpc.tokens.mint import MintingTokenSource
from placet_temporal import TemporalSettings, connect
from placet_testing.attestation import attested
from placet_testing.conditions import EVENTUALLY, SOON, until
from placet_testing.ports import free_port_base
from placet_testing.requests import decision_message, request_message

T = TypeVar("T")
C = TypeVar("C", bound=BaseCommand)

CALLER, ALICE, BOB = "ci@example.com", "alice@example.com", "bob@example.com"
AUDITOR = "auditor@example.com"
ROLES = {AUDITOR: frozenset({"auditor", "operator"})}
# Module that runs instead of a worker in a breakable stack.
FAILING = {
    "worker-default": "placet_testing.failpoint_worker",
    "worker-ml": "placet_testing.failpoint_ml_worker",
}
PAYMENT = b"Please transfer 50,000 EUR to IBAN DE89 3704 0044 0532 0130 00 today"


async def answered(call: Awaitable[T]) -> T | None:
    """The call's answer; None if it is unknown, and the same call must be sent again."""
    try:
        return await call
    except (Unavailable, DeadlineExceeded):
        return None


def a_request(
    policy: str = "simple", required_approver: str = ALICE, manager_approver: str = BOB, **fields: object
) -> approval_service_pb2.RequestApprovalRequest:
    """A request that can be sent again: alice is asked about a payment, and bob where the policy asks a
    manager."""
    content = approval_pb2.Content(body=PAYMENT, media_type="text/plain")
    return request_message(policy, required_approver, manager_approver, **{"content": content, **fields})


@dataclass(frozen=True)
class DecisionResult:
    """Result of a decision: `refusal` is None if it took effect."""

    refusal: PlacetError | None = None

    @property
    def word(self) -> str:
        """EFFECTIVE, or the refusal's reason."""
        return "EFFECTIVE" if self.refusal is None else self.refusal.reason


class Stack:
    """A running stack."""

    def __init__(self, home: Home, ports: Ports, supervisor: Supervisor, channels: AsyncExitStack) -> None:
        self.home = home
        self.ports = ports
        self.supervisor = supervisor
        self._channels = channels
        self._stubs: dict[str, ApprovalServiceStub] = {}
        self._audit: AuditServiceStub | None = None
        self._notification: NotificationServiceStub | None = None
        self._temporal: Client | None = None

    # Callers.

    def tokens(self, subject: str) -> MintingTokenSource:
        """Tokens of a person or program; an address may ask and approve."""
        roles = ROLES.get(subject, frozenset({"requester", "approver"}))
        return MintingTokenSource(signing_key(self.home), subject, TENANT, roles)

    async def as_(self, subject: str) -> ApprovalServiceStub:
        """ApprovalService as `subject` calls it."""
        if subject not in self._stubs:
            opened = channel(self.ports.address("approval"), self.tokens(subject))
            self._stubs[subject] = ApprovalServiceStub(await self._channels.enter_async_context(opened))
        return self._stubs[subject]

    async def audit(self) -> AuditServiceStub:
        """AuditService as an auditor calls it."""
        if self._audit is None:
            opened = channel(self.ports.address("audit"), self.tokens(AUDITOR))
            self._audit = AuditServiceStub(await self._channels.enter_async_context(opened))
        return self._audit

    async def notification(self) -> NotificationServiceStub:
        """NotificationService as an operator calls it."""
        if self._notification is None:
            opened = channel(self.ports.address("notification"), self.tokens(AUDITOR))
            self._notification = NotificationServiceStub(await self._channels.enter_async_context(opened))
        return self._notification

    def attested(self, approval_id: str, command: C) -> C:
        """The command as ApprovalService would sign it, for a signal past it."""
        key = read_key(self.home.attestation_key.read_bytes())
        return attested(command, TENANT, approval_id, key)

    async def temporal(self) -> Client:
        """Temporal as the services and workers reach it."""
        if self._temporal is None:
            settings = TemporalSettings(
                temporal_address=self.ports.address("temporal"), payload_key_file=self.home.payload_key
            )
            self._temporal = await connect(settings, "test")
        return self._temporal

    # `sent`, `decide` and `processed` are one call each. Every other method repeats the same call until it is
    # answered: that a busy machine did not answer once is no test's failure.

    async def request(self, policy: str = "simple", **fields: object) -> str:
        """Asks for an approval; its id."""
        sent = partial(self.sent, a_request(policy, **fields))  # type: ignore[arg-type]  # tests override fields by name
        return await until(sent, "the request is accepted", EVENTUALLY)

    async def sent(self, request: approval_service_pb2.RequestApprovalRequest) -> str | None:
        """Sends a request, by one call; its id, or None when the same one must be sent again."""
        response = await answered((await self.as_(CALLER)).RequestApproval(request, timeout=SOON))
        return None if response is None else response.approval_id

    async def get(self, approval_id: str, within: float = EVENTUALLY) -> approval_pb2.Approval:
        """The request as its caller sees it."""
        return await until(
            lambda: answered(self._get_once(approval_id)), f"the view shows {approval_id}", within
        )

    async def _get_once(self, approval_id: str) -> approval_pb2.Approval:
        request = approval_service_pb2.GetApprovalRequest(approval_id=approval_id)
        return (await (await self.as_(CALLER)).GetApproval(request, timeout=SOON)).approval

    async def waiting(self, approval_id: str, within: float = EVENTUALLY) -> approval_pb2.Approval:
        """The request once it waits for a person."""

        async def ask() -> approval_pb2.Approval | None:
            approval = await answered(self._get_once(approval_id))
            return approval if approval is not None and approval.waiting_for_approval else None

        return await until(ask, f"{approval_id} waits for a person", within)

    async def all_waiting(self, number: int, *policies: str) -> list[str]:
        """Asks for so many approvals at once, of each policy in turn; their ids once all are asked."""
        turns = itertools.cycle(policies or ("simple",))
        ids = await asyncio.gather(*(self.request(next(turns)) for _ in range(number)))
        await asyncio.gather(*(self.waiting(approval_id) for approval_id in ids))
        return ids

    async def outcome(self, approval_id: str, within: float = EVENTUALLY) -> approval_pb2.Outcome:
        """The outcome, once there is one."""
        caller = await self.as_(CALLER)

        async def ask() -> approval_pb2.Outcome | None:
            response = await answered(
                caller.AwaitOutcome(
                    approval_service_pb2.AwaitOutcomeRequest(approval_id=approval_id), timeout=SOON
                )
            )
            closed = response is not None and response.approval.HasField("outcome")
            return response.approval.outcome if response is not None and closed else None

        return await until(ask, f"{approval_id} is closed", within)

    async def decide(
        self,
        approval_id: str,
        person: str,
        verdict: event_pb2.Verdict.ValueType = event_pb2.VERDICT_APPROVE,
        command_id: str = "",
        content_digest: bytes = b"",
        reason: str = "because",
    ) -> approval_pb2.CommandResult:
        """One decision, by one call. Raises its refusal."""
        digest = content_digest or (await self._get_once(approval_id)).content_digest
        chosen = {"command_id": command_id} if command_id else {}
        request = decision_message(approval_id, verdict, content_digest=digest, reason=reason, **chosen)
        return (await (await self.as_(person)).SubmitDecision(request, timeout=SOON)).result

    async def processed(
        self, approval_id: str, person: str, command_id: str, content_digest: bytes = b""
    ) -> DecisionResult | None:
        """Sends an approval, by one call; what it came to, or None when that is not known yet and the same
        one must be sent again."""
        decision = self.decide(approval_id, person, command_id=command_id, content_digest=content_digest)
        try:
            answer = await answered(decision)
        except FailedPrecondition as refused:
            return DecisionResult(refused)
        unknown = answer is None or answer.status == approval_pb2.COMMAND_STATUS_ACCEPTED
        return None if unknown else DecisionResult()

    async def path(self, approval_id: str, within: float = EVENTUALLY) -> list[event_pb2.Event]:
        """The request's events by the log itself, in order."""
        request = audit_service_pb2.ListEventsRequest(
            filter=audit_service_pb2.EventFilter(approval_id=approval_id), page_size=1000
        )
        audit = await self.audit()
        response = await until(
            lambda: answered(audit.ListEvents(request, timeout=SOON)), "the log answers", within
        )
        assert [one.entry.number for one in response.entries] == list(range(1, len(response.entries) + 1))
        return [one.entry.event for one in response.entries]

    # Breaking it.

    def pid(self, name: str) -> int:
        """The process's id."""
        return self.supervisor.pids[name]

    def kill(self, name: str) -> None:
        """kill -9; the supervisor starts it again."""
        os.kill(self.pid(name), signal.SIGKILL)

    def arm(self, failpoint: str, approval_id: str, body: str) -> None:
        """Sets a failpoint of `failing_worker`."""
        (self.failpoints / failpoint).write_text(f"{approval_id} {body}")

    def armed(self, failpoint: str) -> bool:
        """True until the failpoint has fired."""
        return (self.failpoints / failpoint).exists()

    @property
    def failpoints(self) -> Path:
        """Folder of failpoints and gates."""
        return failpoints_of(self.home)

    @contextmanager
    def down(self, *names: str) -> Iterator[None]:
        """Kills processes and keeps them down until the block ends."""
        for name in names:
            (self.failpoints / f"{name}.shut").touch()
            self.kill(name)
        try:
            yield
        finally:
            for name in names:
                (self.failpoints / f"{name}.shut").unlink()

    @contextmanager
    def stopped(self, name: str) -> Iterator[None]:
        """A process that neither works nor dies (SIGSTOP)."""
        pid = self.pid(name)
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGCONT)


def failpoints_of(home: Home) -> Path:
    """Folder of a test stack's failpoints and gates."""
    return home.path / "failpoints"


def breakable(home: Home, specs: Sequence[ProcessSpec]) -> list[ProcessSpec]:
    """The stack's processes behind gates, and the workers that have failpoints with them."""
    folder = failpoints_of(home)
    folder.mkdir(parents=True, exist_ok=True)
    changed = []
    for spec in specs:
        module = FAILING.get(spec.name)
        command = spec.command if module is None else (sys.executable, "-m", module)
        gate = (sys.executable, "-m", "placet_testing.start_gate", str(folder / f"{spec.name}.shut"))
        env = {**spec.env, "PLACET_FAILPOINTS": str(folder)}
        changed.append(dataclasses.replace(spec, command=(*gate, *command), env=env, start_limit=EVENTUALLY))
    return changed


def on_database(spec: ProcessSpec, databases: Mapping[str, str]) -> ProcessSpec:
    """The process with the database that is meant for it, if one is."""
    if spec.name not in databases:
        return spec
    url = {f"PLACET_{spec.name.upper()}_DATABASE_URL": databases[spec.name]}
    return dataclasses.replace(spec, env={**spec.env, **url})


@asynccontextmanager
async def running_test_stack(
    folder: Path,
    *,
    clock_scale: float = 1.0,
    failpoints: bool = True,
    environment: Mapping[str, str] = os.environ,
    databases: Mapping[str, str] | None = None,
) -> AsyncIterator[Stack]:
    """A stack of its own in `folder`, on free ports; gone when the block ends.

    Without `failpoints` it is exactly what `placet up` runs, and `arm` and `down` do not work on it.
    `environment` is the outside's, of which each process sees what the plan lets it see. `databases` holds
    the URLs of services that shall not use SQLite, by the service's name.
    """
    home, ports = Home.at(folder), Ports(free_port_base())

    def plan(home: Home, ports: Ports, options: StackOptions) -> list[ProcessSpec]:
        specs = [on_database(spec, databases or {}) for spec in stack(home, ports, options, environment)]
        return breakable(home, specs) if failpoints else specs

    entered = running_stack(
        home, ports, StackOptions(clock_scale=clock_scale), report=lambda _event: None, plan=plan
    )
    async with entered as supervisor, AsyncExitStack() as channels:
        yield Stack(home, ports, supervisor, channels)
