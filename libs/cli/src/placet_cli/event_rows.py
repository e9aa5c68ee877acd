"""Events in words. Pure: messages in, text out; nothing here knows a terminal."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import ClassVar

from google.protobuf.timestamp_pb2 import Timestamp

from placet.event.v1 import event_pb2
from placet_cli.times import earlier, point, span, until_words
from placet_rpc.content import gaps_of
from placet_text import coverage_words, one_line

_DONE = {
    event_pb2.STATE_APPROVED: "Approved",
    event_pb2.STATE_REJECTED: "Rejected",
    event_pb2.STATE_CANCELLED: "Cancelled",
    event_pb2.STATE_ANSWERED: "Answered",
}

# In the place of what was erased.
ERASED = "(erased)"


@dataclass(frozen=True)
class Row:
    """An event for people: when, who, what, and why. `good`: None where it is neither good nor bad.

    `brief` is the reason where there is little room for it.
    """

    time: datetime
    actor: str
    event: str
    reason: str
    good: bool | None
    brief: str


def rows(path: Iterable[event_pb2.LogEntry]) -> list[Row]:
    """All of a path in words."""
    reader = RowReader()
    return [reader.row(entry) for entry in path]


@dataclass
class _Earlier:
    """Of a request's earlier events: its own deadline, and who was asked, by the number of the event."""

    deadline: Timestamp | None = None
    asked: dict[int, event_pb2.Erasable] = field(default_factory=dict)


class RowReader:
    """Puts events in words, in their order: some refer to earlier ones of their request.

    Words that need an event from before the first one here are left out, as are those of a request that was
    read before the last MOST_REQUESTS.
    """

    MOST_REQUESTS: ClassVar[int] = 1000

    def __init__(self) -> None:
        self._earlier: dict[str, _Earlier] = {}

    def row(self, entry: event_pb2.LogEntry, deadline: Timestamp | None = None) -> Row:
        """The next event in words. `deadline`: the request's own, where it is known without `received`."""
        event = entry.entry.event
        earlier = self._of(entry.entry.approval_id)
        match event.WhichOneof("body"):
            case "received" if event.received.HasField("deadline_time"):
                earlier.deadline = event.received.deadline_time
            case "asked":
                earlier.asked[entry.entry.number] = event.asked.person
            case "notified" if event.notified.asked_number in earlier.asked:
                return _row(event, _said(earlier.asked[event.notified.asked_number]))
            case "tier_opened" if end := deadline or earlier.deadline:
                return _row(_ended_by(event, end))
        return _row(event)

    def _of(self, request: str) -> _Earlier:
        if request not in self._earlier and len(self._earlier) >= self.MOST_REQUESTS:
            del self._earlier[next(iter(self._earlier))]
        return self._earlier.setdefault(request, _Earlier())


def _row(event: event_pb2.Event, whom: str = "") -> Row:
    body = event.WhichOneof("body") or ""
    try:
        what, reason, good = _WORDS[body](event) if body in _WORDS else (body or "unknown", "", None)
        reason = f"{whom}, {reason}" if whom else reason
        brief = _BRIEF[body](event) if body in _BRIEF else reason
    except ValueError:
        # A value of a newer contract, which has no name here.
        what, good, brief = body, None, ""
        reason = "in a way that this version has no words for"
    return Row(
        event.time.ToDatetime(tzinfo=UTC), _actor(event), what, one_line(reason), good, one_line(brief)
    )


def _ended_by(opened: event_pb2.Event, deadline: Timestamp) -> event_pb2.Event:
    """A tier's opening with the time at which its wait ends in truth."""
    event = event_pb2.Event()
    event.CopyFrom(opened)
    tier = opened.tier_opened
    event.tier_opened.due_time.CopyFrom(
        earlier(tier.due_time if tier.HasField("due_time") else None, deadline) or deadline
    )
    return event


def _actor(event: event_pb2.Event) -> str:
    name = one_line(event.actor.name.value)
    match event.actor.kind:
        case event_pb2.ACTOR_KIND_CLOCK:
            return "clock"
        case event_pb2.ACTOR_KIND_POLICY:
            return f"policy {name}"
        case event_pb2.ACTOR_KIND_AI_MODEL:
            return "AI"
        case _:
            return name or ERASED


def counted(number: int, one: str, many: str = "") -> str:
    """A number with its noun: "1 entry", "2 entries". `many`: default `one` with an s."""
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"


def entries(number: int) -> str:
    """A number of the log's entries."""
    return counted(number, "entry", "entries")


_Words = tuple[str, str, bool | None]


def _said(text: event_pb2.Erasable) -> str:
    """The text; where there was one, that it was erased."""
    return text.value or (ERASED if text.commitment else "")


def _received(event: event_pb2.Event) -> _Words:
    received = event.received
    deadline = f", deadline {point(received.deadline_time)}" if received.HasField("deadline_time") else ""
    return "received", f"“{_said(received.title)}”{deadline}", None


def _processed(event: event_pb2.Event) -> _Words:
    processed = event.processed
    read = f"{counted(processed.words, 'word')} of {processed.method}"
    _, *missing = coverage_words(whole=processed.coverage.whole, gaps=gaps_of(processed.coverage)) or [""]
    return "read", "; ".join([read, *(one.rstrip(".") for one in missing)]), None


