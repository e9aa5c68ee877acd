"""The events of a request as pure data: the messages of placet.event.v1, field by field.

`protos/placet/event/v1/event.proto` says what each field means; a contract test keeps both equal.
A digest is lower-case hex here and bytes there; an erasable text is its value (empty when erased).
Once released, fields are only ever added, with defaults, so that histories replay.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from placet_domain.attestation import Attestation
from placet_domain.coverage import ContentCoverage
from placet_domain.dto import EPOCH, Dto, ErasableText, Hex
from placet_domain.facts import Amount, Facts, FoundFacts


class RequestKind(StrEnum):
    UNSPECIFIED = "UNSPECIFIED"
    APPROVAL = "APPROVAL"
    CLARIFICATION = "CLARIFICATION"
    JUDGMENT = "JUDGMENT"
    REVIEW = "REVIEW"


class Priority(StrEnum):
    UNSPECIFIED = "UNSPECIFIED"
    URGENT = "URGENT"
    HIGH = "HIGH"
    NORMAL = "NORMAL"
    LOW = "LOW"


class State(StrEnum):
    UNSPECIFIED = "UNSPECIFIED"
    PENDING = "PENDING"
    APPROVED = "APPROVED"
    REJECTED = "REJECTED"
    CANCELLED = "CANCELLED"
    ANSWERED = "ANSWERED"


class Verdict(StrEnum):
    UNSPECIFIED = "UNSPECIFIED"
    APPROVE = "APPROVE"
    REJECT = "REJECT"


class Source(StrEnum):
    UNSPECIFIED = "UNSPECIFIED"
    HUMAN = "HUMAN"
    AI_PRESCREEN = "AI_PRESCREEN"
    AI_FALLBACK = "AI_FALLBACK"
    POLICY = "POLICY"
    REQUESTER = "REQUESTER"


class DecisionType(StrEnum):
    UNSPECIFIED = "UNSPECIFIED"
    HUMAN = "HUMAN"
    MANAGER = "MANAGER"
    AI_FALLBACK = "AI_FALLBACK"
    AUTOMATIC = "AUTOMATIC"


class ActorKind(StrEnum):
    UNSPECIFIED = "UNSPECIFIED"
    PERSON = "PERSON"
    SERVICE = "SERVICE"
    AI_MODEL = "AI_MODEL"
    POLICY = "POLICY"
    CLOCK = "CLOCK"


class AiResult(StrEnum):
    UNSPECIFIED = "UNSPECIFIED"
    DECIDED = "DECIDED"
    ABSTAINED = "ABSTAINED"
    UNAVAILABLE = "UNAVAILABLE"


class ScreenMode(StrEnum):
    UNSPECIFIED = "UNSPECIFIED"
    QUICK = "QUICK"
    DEEP = "DEEP"


class RiskLevel(StrEnum):
    UNSPECIFIED = "UNSPECIFIED"
    LOW = "LOW"
    HIGH = "HIGH"


class ErrorReason(StrEnum):
    """Reasons of errors and refusals; the contract's comments say which of them a command can be refused
    with."""

    UNSPECIFIED = "UNSPECIFIED"
    UNKNOWN_APPROVAL = "UNKNOWN_APPROVAL"
    UNKNOWN_COMMAND = "UNKNOWN_COMMAND"
    ID_REUSED = "ID_REUSED"
    CLOSED = "CLOSED"
    NOT_ASKED = "NOT_ASKED"
    CONTENT_CHANGED = "CONTENT_CHANGED"
    REASON_REQUIRED = "REASON_REQUIRED"
    UNDECODABLE = "UNDECODABLE"
    SELF_APPROVAL = "SELF_APPROVAL"
    NOT_REQUESTER = "NOT_REQUESTER"
    DEPENDENCY_UNAVAILABLE = "DEPENDENCY_UNAVAILABLE"
    NOT_YET_READ = "NOT_YET_READ"
    DEPENDENCY_REFUSED = "DEPENDENCY_REFUSED"
    TOO_MANY_COMMANDS = "TOO_MANY_COMMANDS"
    POLICY_CHANGED = "POLICY_CHANGED"
    RENDERING_CHANGED = "RENDERING_CHANGED"
    NOT_CLOSED = "NOT_CLOSED"
    RETAINED = "RETAINED"
    ERASED = "ERASED"
    LOG_INCONSISTENT = "LOG_INCONSISTENT"
    UNKNOWN_POLICY = "UNKNOWN_POLICY"
    KIND_NOT_SERVED = "KIND_NOT_SERVED"
    BEYOND_END = "BEYOND_END"
    COMMENT_EMPTY = "COMMENT_EMPTY"
    NOT_INVOLVED = "NOT_INVOLVED"
    ALREADY_VOTED = "ALREADY_VOTED"
    CONTENT_LOST = "CONTENT_LOST"
    TOO_MANY_COMMENTS = "TOO_MANY_COMMENTS"


class Actor(Dto):
    kind: ActorKind = ActorKind.UNSPECIFIED
    name: ErasableText = ""
    authenticated_by: str = ""


class Assignment(Dto):
    slot: str = ""
    people: tuple[ErasableText, ...] = ()
    groups: tuple[str, ...] = ()


class AutomaticLimits(Dto):
    most_an_hour: int = 0
    most_a_day: int = 0


class Received(Dto):
    type: Literal["received"] = "received"
    kind: RequestKind = RequestKind.UNSPECIFIED
    title: ErasableText = ""
    subject_id: str = ""
    priority: Priority = Priority.UNSPECIFIED
    policy: str = ""
    policy_version: int = 0
    policy_digest: Hex = ""
    content_digest: Hex = ""
    content_size: int = 0
    media_type: str = ""
    assignments: tuple[Assignment, ...] = ()
    deadline_time: datetime | None = None
    clock_scale: float = 0.0
    request_digest: Hex = ""
    facts: Facts = Facts()
    automatic_limits: AutomaticLimits = AutomaticLimits()


class Processed(Dto):
    type: Literal["processed"] = "processed"
    method: str = ""
    characters: int = 0
    words: int = 0
    text_digest: Hex = ""
    coverage: ContentCoverage = ContentCoverage()


class PreScreened(Dto):
    type: Literal["pre_screened"] = "pre_screened"
    result: AiResult = AiResult.UNSPECIFIED
    mode: ScreenMode = ScreenMode.UNSPECIFIED
    risk: float | None = None
    threshold: float | None = None
    level: RiskLevel = RiskLevel.UNSPECIFIED
    confidence: float | None = None
    model: str = ""
    reasoning: ErasableText = ""
    prompt_digest: Hex = ""
    input_digest: Hex = ""
    found: FoundFacts = FoundFacts()
    effective_amounts: tuple[Amount, ...] = ()
    parts: tuple[str, ...] = ()


class TierOpened(Dto):
    type: Literal["tier_opened"] = "tier_opened"
    tier: int = 0
    name: str = ""
    quorum: int = 0
    due_time: datetime | None = None


class Asked(Dto):
    type: Literal["asked"] = "asked"
    tier: int = 0
    person: ErasableText = ""
    reason: ErasableText = ""


class Notified(Dto):
    type: Literal["notified"] = "notified"
    notification_id: str = ""
    delivered: bool = False
    channel: str = ""
    asked_number: int = 0


class TimedOut(Dto):
    type: Literal["timed_out"] = "timed_out"
    tier: int = 0
    waited: timedelta | None = None
    reason: ErasableText = ""
    untold_numbers: tuple[int, ...] = ()


class Escalated(Dto):
    type: Literal["escalated"] = "escalated"
    from_tier: int = 0
    to_tier: int = 0
    reason: ErasableText = ""


class Voted(Dto):
    type: Literal["voted"] = "voted"
    tier: int = 0
    verdict: Verdict = Verdict.UNSPECIFIED
    content_digest: Hex = ""
    reason: ErasableText = ""
    on_behalf_of: ErasableText = ""
    policy_version: int = 0
    policy_digest: Hex = ""
    rendering: str = ""


class Refused(Dto):
    type: Literal["refused"] = "refused"
    command: str = ""
    reason: ErrorReason = ErrorReason.UNSPECIFIED
    message: ErasableText = ""


class FellBack(Dto):
    type: Literal["fell_back"] = "fell_back"
    reason: ErasableText = ""


class AiDecided(Dto):
    type: Literal["ai_decided"] = "ai_decided"
    result: AiResult = AiResult.UNSPECIFIED
    verdict: Verdict = Verdict.UNSPECIFIED
    confidence: float | None = None
    model: str = ""
    reasoning: ErasableText = ""
    prompt_digest: Hex = ""
    input_digest: Hex = ""
    found: FoundFacts = FoundFacts()
    parts: tuple[str, ...] = ()


class Paused(Dto):
    type: Literal["paused"] = "paused"
    step: str = ""
    reason: str = ""
    until_time: datetime | None = None


class Decided(Dto):
    type: Literal["decided"] = "decided"
    state: State = State.UNSPECIFIED
    source: Source = Source.UNSPECIFIED
    decision_type: DecisionType = DecisionType.UNSPECIFIED
    tier: int | None = None
    approver: ErasableText = ""
    on_behalf_of: ErasableText = ""
    model: str = ""
    confidence: float | None = None
    reasoning: ErasableText = ""
    rule: str = ""


class Closed(Dto):
    type: Literal["closed"] = "closed"
    state: State = State.UNSPECIFIED
    waited: timedelta | None = None


class AccessRefused(Dto):
    type: Literal["access_refused"] = "access_refused"
    method: str = ""
    reason: str = ""
    approval_id: str = ""


class Erased(Dto):
    type: Literal["erased"] = "erased"
    approval_id: str = ""
    reason: ErasableText = ""
    values: int = 0


class Commented(Dto):
    type: Literal["commented"] = "commented"
    text: ErasableText = ""


class FallbackAlarm(Dto):
    type: Literal["fallback_alarm"] = "fallback_alarm"
    policy: str = ""
    raised: bool = False
    window: timedelta | None = None
    decisions: int = 0
    fallbacks: int = 0
    threshold: float = 0


class Withheld(Dto):
    type: Literal["withheld"] = "withheld"
    reason: ErasableText = ""
    switched_off_index: int | None = None


class AutomationSwitched(Dto):
    type: Literal["automation_switched"] = "automation_switched"
    off: bool = False
    policy: str = ""
    model: str = ""
    reason: ErasableText = ""


Body: TypeAlias = Annotated[
    Received
    | Processed
    | PreScreened
    | TierOpened
    | Asked
    | Notified
    | TimedOut
    | Escalated
    | Voted
    | Refused
    | FellBack
    | AiDecided
    | Paused
    | Decided
    | Closed
    | AccessRefused
    | Erased
    | Commented
    | FallbackAlarm
    | Withheld
    | AutomationSwitched,
    Field(discriminator="type"),
]


class Event(Dto):
    time: datetime = EPOCH
    actor: Actor = Actor()
    cause_id: str = ""
    command_digest: Hex = ""
    traceparent: str = ""
    ends_command: bool = False
    attestation: Attestation | None = None
    body: Body


class Entry(Dto):
    tenant: str = ""
    approval_id: str = ""
    number: int = 0
    event: Event


class LogEntry(Dto):
    index: int = 0
    entry: Entry
    fault: str = ""
