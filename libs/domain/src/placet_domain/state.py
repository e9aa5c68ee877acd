"""A request's state: the fold of its logged events. Workflow and projection use this same fold."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel

from placet_domain.events import (
    AiDecided,
    Asked,
    Closed,
    Decided,
    Event,
    FellBack,
    Held,
    LogEntry,
    Notified,
    PreScreened,
    Processed,
    Received,
    RefusalReason,
    Refused,
    State,
    TierOpened,
)


class Judged(BaseModel):
    """What became of a command."""

    digest: str
    log_index: int
    refusal: RefusalReason | None = None
    message: str = ""


class Ask(BaseModel):
    """Somebody was asked, and until when an answer was hoped for: what they are told of it, whenever."""

    asked: Asked
    due: datetime | None = None


class ApprovalState(BaseModel):
    """Where a request stands after its last event. Starts empty; `fold` is the only writer."""

    tenant: str = ""
    approval_id: str = ""
    last_number: int = 0
    log_index: int = 0
    traceparent: str = ""
    requester: str = ""
    create_time: datetime | None = None
    received: Received | None = None
    processed: Processed | None = None
    pre_screened: PreScreened | None = None
    # The open tier, from 1; 0 before the first.
    tier: int = 0
    tier_opened: TierOpened | None = None
    tier_open_time: datetime | None = None
    # Everyone who was asked, in order, with the tier in which they were asked last.
    asked: dict[str, int] = {}
    # By the event number of each `asked`, so that each is notified once.
    asks: dict[int, Ask] = {}
    fell_back: FellBack | None = None
    ai_decided: AiDecided | None = None
    held: Held | None = None
    decided: Decided | None = None
    decide_time: datetime | None = None
    closed: Closed | None = None
    # Commands by id.
    judged: dict[str, Judged] = {}
    # The cause ids of the notices that are stored.
    notices: set[str] = set()

    @property
    def state(self) -> State:
        """The request's state by the contract's names."""
        return self.decided.state if self.decided else State.PENDING

    @property
    def waiting_for_approval(self) -> bool:
        """True only while a person's decision is awaited: somebody was asked and nothing is decided."""
        return bool(self.asked) and self.decided is None

    def fold(self, stored: LogEntry) -> None:
        """Takes the next event in. Raises ValueError when it is not the next."""
        entry = stored.entry
        if entry.number != self.last_number + 1:
            raise ValueError(f"event {entry.number} does not follow event {self.last_number}")
        self.last_number = entry.number
        self.log_index = stored.index
        self._note_command(stored)
        self._take(stored)

    def knows(self, event: Event) -> bool:
        """Whether an event that goes with others' appends is stored already."""
        if isinstance(event.body, Processed):
            return self.processed is not None
        return event.cause_id in self.notices

    def copy_for_trial(self) -> ApprovalState:
        """A copy on which events may be tried that are not stored yet. The events themselves are shared."""
        trial = self.model_copy()
        trial.asked = dict(self.asked)
        trial.asks = dict(self.asks)
        trial.judged = dict(self.judged)
        trial.notices = set(self.notices)
        return trial

    def _note_command(self, stored: LogEntry) -> None:
        event = stored.entry.event
        if not event.command_digest or event.cause_id in self.judged:
            return
        refused = event.body if isinstance(event.body, Refused) else None
        self.judged[event.cause_id] = Judged(
            digest=event.command_digest,
            log_index=stored.index,
            refusal=refused.reason if refused else None,
            message=refused.message if refused else "",
        )

    def _take(self, stored: LogEntry) -> None:
        event = stored.entry.event
        match event.body:
            case Received():
                self.tenant, self.approval_id = stored.entry.tenant, stored.entry.approval_id
                self.received, self.requester = event.body, event.actor.name
                self.create_time, self.traceparent = event.time, event.traceparent
            case Processed():
                self.processed = event.body
            case PreScreened():
                self.pre_screened = event.body
            case TierOpened():
                self.tier, self.tier_opened, self.tier_open_time = event.body.tier, event.body, event.time
            case Asked():
                self.asked[event.body.person] = event.body.tier
                due = self.tier_opened.due if self.tier_opened else None
                self.asks[stored.entry.number] = Ask(asked=event.body, due=due)
            case Notified():
                self.notices.add(event.cause_id)
            case _:
                self._take_ending(event.body, event.time)

    def _take_ending(self, body: object, time: datetime) -> None:
        match body:
            case FellBack():
                self.fell_back = body
            case Held():
                self.held = body
            case AiDecided():
                self.ai_decided, self.held = body, None
            case Decided():
                self.decided, self.decide_time, self.held = body, time, None
            case Closed():
                self.closed = body
            case _:
                # Votes, timeouts, escalations, refusals and notices change nothing that is read here.
                pass