def _pre_screened(event: event_pb2.Event) -> _Words:
    screened = event.pre_screened
    if screened.result != event_pb2.AI_RESULT_DECIDED:
        result = event_pb2.AiResult.Name(screened.result).removeprefix("AI_RESULT_").lower()
        return "pre-screened", result, None
    against = ""
    if screened.threshold:
        low = screened.level == event_pb2.RISK_LEVEL_LOW
        against = f", {'below' if low else 'not below'} {screened.threshold:.2f}"
    return "pre-screened", f"risk {screened.risk:.2f}{against}, by {screened.model}", None


def _tier_opened(event: event_pb2.Event) -> _Words:
    tier = event.tier_opened
    until = until_words(tier.due_time if tier.HasField("due_time") else None)
    return f"tier {tier.tier} opened", f"{tier.name}, {until}", None


def _notified(event: event_pb2.Event) -> _Words:
    notified = event.notified
    return ("notified" if notified.delivered else "not notified"), f"by {notified.channel}", None


def _voted(event: event_pb2.Event) -> _Words:
    yes = event.voted.verdict == event_pb2.VERDICT_APPROVE
    return ("said yes" if yes else "said no"), _said(event.voted.reason), yes


def _ai_decided(event: event_pb2.Event) -> _Words:
    decided = event.ai_decided
    if decided.result != event_pb2.AI_RESULT_DECIDED:
        result = event_pb2.AiResult.Name(decided.result).removeprefix("AI_RESULT_").lower()
        return f"AI {result}", _said(decided.reasoning), None
    yes = decided.verdict == event_pb2.VERDICT_APPROVE
    why = f"{decided.confidence:.0%} sure, by {decided.model}. {_said(decided.reasoning)}"
    return ("AI said yes" if yes else "AI said no"), why, yes


def _decided(event: event_pb2.Event) -> _Words:
    decided = event.decided
    source = event_pb2.Source.Name(decided.source).removeprefix("SOURCE_")
    yes = decided.state in (event_pb2.STATE_APPROVED, event_pb2.STATE_ANSWERED)
    rule = f", rule {decided.rule}" if decided.rule else ""
    return _DONE.get(decided.state, "Closed").upper(), f"by {_said(decided.approver)} ({source}{rule})", yes


def _closed(event: event_pb2.Event) -> _Words:
    return "closed", f"after {span(event.closed.waited.ToTimedelta())}", None


def _access_refused(event: event_pb2.Event) -> _Words:
    method = event.access_refused.method.rpartition("/")[2]
    return "access refused", f"{method}: {event.access_refused.reason}", False


def _erased(event: event_pb2.Event) -> _Words:
    erased = event.erased
    return "erased", f"{counted(erased.values, 'value')}, for good: {_said(erased.reason)}", None


def _fallback_alarm(event: event_pb2.Event) -> _Words:
    alarm = event.fallback_alarm
    share = f"the fallback made {alarm.fallbacks} of {alarm.decisions} decisions that people were asked for"
    return ("ALARM" if alarm.raised else "alarm over"), f"{one_line(alarm.policy)}: {share}", not alarm.raised


def _automation_switched(event: event_pb2.Event) -> _Words:
    switched = event.automation_switched
    about = switched.policy or switched.model
    scope = f"{one_line(about)}: " if about else ""
    return f"automation {'off' if switched.off else 'on'}", scope + _said(switched.reason), not switched.off


_WORDS: dict[str, Callable[[event_pb2.Event], _Words]] = {
    "received": _received,
    "processed": _processed,
    "pre_screened": _pre_screened,
    "tier_opened": _tier_opened,
    "asked": lambda event: ("asked", f"{_said(event.asked.person)}: {_said(event.asked.reason)}", None),
    "notified": _notified,
    "timed_out": lambda event: ("timed out", _said(event.timed_out.reason), None),
    "escalated": lambda event: ("escalated", _said(event.escalated.reason), None),
    "voted": _voted,
    "refused": lambda event: ("was refused", _said(event.refused.message), False),
    "fell_back": lambda event: ("fell back", _said(event.fell_back.reason), None),
    "ai_decided": _ai_decided,
    "paused": lambda event: ("paused", event.paused.reason, False),
    "commented": lambda event: ("commented", _said(event.commented.text), None),
    "decided": _decided,
    "closed": _closed,
    "access_refused": _access_refused,
    "erased": _erased,
    "fallback_alarm": _fallback_alarm,
    "withheld": lambda event: ("withheld", _said(event.withheld.reason), False),
    "automation_switched": _automation_switched,
}


def _brief_pre_screened(event: event_pb2.Event) -> str:
    return _pre_screened(event)[1].partition(", by ")[0]


def _brief_timed_out(event: event_pb2.Event) -> str:
    return _said(event.timed_out.reason).replace(" did not respond within ", ": silent for ")


def _brief_fell_back(event: event_pb2.Event) -> str:
    """Its reason, in which people go by the first half of their addresses."""
    return re.sub(r"(\S)@[\w.-]+", r"\1", _said(event.fell_back.reason))


def _brief_ai_decided(event: event_pb2.Event) -> str:
    return f"{event.ai_decided.confidence:.0%} sure: {_said(event.ai_decided.reasoning)}"


_BRIEF: dict[str, Callable[[event_pb2.Event], str]] = {
    "pre_screened": _brief_pre_screened,
    "asked": lambda event: _said(event.asked.person),
    "timed_out": _brief_timed_out,
    "fell_back": _brief_fell_back,
    "ai_decided": _brief_ai_decided,
}
