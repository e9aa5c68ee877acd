"""A request played by the pure rules alone: no server, and a clock in the test's hand."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from placet_domain.commands import CancelCommand, CommentCommand, DecisionCommand
from placet_domain.coverage import WHOLE, ContentCoverage
from placet_domain.events import (
    Actor,
    ActorKind,
    AiDecided,
    AiResult,
    Assignment,
    Body,
    Decided,
    Entry,
    Event,
    LogEntry,
    Notified,
    PreScreened,
    Priority,
    Processed,
    Received,
    RequestKind,
    ScreenMode,
    Verdict,
)
from placet_domain.facts import Facts, FoundFacts
from placet_domain.interpreter import processed_event, respond
from placet_domain.policy import MANAGER_APPROVER, REQUIRED_APPROVER, Policy
from placet_domain.state import ApprovalState
from placet_domain.stimuli import Stimulus
from placet_testing.attestation import attested

REQUESTER = "requester@example.com"
ALICE = "alice@example.com"
BOB = "bob@example.com"
TENANT = "default"
APPROVAL = "aaaaaaaa-aaaa-5aaa-8aaa-aaaaaaaaaaaa"
CONTENT = "c0" * 32
RENDERING = "text/1"
# Findings for which the built-in policy `document` has an allow-rule.
MENU = FoundFacts(form="menu")
NO_FACTS = Facts()
START = datetime(2026, 1, 5, 9, tzinfo=UTC)


def person(address: str) -> Actor:
    """A person as the command handler authenticates them."""
    return Actor(kind=ActorKind.PERSON, name=address, authenticated_by="test")


def received_event(
    policy: Policy,
    time: datetime = START,
    *,
    priority: Priority = Priority.NORMAL,
    deadline: datetime | None = None,
    clock_scale: float = 1.0,
    facts: Facts = NO_FACTS,
) -> Event:
    """A request's first event."""
    body = Received(
        kind=RequestKind.APPROVAL,
        title="Pay invoice 7",
        subject_id="invoice-7",
        priority=priority,
        policy=policy.name,
        policy_version=policy.version,
        policy_digest=policy.digest(),
        content_digest=CONTENT,
        content_size=12,
        media_type="text/plain",
        assignments=assigned(policy),
        deadline_time=deadline,
        clock_scale=clock_scale,
        facts=facts,
    )
    return Event(time=time, actor=person(REQUESTER), cause_id="intake", body=body)


def assigned(policy: Policy) -> tuple[Assignment, ...]:
    """Alice as the required approver, Bob as the manager: for the slots that the policy has."""
    people = {REQUIRED_APPROVER: ALICE, MANAGER_APPROVER: BOB}
    return tuple(Assignment(slot=slot, people=(people.get(slot, ALICE),)) for slot in policy.slots)


def decision(
    address: str,
    verdict: Verdict = Verdict.APPROVE,
    *,
    reason: str = "looks right",
    content_digest: str = CONTENT,
    policy_digest: str = "",
    rendering: str = "",
    command_id: str = "",
) -> DecisionCommand:
    """A person's decision, about the right content unless said otherwise, while RENDERING is in force."""
    command = DecisionCommand(
        id=command_id or str(uuid.uuid4()),
        actor=person(address),
        verdict=verdict,
        content_digest=content_digest,
        policy_digest=policy_digest,
        rendering=rendering,
        rendering_in_force=RENDERING,
        reason=reason,
    )
    return attested(command, TENANT, APPROVAL)


def cancellation(address: str = REQUESTER, *, operator: bool = False) -> CancelCommand:
    """A withdrawal."""
    command = CancelCommand(
        id=str(uuid.uuid4()),
        actor=person(address),
        reason="no longer needed",
        operator=operator,
    )
    return attested(command, TENANT, APPROVAL)


