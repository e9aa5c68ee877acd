"""A stage for `ApprovalWorkflow`: a Temporal server, an in-memory log, and services that do as they are told.

The activities are fakes under the real names on the real queues; the log compares and appends as
AuditService does. A test says what the services answer, lets time pass, and looks at what was logged.
"""

from __future__ import annotations

import asyncio
import sys
import uuid
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

from temporalio import activity
from temporalio.client import Client, WorkflowHandle
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.exceptions import ApplicationError
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions
from temporalio.workflow import SandboxImportNotificationPolicy

from placet_testing.playing import TENANT, ai_says, received_event, screened
from placet_workflows.approval import ApprovalWorkflow
from placet_workflows.events import (
    Closed,
    Decided,
    Dto,
    Entry,
    Event,
    LogEntry,
    Priority,
    Processed,
)
from placet_workflows.names import APPROVAL_WORKFLOW, COMMAND_SIGNAL, Activity, TaskQueue
from placet_workflows.policy import Policy
from placet_workflows.steps import (
    AppendInput,
    AppendResult,
    ApprovalInput,
    AssessInput,
    AssessResult,
    DecideInput,
    DecideResult,
    NotifyInput,
    NotifyResult,
)

# How long a test waits, in real seconds, for what must happen.
PATIENCE = 20.0

_BIN = Path(sys.executable).parent
_POLICIES = Path(__file__).resolve().parents[4] / "services/approval/src/placet_approval/policies"

B = TypeVar("B", bound=Dto)
Answer = TypeVar("Answer")


def shipped_policy(name: str) -> Policy:
    """A policy as it ships, from its file in this repository."""
    return Policy.from_toml((_POLICIES / f"{name}.toml").read_text())


def sandbox() -> SandboxedWorkflowRunner:
    """The sandbox in which a module that passes through without being meant to is an error."""
    restrictions = SandboxRestrictions.default.with_import_notification_policy(
        SandboxImportNotificationPolicy.WARN_ON_DYNAMIC_IMPORT
        | SandboxImportNotificationPolicy.RAISE_ON_UNINTENTIONAL_PASSTHROUGH
    )
    return SandboxedWorkflowRunner(restrictions=restrictions)


@asynccontextmanager
async def skipping_time() -> AsyncIterator[WorkflowEnvironment]:
    """The server on which weeks pass in milliseconds while nothing runs."""
    environment = await WorkflowEnvironment.start_time_skipping(
        data_converter=pydantic_data_converter,
        identity="stage",
        test_server_existing_path=str(_BIN / "temporal-test-server"),
    )
    async with environment:
        yield environment


@asynccontextmanager
async def real_time() -> AsyncIterator[WorkflowEnvironment]:
    """The real server, in memory."""
    environment = await WorkflowEnvironment.start_local(
        data_converter=pydantic_data_converter,
        identity="stage",
        dev_server_existing_path=str(_BIN / "temporal"),
        dev_server_log_level="error",
    )
    async with environment:
        yield environment


class FakeLog:
    """AuditService.AppendEvents in memory: compare-and-append, one request at a time.

    `refuse` attempts fail before anything is stored, `lose` attempts store and fail to say so. `intrude`
    holds events that somebody else stores just before the next append.
    """

    def __init__(self) -> None:
        self.entries: dict[str, list[LogEntry]] = defaultdict(list)
        self.refuse = 0
        self.lose = 0
        self.never = False
        self.intrude: list[Event] = []
        self.attempts: list[AppendInput] = []
        self._size = 0

    async def append(self, request: AppendInput) -> AppendResult:
        """Appends if `expected_next` is the next number, else answers what is stored from there on."""
        self.attempts.append(request)
        if self.never:
            raise ApplicationError("the log says never", non_retryable=True)
        if self.refuse > 0:
            self.refuse -= 1
            raise ApplicationError("the log does not answer")
        while self.intrude:
            self._store(request, self.intrude.pop(0))
        stored = self.entries[request.approval_id]
        next_number = len(stored) + 1
        if request.expected_next > next_number:
            raise AssertionError(f"event {request.expected_next} would leave a gap after {len(stored)}")
        appended = request.expected_next == next_number
        if appended:
            for event in request.events:
                self._store(request, event)
        if self.lose > 0:
            self.lose -= 1
            raise ApplicationError("the log's answer was lost")
        return AppendResult(appended=appended, entries=tuple(stored[request.expected_next - 1 :]))

    def _store(self, request: AppendInput, event: Event) -> None:
        self.begin(request.tenant, request.approval_id, event)

    def begin(self, tenant: str, approval_id: str, event: Event) -> LogEntry:
        """Stores an event without a comparison, as intake does with the first."""
        stored = self.entries[approval_id]
        entry = Entry(tenant=tenant, approval_id=approval_id, number=len(stored) + 1, event=event)
        stored.append(LogEntry(index=self._size, entry=entry))
        self._size += 1
        return stored[-1]


