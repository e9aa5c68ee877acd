"""Plays the scenarios at once, each person acting on what the log says, and prints it as it happens."""

from __future__ import annotations

import asyncio
import os
import signal
import time
import uuid
from collections.abc import Coroutine, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import timedelta

from opentelemetry import trace
from rich.text import Text

from placet.approval.v1 import approval_pb2, approval_service_pb2
from placet.audit.v1 import audit_service_pb2, audit_service_pb2_grpc
from placet.event.v1 import event_pb2
from placet_cli.event_rows import RowReader
from placet_cli.identity import OWNER, TENANT, person
from placet_cli.screen import Screen, fit
from placet_cli.session import Session
from placet_cli.times import span
from placet_client import PlacetClient
from placet_devstack.child import StackEvent
from placet_devstack.demo.scenarios import REQUESTER, Answer, Scenario
from placet_devstack.supervisor import Supervisor
from placet_domain.ids import approval_id

KILLED = "worker-default"
# Pauses before a person decides, and between two requests, so that a reader can follow.
THINKING_SECONDS = 1.5
BETWEEN_SECONDS = 0.3
# Events that are printed live; `placet show` has all.
_LIVE = frozenset(
    {
        "received",
        "pre_screened",
        "asked",
        "timed_out",
        "voted",
        "refused",
        "fell_back",
        "ai_decided",
        "decided",
    }
)


@dataclass
class Run:
    """A scenario under way."""

    scenario: Scenario
    request_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    closed: asyncio.Event = field(default_factory=asyncio.Event)
    asked: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def id(self) -> str:
        """The request's id, known before it is asked for."""
        return approval_id(TENANT, REQUESTER, self.request_id)


class Player:
    """The story on a running stack."""

    def __init__(self, session: Session, supervisor: Supervisor, scenarios: Sequence[Scenario]) -> None:
        """Nothing happens yet."""
        self._session = session
        self._screen: Screen = session.screen
        self._supervisor = supervisor
        self._runs = [Run(scenario) for scenario in scenarios]
        self._by_id = {run.id: run for run in self._runs}
        self._reader = RowReader()
        self._begun = time.monotonic()
        self._clients: dict[str, PlacetClient] = {}
        self._deciding: set[asyncio.Task[None]] = set()

    async def play(self) -> list[approval_pb2.Approval]:
        """Plays all scenarios and answers with the closed requests in their order."""
        async with AsyncExitStack() as stack:
            people = {REQUESTER, OWNER, *(name for run in self._runs for name in run.scenario.answers)}
            for name in people:
                client = PlacetClient.connect(
                    self._session.address("approval"), person(self._session.home, name)
                )
                self._clients[name] = await stack.enter_async_context(client)
            start = await self._log_size()
            self._begun = time.monotonic()
            async with asyncio.TaskGroup() as tasks:
                watching = tasks.create_task(self._watch(start))
                tasks.create_task(self._kill_when_due())
                for run in self._runs:
                    await self._ask(run)
                    await asyncio.sleep(BETWEEN_SECONDS)
                for run in self._runs:
                    await run.closed.wait()
                watching.cancel()
            await asyncio.gather(*self._deciding)
            return [await self._clients[OWNER].get(run.id) for run in self._runs]

    def on_stack_event(self, event: StackEvent) -> None:
        """Prints an event of the stack."""
        self.report(event.name, event.what, event.detail, good=False if event.bad else None)

    def report(self, actor: str, what: str, why: str, *, number: int = 0, good: bool | None = None) -> None:
        """A line in the form of all others: elapsed, request, actor, event, reason."""
        elapsed = span(timedelta(seconds=time.monotonic() - self._begun))
        tag = f"#{number}" if number else "  "
        style = {True: "bold green", False: "bold red", None: ""}[good]
        line = Text.assemble(
            (f"{elapsed:>7} {tag} ", "dim"),
            (fit(actor, 18) + " ", "cyan"),
            (fit(what, 12) + " ", style),
            fit(why, 37),
        )
        line.rstrip()
        self._screen.say(line)

    async def _log_size(self) -> int:
        async with self._session.channel("audit") as channel:
            stub = audit_service_pb2_grpc.AuditServiceStub(channel)
            return (await stub.ListEvents(audit_service_pb2.ListEventsRequest(page_size=1))).size

    async def _ask(self, run: Run) -> None:
        scenario = run.scenario
        with trace.get_tracer("placet.demo").start_as_current_span(f"demo #{scenario.number}"):
            await self._clients[REQUESTER].request_approval(
                title=scenario.title,
                content=scenario.content,
                policy=scenario.policy,
                required_approver=scenario.approver,
                manager_approver=scenario.manager,
                priority=scenario.priority,
                subject_id=f"demo-{scenario.number}",
                labels={"demo": "yes"},
                request_id=run.request_id,
            )

    async def _watch(self, start: int) -> None:
        async for change in self._clients[OWNER].watch(from_log_index=start):
            run = self._by_id.get(change.entry.entry.approval_id)
            if run is not None:
                self._on_change(run, change)

    def _on_change(self, run: Run, change: approval_service_pb2.WatchApprovalsResponse) -> None:
        event = change.entry.entry.event
        body = event.WhichOneof("body")
        if body in _LIVE:
            line = self._reader.row(change.entry)
            self.report(line.actor, line.event, line.brief, number=run.scenario.number, good=line.good)
        if body == "asked":
            self._on_asked(run, event.asked.person.value)
        elif body == "closed":
            run.closed.set()

    def _on_asked(self, run: Run, name: str) -> None:
        run.asked.set()
        answer = run.scenario.answers.get(name)
        if answer is not None and not run.scenario.kill_after:
            self._begin(self._decide(run, name, answer, THINKING_SECONDS))

    def _begin(self, deciding: Coroutine[None, None, None]) -> None:
        self._deciding.add(asyncio.create_task(deciding))

    async def _decide(self, run: Run, name: str, answer: Answer, thinking: float) -> None:
        await asyncio.sleep(thinking)
        response = await self._clients[name].decide(run.id, answer.verdict, reason=answer.reason)
        if response.status == approval_pb2.COMMAND_STATUS_ACCEPTED:
            why = "durable; waits until a worker is back"
            self.report(name, "clicked", why, number=run.scenario.number)

    async def _kill_when_due(self) -> None:
        for run in self._runs:
            if not run.scenario.kill_after:
                continue
            for other in self._runs:
                if other.scenario.number in run.scenario.kill_after:
                    await other.closed.wait()
            await run.asked.wait()
            self._kill(run)
            for name, answer in run.scenario.answers.items():
                self._begin(self._decide(run, name, answer, 0))

    def _kill(self, run: Run) -> None:
        pid = self._supervisor.pids.get(KILLED)
        if pid is not None:
            self.report("demo", "kill -9", f"{KILLED}, while #{run.scenario.number} waits", good=False)
            os.kill(pid, signal.SIGKILL)


def as_expected(scenario: Scenario, approval: approval_pb2.Approval) -> bool:
    """True when a scenario had its expected outcome."""
    outcome, expected = approval.outcome, scenario.expected
    return (
        event_pb2.State.Name(outcome.state) == f"STATE_{expected.state}"
        and event_pb2.Source.Name(outcome.source) == f"SOURCE_{expected.source}"
        and event_pb2.DecisionType.Name(outcome.decision_type) == f"DECISION_TYPE_{expected.decision_type}"
        and outcome.approver == expected.approver
    )
