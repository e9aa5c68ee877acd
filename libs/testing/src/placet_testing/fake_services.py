"""The services that a workflow calls, as fakes that do what a test says: an in-memory log, and an AI, rules
and notifications under the real activities' names."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypeVar

from temporalio import activity
from temporalio.exceptions import ApplicationError

from placet.event.v1 import event_pb2
from placet_domain.events import AiDecided, Entry, Event, LogEntry, PreScreened, ScreenMode, Withheld
from placet_mapping import to_proto
from placet_proof import Leaf, NotAttested
from placet_proof.automation import automatic_decision
from placet_proof.grammar import BEGIN, NotInGrammar, Path, check_settled, follow
from placet_testing.attestation import KEYS
from placet_testing.grammar_paths import sealed
from placet_testing.simulation import ai_says, screened
from placet_workflows.activity_calls import NOT_ATTESTED
from placet_workflows.activity_types import (
    AppendInput,
    AppendResult,
    AssessInput,
    AssessResult,
    DecideInput,
    DecideResult,
    NotifyInput,
    NotifyResult,
)
from placet_workflows.names import Activity

Answer = TypeVar("Answer")


class FakeLog:
    """AuditService.AppendEvents in memory: compare-and-append by the log's grammar, one request at a time.

    `forbid` names a kind of event that it refuses as one that breaks the grammar. `withhold`: its reason to
    take no automatic decision. `refuse` attempts fail before anything is stored, `lose` attempts store and
    fail to say so. `intrude` holds events that somebody else stores just before the next append.
    """

    def __init__(self) -> None:
        self.entries: dict[str, list[LogEntry]] = defaultdict(list)
        self.refuse = 0
        self.lose = 0
        self.never = False
        self.forbid = ""
        self.withhold = ""
        self.intrude: list[Event] = []
        self.attempts: list[AppendInput] = []
        # While it is not set, every attempt hangs.
        self.open = asyncio.Event()
        self.open.set()
        self._size = 0
        self._paths: dict[str, Path] = defaultdict(lambda: BEGIN)

    async def append(self, request: AppendInput) -> AppendResult:
        """Appends if `expected_next` is the next number, else answers what is stored from there on."""
        self.attempts.append(request)
        await self.open.wait()
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
            decided = self._check(request)
            if decided and self.withhold:
                return AppendResult(appended=False, withheld=Withheld(reason=self.withhold))
            for event in request.events:
                self._store(request, event)
        if self.lose > 0:
            self.lose -= 1
            raise ApplicationError("the log's answer was lost")
        placed = stored[request.expected_next - 1 :]
        if appended:
            return AppendResult(appended=True, indexes=tuple(entry.index for entry in placed))
        return AppendResult(appended=False, entries=tuple(placed))

    def _store(self, request: AppendInput, event: Event) -> None:
        self.begin(request.tenant, request.approval_id, event)

    def _check(self, request: AppendInput) -> bool:
        """Fails as AuditService does for events that the grammar does not allow.

        True if an automatic decision is among them.
        """
        number, path, decided = request.expected_next, self._paths[request.approval_id], False
        try:
            for event in request.events:
                leaf, values = self._sealed(request, event, number)
                decided = decided or automatic_decision(path, leaf) is not None
                path = follow(path, leaf, values, KEYS)
                number += 1
            check_settled(path)
            if self.forbid in [event.body.type for event in request.events]:
                raise NotInGrammar(f"{self.forbid} is forbidden by the test")
        except NotAttested as error:
            raise ApplicationError(str(error), str(number), type=NOT_ATTESTED, non_retryable=True) from error
        except NotInGrammar as error:
            raise ApplicationError(str(error), type="NOT_IN_GRAMMAR", non_retryable=True) from error
        return decided

    def _sealed(self, request: AppendInput, event: Event, number: int) -> tuple[Leaf, Mapping[str, str]]:
        return sealed(to_proto(event, event_pb2.Event), number, request.approval_id)

    def begin(self, tenant: str, approval_id: str, event: Event) -> LogEntry:
        """Stores an event without a comparison, as intake does with the first."""
        stored = self.entries[approval_id]
        entry = Entry(tenant=tenant, approval_id=approval_id, number=len(stored) + 1, event=event)
        stored.append(LogEntry(index=self._size, entry=entry))
        sealed_event = sealed(to_proto(event, event_pb2.Event), entry.number, approval_id)
        self._paths[approval_id] = follow(self._paths[approval_id], *sealed_event, KEYS)
        self._size += 1
        return stored[-1]


async def quick_assessment(request: AssessInput) -> AssessResult:
    """Rules' pre-screen of a document that is neither safe nor dangerous; there is no model."""
    return AssessResult(result=screened().model_copy(update={"mode": request.mode}))


async def approving_ai(_request: DecideInput) -> DecideResult:
    """An AI that approves."""
    return DecideResult(result=ai_says())


def deep_model(deep: PreScreened) -> Callable[[AssessInput], Awaitable[AssessResult]]:
    """A pre-screen with a model behind it: rules that are unsure, and what the model then says."""

    async def assess(request: AssessInput) -> AssessResult:
        said = deep if request.mode is ScreenMode.DEEP else screened()
        return AssessResult(result=said.model_copy(update={"mode": request.mode}), deep_available=True)

    return assess


def saying(result: AiDecided) -> Callable[[DecideInput], Awaitable[DecideResult]]:
    """An AI that says this."""

    async def decide(_request: DecideInput) -> DecideResult:
        return DecideResult(result=result)

    return decide


async def delivering(request: NotifyInput) -> NotifyResult:
    """A channel that delivers."""
    return NotifyResult(notification_id=f"n/{request.idempotency_key}", delivered=True, channel="email")


async def never_telling_the_asked(request: NotifyInput) -> NotifyResult:
    """A channel that hangs while it tells the asked, and delivers outcomes."""
    if request.tier is not None:
        await asyncio.Event().wait()
    return await delivering(request)


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
    """Behaviour of the services, and a record of the calls."""

    log: FakeLog = field(default_factory=FakeLog)
    assess: Callable[[AssessInput], Awaitable[AssessResult]] = quick_assessment
    decide: Callable[[DecideInput], Awaitable[DecideResult]] = approving_ai
    notify: Callable[[NotifyInput], Awaitable[NotifyResult]] = delivering
    assessed: list[AssessInput] = field(default_factory=list)
    asked_ai: list[DecideInput] = field(default_factory=list)
    notified: list[NotifyInput] = field(default_factory=list)
    delivered: list[NotifyInput] = field(default_factory=list)
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
        result = await self.notify(request)
        self.delivered.append(request)
        return result

    def _note_queue(self, name: str) -> None:
        self.queues.add((name, activity.info().task_queue))