async def until(holds: Callable[[], bool]) -> None:
    """Waits until it holds. Raises TimeoutError."""
    async with asyncio.timeout(PATIENCE):
        while not holds():  # noqa: ASYNC110 - the fakes signal nothing of what they are asked
            await asyncio.sleep(0.005)


async def quick_assessment(request: AssessInput) -> AssessResult:
    """What rules say of a document that is neither safe nor dangerous; there is no model."""
    return AssessResult(result=screened().model_copy(update={"mode": request.mode}))


async def approving_ai(_request: DecideInput) -> DecideResult:
    """An AI that approves."""
    return DecideResult(result=ai_says())


async def delivering(request: NotifyInput) -> NotifyResult:
    """A channel that delivers."""
    return NotifyResult(notification_id=f"n/{request.idempotency_key}", delivered=True, channel="email")


def never_answering(
    attempts: int, then: Callable[[Any], Awaitable[Answer]]
) -> Callable[[Any], Awaitable[Answer]]:
    """A service that fails so often before it answers; the attempts are a minute apart."""
    left = [attempts]

    async def answer(request: Any) -> Answer:  # Any: whatever the service takes
        if left[0] > 0:
            left[0] -= 1
            raise ApplicationError("does not answer", next_retry_delay=timedelta(minutes=1))
        return await then(request)

    return answer


@dataclass
class Services:
    """What the services do, and what they were asked."""

    log: FakeLog = field(default_factory=FakeLog)
    assess: Callable[[AssessInput], Awaitable[AssessResult]] = quick_assessment
    decide: Callable[[DecideInput], Awaitable[DecideResult]] = approving_ai
    notify: Callable[[NotifyInput], Awaitable[NotifyResult]] = delivering
    assessed: list[AssessInput] = field(default_factory=list)
    asked_ai: list[DecideInput] = field(default_factory=list)
    notified: list[NotifyInput] = field(default_factory=list)
    # The queue of each activity that ran, to see that work goes where it belongs.
    queues: set[tuple[str, str]] = field(default_factory=set)

    @activity.defn(name=Activity.APPEND_EVENTS)
    async def append_events(self, request: AppendInput) -> AppendResult:
        """See FakeLog."""
        return await self.log.append(request)

    @activity.defn(name=Activity.ASSESS_RISK)
    async def assess_risk(self, request: AssessInput) -> AssessResult:
        """The pre-screen."""
        self._note_queue(f"{Activity.ASSESS_RISK} {request.mode.lower()}")
        self.assessed.append(request)
        return await self.assess(request)

    @activity.defn(name=Activity.DECIDE)
    async def ask_ai(self, request: DecideInput) -> DecideResult:
        """The fallback."""
        self._note_queue(Activity.DECIDE)
        self.asked_ai.append(request)
        return await self.decide(request)

    @activity.defn(name=Activity.NOTIFY)
    async def tell(self, request: NotifyInput) -> NotifyResult:
        """A notification."""
        self._note_queue(Activity.NOTIFY)
        self.notified.append(request)
        return await self.notify(request)

    def _note_queue(self, name: str) -> None:
        self.queues.add((name, activity.info().task_queue))


