"""A request's state: the fold of its logged events. Workflow and projection use this same fold."""

from __future__ import annotations

from datetime import datetime, timedelta

from pydantic import BaseModel

from placet_domain.events import (
    AiDecided,
    Asked,
    Closed,
    Commented,
    Decided,
    ErrorReason,
    Event,
    FellBack,
    LogEntry,
    Notified,
    Paused,
    PreScreened,
    Processed,
    Received,
    Refused,
    State,
    TierOpened,
    TimedOut,
    Verdict,
    Voted,
    Withheld,
)
from placet_domain.facts import EffectiveFacts, Facts, FoundFacts

# The step of a request whose next events the log refuses.
APPEND_STEP = "append"
# Events that take no step further.
_ASIDE = (Commented, Notified, Refused)


def tier_step(tier: int) -> str:
    """The name of a tier's step."""
    return f"tier-{tier}"


class CommandResult(BaseModel):
    """Result of a command that was processed."""

    digest: str
    # Index of its last entry so far.
    log_index: int
    # Its last event is in the log. Always so after a whole append.
    is_complete: bool = False
    refusal: ErrorReason | None = None
    message: str = ""


class TierAssignment(BaseModel):
    """A person who was asked in a tier: one `asked` event."""

    # Number of the `asked` event.
    number: int
    person: str
    reason: str
    # Time at which their notice was delivered; None while it is not.
    told_time: datetime | None = None
    # Their notice was refused for good.
    is_unreachable: bool = False


class Vote(BaseModel):
    """A person's vote in a tier."""

    person: str
    verdict: Verdict
    reason: str
    time: datetime


class TierState(BaseModel):
    """An opened tier: the people who were asked in it, and their votes."""

    tier: int
    name: str
    quorum: int
    open_time: datetime
    due_time: datetime | None = None
    assignments: tuple[TierAssignment, ...] = ()
    votes: tuple[Vote, ...] = ()
    # The tier's waiting time, as it opened; None without limit.
    timeout: timedelta | None = None
    # Its time ended and it waits longer, for somebody to be told.
    is_extended: bool = False
    # Numbers of the `asked` events that were untold when it timed out; None before.
    untold_numbers: tuple[int, ...] | None = None

    @property
    def people(self) -> tuple[str, ...]:
        """Everyone who was asked in it, in order. Erased people have empty names, and are left out."""
        return tuple(one.person for one in self.assignments if one.person)

    @property
    def untold(self) -> tuple[int, ...]:
        """Numbers of the `asked` events whose notices were not delivered in its time, in order."""
        if self.untold_numbers is not None:
            return self.untold_numbers
        return tuple(one.number for one in self.assignments if one.told_time is None)

    @property
    def can_decide(self) -> bool:
        """Enough people were told, or voted without, to reach the quorum."""
        voted = {vote.person for vote in self.votes}
        able = [one for one in self.assignments if one.told_time is not None or one.person in voted]
        return len(able) >= self.quorum

    @property
    def is_telling(self) -> bool:
        """Somebody without a vote is neither told nor out of reach: their notice is tried again."""
        voted = {vote.person for vote in self.votes}
        return any(
            one.told_time is None and not one.is_unreachable
            for one in self.assignments
            if one.person not in voted
        )

    @property
    def approvals(self) -> int:
        """The number of people who approved. Erased people have empty names, and count one by one."""
        people = [vote.person for vote in self.votes if vote.verdict is Verdict.APPROVE]
        return len({person for person in people if person}) + people.count("")


