"""A test environment for `ApprovalWorkflow`: a Temporal server, workers on the real queues, and fakes.

A test says what the services answer, lets time pass, and looks at what was logged.
"""

from __future__ import annotations

import asyncio
import sys
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

from temporalio.api.testservice.v1 import LockTimeSkippingRequest, UnlockTimeSkippingRequest
from temporalio.api.workflow.v1 import PendingActivityInfo
from temporalio.client import Client, WorkflowHandle
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions
from temporalio.workflow import SandboxImportNotificationPolicy

from placet_devstack.temporal_server import TUNING
from placet_domain.coverage import WHOLE
from placet_domain.dto import Dto
from placet_domain.events import Closed, Decided, Event, Priority, Processed, TimedOut
from placet_domain.policy import Policy
from placet_testing.conditions import until
from placet_testing.fake_services import Services
from placet_testing.simulation import TENANT, received_event
from placet_workflows.activity_types import (
    ApprovalInput,
    NotifyInput,
)
from placet_workflows.approval import ApprovalWorkflow
from placet_workflows.names import APPROVAL_WORKFLOW, COMMAND_SIGNAL, TaskQueue

# Timeout of a test's waits, in real seconds.
PATIENCE = 20.0
PAUSE = 0.005

_BIN = Path(sys.executable).parent
_POLICIES = Path(__file__).resolve().parents[4] / "libs/domain/src/placet_domain/policies"

B = TypeVar("B", bound=Dto)


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
        identity="tests",
        test_server_existing_path=str(_BIN / "temporal-test-server"),
    )
    async with environment:
        yield environment


@asynccontextmanager
async def unlocked(environment: WorkflowEnvironment) -> AsyncIterator[None]:
    """Time skips while nothing runs."""
    service = environment.client.test_service
    await service.unlock_time_skipping(UnlockTimeSkippingRequest())
    try:
        yield
    finally:
        await service.lock_time_skipping(LockTimeSkippingRequest())


@asynccontextmanager
async def real_time() -> AsyncIterator[WorkflowEnvironment]:
    """The real server as the embedded stack tunes it, in memory."""
    environment = await WorkflowEnvironment.start_local(
        data_converter=pydantic_data_converter,
        identity="tests",
        dev_server_existing_path=str(_BIN / "temporal"),
        dev_server_log_level="error",
        dev_server_extra_args=[part for value in TUNING for part in ("--dynamic-config-value", value)],
    )
    async with environment:
        yield environment


@dataclass
class Request:
    """One request on the environment."""

    id: str
    environment: ApprovalEnvironment
    handle: WorkflowHandle[Any, Any]

    @property
    def events(self) -> list[Event]:
        """Logged events, in order."""
        return [stored.entry.event for stored in self.environment.services.log.entries[self.id]]

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

    async def asks(self, times: int = 1) -> None:
        """Waits until so many people were asked, and notified.

        The time-skipping server refuses a task that cancels an activity which ended while the task ran
        (the real one does not), and lets it time out; so nothing is sent while a notice is under way.
        """
        await self.reaches("asked", times)
        await until(lambda: sum(notice.tier is not None for notice in self._notices()) >= times)
        async with asyncio.timeout(PATIENCE):
            while await self.pending():  # noqa: ASYNC110 - the server tells only who asks
                await asyncio.sleep(PAUSE)

    async def pending(self) -> list[PendingActivityInfo]:
        """The calls that have not ended."""
        described = await self.handle.describe()
        return list(described.raw_description.pending_activities)

    def _notices(self) -> list[NotifyInput]:
        return [notice for notice in self.environment.services.delivered if notice.approval_id == self.id]

    def waited(self, tier: int) -> timedelta:
        """Time waited for a tier that timed out."""
        (waited,) = [body.waited for body in self.all_of(TimedOut) if body.tier == tier]
        assert waited is not None
        return waited

    async def silence(self, duration: timedelta) -> None:
        """Lets time pass. Time stands still while a task of any queue waits or runs."""
        async with asyncio.timeout(PATIENCE):
            await self.environment.environment.sleep(duration)

    async def silence_until(self, step: str) -> None:
        """Lets time pass until a type of event was logged."""
        async with unlocked(self.environment.environment):
            await self.reaches(step)

    async def send(self, command: object) -> None:
        """Signals a command, as the command handler does, or anything else."""
        await self.handle.signal(COMMAND_SIGNAL, command)

    async def outcome(self) -> Decided:
        """Lets time pass until the workflow ends, and answers the one outcome."""
        async with asyncio.timeout(PATIENCE):
            await self.handle.result()
        decided, closed = self.only(Decided), self.only(Closed)
        assert decided.state == closed.state
        return decided


@dataclass
class ApprovalEnvironment:
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
        processed: Processed | None = None,
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
            processed=processed or Processed(method="text", characters=12, words=2, coverage=WHOLE),
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
async def running_environment(
    environment: WorkflowEnvironment, services: Services, *, openai: bool = True, default: bool = True
) -> AsyncIterator[ApprovalEnvironment]:
    """Workers for a test; either can be left out, and what it would do stays in its queue."""
    async with AsyncExitStack() as workers:
        if default:
            await workers.enter_async_context(default_worker(environment.client, services))
        if openai:
            await workers.enter_async_context(openai_worker(environment.client, services))
        yield ApprovalEnvironment(environment, services, environment.client)


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
