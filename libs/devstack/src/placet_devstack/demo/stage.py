"""Plays the scenes at once, each person acting on what the log says, and tells all of it as it happens."""

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

from rich.text import Text

from placet.approval.v1 import approval_pb2, approval_service_pb2
from placet.audit.v1 import audit_service_pb2, audit_service_pb2_grpc
from placet.event.v1 import event_pb2
from placet_cli.event_rows import Row, row
from placet_cli.identity import OWNER, TENANT, person
from placet_cli.screen import Screen, fit
from placet_cli.session import Session
from placet_cli.times import span
from placet_client import PlacetClient
from placet_devstack.demo.scenes import REQUESTER, Answer, Scene
from placet_devstack.process import StackEvent
from placet_devstack.supervisor import Supervisor
from placet_domain.ids import approval_id
from placet_telemetry import tracer

KILLED = "worker-default"
# What people take to make up their minds, and what a reader takes to follow.
THINKING_SECONDS = 1.5
BETWEEN_SECONDS = 0.3
# What is told live; the rest is in `placet show`.
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
class Cast:
    """A scene under way."""

    scene: Scene
    request_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    closed: asyncio.Event = field(default_factory=asyncio.Event)
    asked: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def id(self) -> str:
        """The request's id, known before it is asked for."""
        return approval_id(TENANT, REQUESTER, self.request_id)


class Stage:
    """The story on a running stack."""

    def __init__(self, session: Session, supervisor: Supervisor, scenes: Sequence[Scene]) -> None:
        """Nothing happens yet."""
        self._session = session
        self._screen: Screen = session.screen
        self._supervisor = supervisor
        self._casts = [Cast(scene) for scene in scenes]
        self._by_id = {cast.id: cast for cast in self._casts}
        self._begun = time.monotonic()
        self._clients: dict[str, PlacetClient] = {}
        self._deciding: set[asyncio.Task[None]] = set()

    async def play(self) -> list[approval_pb2.Approval]:
        """Plays all scenes and answers with the closed requests in their order."""
        async with AsyncExitStack() as stack:
            people = {REQUESTER, OWNER, *(name for cast in self._casts for name in cast.scene.answers)}
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
                for cast in self._casts:
                    await self._ask(cast)
                    await asyncio.sleep(BETWEEN_SECONDS)
                for cast in self._casts:
                    await cast.closed.wait()
                watching.cancel()
            await asyncio.gather(*self._deciding)
            return [await self._clients[OWNER].get(cast.id) for cast in self._casts]

    def hear(self, event: StackEvent) -> None:
        """Tells what happens to the stack meanwhile."""
        self.tell(event.name, event.what, event.detail, good=False if event.bad else None)

    def tell(self, actor: str, what: str, why: str, *, number: int = 0, good: bool | None = None) -> None:
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

    async def _ask(self, cast: Cast) -> None:
        scene = cast.scene
        with tracer("placet.demo").start_as_current_span(f"demo #{scene.number}"):
            await self._clients[REQUESTER].request_approval(
                title=scene.title,
                content=scene.content,
                policy=scene.policy,
                required_approver=scene.approver,
                manager_approver=scene.manager,
                priority=scene.priority,
                subject_id=f"demo-{scene.number}",
                labels={"demo": "yes"},
                request_id=cast.request_id,
            )

    async def _watch(self, start: int) -> None:
        async for change in self._clients[OWNER].watch(from_log_index=start):
            cast = self._by_id.get(change.entry.entry.approval_id)
            if cast is not None:
                self._on_change(cast, change)

    def _on_change(self, cast: Cast, change: approval_service_pb2.WatchApprovalsResponse) -> None:
        event = change.entry.entry.event
        body = event.WhichOneof("body")
        if body in _LIVE:
            told: Row = row(change.entry)
            self.tell(told.actor, told.event, told.brief, number=cast.scene.number, good=told.good)
        if body == "asked":
            self._on_asked(cast, event.asked.person.value)
        elif body == "closed":
            cast.closed.set()

    def _on_asked(self, cast: Cast, name: str) -> None:
        cast.asked.set()
        answer = cast.scene.answers.get(name)
        if answer is not None and not cast.scene.kill_after:
            self._begin(self._decide(cast, name, answer, THINKING_SECONDS))

    def _begin(self, deciding: Coroutine[None, None, None]) -> None:
        self._deciding.add(asyncio.create_task(deciding))

    async def _decide(self, cast: Cast, name: str, answer: Answer, thinking: float) -> None:
        await asyncio.sleep(thinking)
        response = await self._clients[name].decide(cast.id, answer.verdict, reason=answer.reason)
        if response.status == approval_pb2.COMMAND_STATUS_ACCEPTED:
            why = "durable; judged when a worker is back"
            self.tell(name, "clicked", why, number=cast.scene.number)

    async def _kill_when_due(self) -> None:
        for cast in self._casts:
            if not cast.scene.kill_after:
                continue
            for other in self._casts:
                if other.scene.number in cast.scene.kill_after:
                    await other.closed.wait()
            await cast.asked.wait()
            self._kill(cast)
            for name, answer in cast.scene.answers.items():
                self._begin(self._decide(cast, name, answer, 0))

    def _kill(self, cast: Cast) -> None:
        pid = self._supervisor.pids.get(KILLED)
        if pid is not None:
            self.tell("demo", "kill -9", f"{KILLED}, while #{cast.scene.number} waits", good=False)
            os.kill(pid, signal.SIGKILL)


def as_expected(scene: Scene, approval: approval_pb2.Approval) -> bool:
    """Whether a scene ended as it must."""
    outcome, expected = approval.outcome, scene.expected
    return (
        event_pb2.State.Name(outcome.state) == f"STATE_{expected.state}"
        and event_pb2.Source.Name(outcome.source) == f"SOURCE_{expected.source}"
        and event_pb2.DecisionType.Name(outcome.decision_type) == f"DECISION_TYPE_{expected.decision_type}"
        and outcome.approver == expected.approver
    )