def comment(address: str = REQUESTER, text: str = "Which cost centre?") -> CommentCommand:
    """A comment."""
    command = CommentCommand(id=str(uuid.uuid4()), actor=person(address), text=text)
    return attested(command, TENANT, APPROVAL)


def screened(risk: float = 0.6, result: AiResult = AiResult.DECIDED, found: FoundFacts = MENU) -> PreScreened:
    """Result of a quick pre-screen."""
    if result is not AiResult.DECIDED:
        return PreScreened(result=result, mode=ScreenMode.QUICK, model="rules-1", reasoning="cannot say")
    return PreScreened(
        result=result,
        mode=ScreenMode.QUICK,
        risk=risk,
        confidence=0.7,
        model="rules-1",
        reasoning="seen",
        found=found,
    )


def ai_says(verdict: Verdict = Verdict.APPROVE, result: AiResult = AiResult.DECIDED) -> AiDecided:
    """A model's decision as the fallback."""
    if result is not AiResult.DECIDED:
        return AiDecided(result=result, model="model-1", reasoning="cannot say")
    return AiDecided(
        result=result, verdict=verdict, confidence=0.8, model="model-1", reasoning="the model's reason"
    )


@dataclass
class Play:
    """A request's log, and its state as the fold of it."""

    policy: Policy
    priority: Priority = Priority.NORMAL
    clock_scale: float = 1.0
    now: datetime = START
    state: ApprovalState = field(default_factory=ApprovalState)
    events: list[Event] = field(default_factory=list)
    # The read parts of the content; None: the log does not say.
    coverage: ContentCoverage | None = WHOLE
    facts: Facts = NO_FACTS
    # Notices are delivered, at the next stimulus.
    telling: bool = True

    def __post_init__(self) -> None:
        first = received_event(
            self.policy, self.now, priority=self.priority, clock_scale=self.clock_scale, facts=self.facts
        )
        self.log(first)
        if self.coverage is not None:
            processed = Processed(method="text", characters=12, words=2, coverage=self.coverage)
            self.log(processed_event(processed, self.now))

    def log(self, event: Event) -> None:
        """Stores an event and folds it."""
        self.events.append(event)
        entry = Entry(tenant=TENANT, approval_id=APPROVAL, number=len(self.events), event=event)
        self.state.fold(LogEntry(index=len(self.events) - 1, entry=entry))

    def after(self, wait: timedelta) -> Play:
        """Lets time pass."""
        self.now += wait
        return self

    def on(self, *stimuli: Stimulus) -> list[Body]:
        """Processes and logs each in turn; answers the bodies of what they caused."""
        caused: list[Event] = []
        for stimulus in stimuli:
            if self.telling:
                self.tell(*self.untold)
            events = respond(self.policy, self.state, stimulus, self.now)
            for event in events:
                self.log(event)
            caused += events
        return [event.body for event in caused]

    @property
    def untold(self) -> list[str]:
        """Those whose notices have no result yet; nobody once the request is decided."""
        if self.state.decided is not None:
            return []
        asked = [one for tier in self.state.tiers for one in tier.assignments]
        return [one.person for one in asked if one.told_time is None and not one.is_unreachable]

    def tell(self, *people: str, delivered: bool = True) -> None:
        """Logs the results of these people's notices."""
        for one in [one for tier in self.state.tiers for one in tier.assignments]:
            if one.person in people and one.told_time is None:
                notified = Notified(delivered=delivered, channel="email", asked_number=one.number)
                service = Actor(kind=ActorKind.SERVICE, name="notification")
                cause = f"asked-{one.number}"
                self.log(Event(time=self.now, actor=service, cause_id=cause, body=notified))

    @property
    def path(self) -> list[str]:
        """The types of what was logged, in order."""
        return [event.body.type for event in self.events]

    @property
    def outcome(self) -> Decided:
        """The one outcome."""
        (decided,) = [event.body for event in self.events if isinstance(event.body, Decided)]
        return decided