class ApprovalState(BaseModel):
    """A request after its last event. Starts empty; `fold` is the only writer."""

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
    # The opened tiers, in order; the last one is open until the request falls back or is decided.
    tiers: tuple[TierState, ...] = ()
    fell_back: FellBack | None = None
    ai_decided: AiDecided | None = None
    # No automatic decision is allowed in the current step: before the tiers, or in the fallback.
    withheld: Withheld | None = None
    paused: Paused | None = None
    decided: Decided | None = None
    decide_time: datetime | None = None
    closed: Closed | None = None
    # Processed commands by id.
    commands: dict[str, CommandResult] = {}
    # Cause ids of the stored notices.
    notices: set[str] = set()
    # The first entry that cannot be used, and why. Empty while there is none.
    fault: str = ""

    @property
    def state(self) -> State:
        """The request's state by the contract's names."""
        return self.decided.state if self.decided else State.PENDING

    @property
    def last_tier(self) -> TierState | None:
        """The tier that was opened last; None before the first."""
        return self.tiers[-1] if self.tiers else None

    @property
    def open_tier(self) -> TierState | None:
        """The tier that waits now; None before the first, after `fell_back`, and after the decision."""
        return self.last_tier if self.fell_back is None and self.decided is None else None

    @property
    def asked(self) -> dict[str, int]:
        """Everyone who was asked, in order, with the number of the tier in which they were asked last."""
        return {person: tier.tier for tier in self.tiers for person in tier.people}

    @property
    def awaited(self) -> dict[str, bool]:
        """Everyone who was asked; True for those without a vote in the tier in which they were asked last."""
        voted = {(tier.tier, vote.person) for tier in self.tiers for vote in tier.votes}
        return {person: (tier, person) not in voted for person, tier in self.asked.items()}

    @property
    def waiting_for_approval(self) -> bool:
        """True only while a person's decision is awaited: somebody was asked and nothing is decided."""
        return any(tier.assignments for tier in self.tiers) and self.decided is None

    def effective_facts(self, *found: FoundFacts) -> EffectiveFacts:
        """The request's effective facts: by the log so far, and by findings that are not logged yet."""
        results = (self.pre_screened, self.ai_decided)
        logged = [result.found for result in results if result is not None]
        return EffectiveFacts.of(self.received.facts if self.received else Facts(), *logged, *found)

    @property
    def is_read_whole(self) -> bool:
        """True only if `processed` says that all of the content was read; without it nothing was."""
        return self.processed is not None and self.processed.coverage.is_whole

    def fold(self, stored: LogEntry) -> None:
        """Applies the next event. Raises ValueError when it is not the next.

        An entry with a fault only takes its number.
        """
        entry = stored.entry
        if entry.number != self.last_number + 1:
            raise ValueError(f"event {entry.number} does not follow event {self.last_number}")
        self.last_number = entry.number
        self.log_index = stored.index
        if stored.fault:
            self.fault = self.fault or f"entry {stored.index}: {stored.fault}"
            return
        self._record_command(stored)
        self._apply(stored)

    @property
    def may_be_withheld(self) -> bool:
        """True where an automatic decision may come next: before the tiers, and in the fallback."""
        if self.decided is not None or self.withheld is not None:
            return False
        if self.fell_back is not None:
            return self.ai_decided is None
        return self.pre_screened is None and not self.tiers

    def knows(self, event: Event) -> bool:
        """Tells whether an event that goes with others' appends is stored already, or is of no more use."""
        if isinstance(event.body, Processed):
            return self.processed is not None
        if isinstance(event.body, Withheld):
            return not self.may_be_withheld
        return event.cause_id in self.notices

    def copy_for_trial(self) -> ApprovalState:
        """A copy on which events may be tried that are not stored yet. The events themselves are shared."""
        return self.model_copy(update={"commands": dict(self.commands), "notices": set(self.notices)})

    def _record_command(self, stored: LogEntry) -> None:
        event = stored.entry.event
        if not event.command_digest:
            return
        known = self.commands.get(event.cause_id)
        if known is not None:
            # Another payload under the same id is refused before: the first one keeps the id.
            update = {"log_index": stored.index, "is_complete": known.is_complete or event.ends_command}
            self.commands[event.cause_id] = known.model_copy(update=update)
            return
        refused = event.body if isinstance(event.body, Refused) else None
        self.commands[event.cause_id] = CommandResult(
            digest=event.command_digest,
            log_index=stored.index,
            is_complete=event.ends_command,
            refusal=refused.reason if refused else None,
            message=refused.message if refused else "",
        )

    def _apply(self, stored: LogEntry) -> None:
        event = stored.entry.event
        if self.paused is not None and self.paused.step == APPEND_STEP and not isinstance(event.body, _ASIDE):
            self.paused = None
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
                self._open_tier(event.body, event.time)
            case Asked():
                self._assign(event.body, stored.entry.number)
            case Voted():
                self._vote(event.body, event.actor.name, event.time)
            case Notified():
                self.notices.add(event.cause_id)
                self._tell(event.body, event.time)
            case _:
                self._apply_ending(event.body, event.time)

    def _open_tier(self, opened: TierOpened, time: datetime) -> None:
        tier = TierState(
            tier=opened.tier,
            name=opened.name,
            quorum=opened.quorum,
            open_time=time,
            due_time=opened.due_time,
            timeout=None if opened.due_time is None else opened.due_time - time,
        )
        self.tiers = (*self.tiers, tier)

    def _assign(self, asked: Asked, number: int) -> None:
        assignment = TierAssignment(number=number, person=asked.person, reason=asked.reason)
        self.tiers = tuple(
            tier.model_copy(update={"assignments": (*tier.assignments, assignment)})
            if tier.tier == asked.tier
            else tier
            for tier in self.tiers
        )

    def _tell(self, notified: Notified, time: datetime) -> None:
        """Records the end of a notice. In an extended tier the people have its whole time from then on."""
        result = {"told_time": time} if notified.delivered else {"is_unreachable": True}
        self.tiers = tuple(
            tier.model_copy(
                update={
                    "assignments": tuple(
                        one.model_copy(update=result) if one.number == notified.asked_number else one
                        for one in tier.assignments
                    )
                }
            )
            for tier in self.tiers
        )
        tier = self.last_tier
        if tier is None or not tier.is_extended or not tier.can_decide or tier.timeout is None:
            return
        if self._is_paused_for(tier):
            self.paused = None
            self._replace_last_tier(tier.model_copy(update={"due_time": time + tier.timeout}))

    def _is_paused_for(self, tier: TierState) -> bool:
        return self.paused is not None and self.paused.step == tier_step(tier.tier)

    def _replace_last_tier(self, tier: TierState) -> None:
        self.tiers = (*self.tiers[:-1], tier)

    def _pause(self, paused: Paused) -> None:
        self.paused = paused
        tier = self.last_tier
        if tier is not None and self._is_paused_for(tier):
            self._replace_last_tier(
                tier.model_copy(update={"is_extended": True, "due_time": paused.until_time or tier.due_time})
            )

    def _time_out(self, timed_out: TimedOut) -> None:
        tier = self.last_tier
        if tier is not None:
            if self._is_paused_for(tier):
                self.paused = None
            self._replace_last_tier(tier.model_copy(update={"untold_numbers": timed_out.untold_numbers}))

    def _vote(self, voted: Voted, person: str, time: datetime) -> None:
        vote = Vote(person=person, verdict=voted.verdict, reason=voted.reason, time=time)
        self.tiers = tuple(
            tier.model_copy(update={"votes": (*tier.votes, vote)}) if tier.tier == voted.tier else tier
            for tier in self.tiers
        )

    def _apply_ending(self, body: object, time: datetime) -> None:
        match body:
            case FellBack():
                self.fell_back, self.withheld = body, None
            case Withheld():
                self.withheld = body
            case Paused():
                self._pause(body)
            case TimedOut():
                self._time_out(body)
            case AiDecided():
                self.ai_decided, self.paused = body, None
            case Decided():
                self.decided, self.decide_time, self.paused = body, time, None
            case Closed():
                self.closed = body
            case _:
                # Escalations, refusals, comments and notices change no part of this state.
                pass