@dataclass
class Request:
    """One request on the stage."""

    id: str
    stage: Stage
    handle: WorkflowHandle[Any, Any]

    @property
    def events(self) -> list[Event]:
        """What was logged, in order."""
        return [stored.entry.event for stored in self.stage.services.log.entries[self.id]]

    @property
    def path(self) -> list[str]:
        """The types of what was logged, in order."""
        return [event.body.type for event in self.events]

    def all_of(self, kind: type[B]) -> list[B]:
        """The logged bodies of a type."""
        return [event.body for event in self.events if isinstance(event.body, kind)]

    def only(self, kind: type[B]) -> B:
        """The one logged body of a type."""
        (body,) = self.all_of(kind)
        return body

    async def reaches(self, step: str, times: int = 1) -> None:
        """Waits until a type of event was logged so often."""
        await until(lambda: self.path.count(step) >= times)

    async def silence(self, duration: timedelta) -> None:
        """Lets time pass."""
        await self.stage.environment.sleep(duration)

    async def send(self, command: object) -> None:
        """Signals a command, as the door does, or something else."""
        await self.handle.signal(COMMAND_SIGNAL, command)

    async def outcome(self) -> Decided:
        """Lets time pass until the workflow ends, and answers the one outcome."""
        await self.handle.result()
        decided, closed = self.only(Decided), self.only(Closed)
        assert decided.state == closed.state
        return decided


@dataclass
class Stage:
    """Server, workers and services."""

    environment: WorkflowEnvironment
    services: Services
    client: Client
    requests: list[Request] = field(default_factory=list)

    async def request(
        self,
        policy: Policy | str,
        *,
        priority: Priority = Priority.NORMAL,
        deadline: timedelta | None = None,
        renew_after: timedelta = timedelta(days=30),
        clock_scale: float = 1.0,
        commands: Sequence[object] = (),
    ) -> Request:
        """Does what intake does: `received` is logged, then the workflow starts; `commands` are signalled
        before its first task."""
        rules = shipped_policy(policy) if isinstance(policy, str) else policy
        now = await self.environment.get_current_time()
        approval_id = str(uuid.uuid4())
        received = received_event(
            rules,
            now,
            priority=priority,
            deadline=None if deadline is None else now + deadline,
            clock_scale=clock_scale,
        )
        start = ApprovalInput(
            received=self.services.log.begin(TENANT, approval_id, received),
            processed=Processed(method="text", characters=12, words=2),
            policy=rules,
            renew_after=renew_after,
        )
        handle = await self.client.start_workflow(
            APPROVAL_WORKFLOW,
            start,
            id=approval_id,
            task_queue=TaskQueue.DEFAULT,
            start_signal=COMMAND_SIGNAL if commands else None,
            start_signal_args=commands[:1],
        )
        request = Request(approval_id, self, handle)
        self.requests.append(request)
        for command in commands[1:]:
            await request.send(command)
        return request


@asynccontextmanager
async def on_stage(
    environment: WorkflowEnvironment, services: Services, *, openai: bool = True, default: bool = True
) -> AsyncIterator[Stage]:
    """Workers for a test; either can be left out, and what it would do stays in its queue."""
    async with AsyncExitStack() as workers:
        if default:
            await workers.enter_async_context(default_worker(environment.client, services))
        if openai:
            await workers.enter_async_context(openai_worker(environment.client, services))
        yield Stage(environment, services, environment.client)


def default_worker(client: Client, services: Services, **options: Any) -> Worker:  # Any: the SDK's options
    """The worker that runs the workflows, and what takes milliseconds."""
    return Worker(
        client,
        task_queue=TaskQueue.DEFAULT,
        workflows=[ApprovalWorkflow],
        activities=[services.append_events, services.assess_risk, services.tell],
        workflow_runner=sandbox(),
        **options,
    )


def openai_worker(client: Client, services: Services) -> Worker:
    """The worker that asks models."""
    return Worker(
        client,
        task_queue=TaskQueue.OPENAI,
        activities=[services.assess_risk, services.ask_ai],
    )
