"""Requests in words; `event_rows` has their events. Pure: messages in, text out, no terminal."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from decimal import Decimal

from google.protobuf.timestamp_pb2 import Timestamp

from placet.approval.v1 import approval_pb2, approval_service_pb2
from placet.event.v1 import event_pb2
from placet_cli.event_rows import ERASED
from placet_cli.times import earlier, left, local, point, until_words
from placet_client import Outcome
from placet_domain.durations import describe_duration
from placet_rpc.content import declared_facts, gaps_of
from placet_text import CAREFUL, coverage_words, one_line, warning_words

# In the place of a text of blanks alone.
BLANK = "(blank)"


def sentence(approval: approval_pb2.Approval) -> str:
    """State or outcome of a request, in one sentence: "Approved by bob@example.com, manager, after …"."""
    outcome = Outcome.of(approval)
    if outcome is None:
        return _pending_sentence(approval)
    screened, silences = approval.pre_screen, _silences(approval)
    more = f", after {silences}" if silences else ""
    if outcome.source == "AI_PRESCREEN":
        more = f": risk {screened.risk:.2f}, below {screened.threshold:.2f}"
    return one_line(outcome.describe(more))


def facts_sentence(approval: approval_pb2.Approval) -> str:
    """The declared facts: "payment: amount 120 EUR, counterparty Acme"; "" without any.

    Amounts that count because they are larger, or of another currency, follow.
    """
    kind, *facts = [f"{name} {value}" for name, value in declared_facts(approval.facts).items()] or [""]
    effective = [f"{one.value} {one.currency}" for one in approval.effective_amounts]
    declared = f"{approval.facts.amount} {approval.facts.currency}"
    more = [one for one in effective if not _is_amount(one, declared)]
    said = ": ".join(filter(None, [kind.removeprefix("kind "), ", ".join(facts)]))
    found = f"found in the text: {', '.join(more)}" if more else ""
    return one_line("; ".join(filter(None, [said, found])))


def _is_amount(one: str, other: str) -> bool:
    (value, currency), (number, code) = one.split(" "), other.split(" ")
    return currency == code and number != "" and Decimal(value) == Decimal(number)


def erasure_sentence(approval: approval_pb2.Approval) -> str:
    """Date, person and reason of an erasure; "" without one."""
    if not approval.HasField("erasure"):
        return ""
    erasure = approval.erasure
    return one_line(f"Erased on {point(erasure.erase_time)} by {erasure.eraser or ERASED}: {erasure.reason}")


def fault_sentence(approval: approval_pb2.Approval) -> str:
    """A warning of entries in the log that have no effect; "" without one."""
    if not approval.log_fault:
        return ""
    return one_line(f"The log holds what may not be there, and it has no effect: {approval.log_fault}")


def named(text: str) -> str:
    """A request's title, or who asked for it: never empty before it is erased."""
    return one_line(text) or (BLANK if text else ERASED)


def _silences(approval: approval_pb2.Approval) -> str:
    """ "alice@example.com was silent for 2 h and bob@example.com for 4 h", by the policy's clock.

    Whoever was not told was not silent: "alice@example.com could not be told".
    """
    scale = clock_scale(approval)
    # The people asked in each tier, by the number of the event that asked them.
    asked: dict[int, dict[int, str]] = {}
    silences: list[str] = []
    for entry in approval.path:
        event = entry.entry.event
        if event.WhichOneof("body") == "asked":
            asked.setdefault(event.asked.tier, {})[entry.entry.number] = one_line(event.asked.person.value)
        elif event.WhichOneof("body") == "timed_out":
            people = asked.get(event.timed_out.tier, {})
            untold = [people.get(number, "") for number in event.timed_out.untold_numbers]
            told = [name for number, name in people.items() if number not in event.timed_out.untold_numbers]
            if untold:
                silences.append(f"{', '.join(filter(None, untold)) or 'somebody'} could not be told")
            if told or not untold:
                waited = describe_duration(event.timed_out.waited.ToTimedelta() * scale)
                person = told[-1] if told and told[-1] else f"tier {event.timed_out.tier}"
                follows = silences and not silences[-1].endswith("told")
                silences.append(f"{person} {'' if follows else 'was silent '}for {waited}")
    return " and ".join(silences)


def _pending_sentence(approval: approval_pb2.Approval) -> str:
    if approval.paused_reason:
        return f"Paused: {one_line(approval.paused_reason)}."
    if not approval.waiting_for_approval:
        return "Under way: nobody has to be asked yet, or any more."
    people = " or ".join(one_line(person) for person in approval.asked)
    tier, silences = approval.current_tier, _silences(approval)
    votes = f" ({votes_words(tier)})" if tier.quorum > 1 else ""
    silent = f"; {silences}" if silences else ""
    return f"Waiting for {people}{votes}, {until_words(wait_ends(approval))}{silent}."


def votes_words(tier: approval_pb2.TierStatus) -> str:
    """The votes of a tier: "1 of 2 approvals"."""
    return f"{tier.approvals} of {tier.quorum} {'approval' if tier.quorum == 1 else 'approvals'}"


def vote_sentence(approval: approval_pb2.Approval, *, yes: bool) -> str:
    """Effect of a vote: the outcome, or that it is recorded and what is missing."""
    if approval.HasField("outcome"):
        return sentence(approval)
    tier = approval.current_tier
    count = f"; {tier.approvals} of {tier.quorum}" if tier.quorum > 1 else ""
    return f"Your {'approval' if yes else 'rejection'} is recorded{count}. {sentence(approval)}"


def tier_sentences(approval: approval_pb2.Approval) -> list[str]:
    """The people asked now, their notices and votes, and the next ones; nothing when there are none."""
    lines = []
    if approval.waiting_for_approval and approval.HasField("current_tier"):
        tier = approval.current_tier
        facts = [f"tier {tier.tier} ({tier.name})", _notices(approval.path)]
        facts += [votes_words(tier)] if tier.quorum > 1 else []
        lines.append(f"Asked now: {_people(tier)}, {', '.join(fact for fact in facts if fact)}")
        if tier.votes:
            lines.append(f"Votes so far: {', '.join(_vote(one) for one in tier.votes)}")
    if approval.HasField("next_tier"):
        tier = approval.next_tier
        due = approval.current_tier.due_time if approval.current_tier.HasField("due_time") else None
        when = "" if due is None else f", from {point(due)} on"
        lines.append(f"Next: {_people(tier)}, tier {tier.tier} ({tier.name}){when}")
    return [one_line(one) for one in lines]


def _vote(vote: approval_pb2.TierVote) -> str:
    """A vote in a tier: "bob@example.com said yes"."""
    yes = vote.verdict == event_pb2.VERDICT_APPROVE
    return f"{vote.person or ERASED} said {'yes' if yes else 'no'}"


def _people(tier: approval_pb2.TierStatus) -> str:
    return ", ".join([*tier.people, *(f"group {name}" for name in tier.groups)]) or ERASED


def _notices(path: Iterable[event_pb2.LogEntry]) -> str:
    """Notices to those who are asked in the open tier: "notified by email"; "" without the path.

    People are named where not all of them share it: "bob@example.com could not be notified by email".
    """
    # The people asked, by the number of the event that asked them, and how their notices ended.
    asked: dict[int, str] = {}
    ended: dict[str, str] = {}
    for entry in path:
        event = entry.entry.event
        match event.WhichOneof("body"):
            case "tier_opened":
                asked, ended = {}, {}
            case "asked":
                asked[entry.entry.number] = event.asked.person.value or ERASED
            case "notified" if event.notified.asked_number in asked:
                how = "notified" if event.notified.delivered else "could not be notified"
                ended[asked[event.notified.asked_number]] = f"{how} by {event.notified.channel}"
    by_end: dict[str, list[str]] = {}
    for person in asked.values():
        by_end.setdefault(ended.get(person, "not notified yet"), []).append(person)
    if len(by_end) == 1:
        return next(iter(by_end))
    return ", ".join(f"{' and '.join(people)} {end}" for end, people in by_end.items())


def wait_ends(approval: approval_pb2.Approval) -> Timestamp | None:
    """End of the open wait: the tier's time or the request's own deadline, whichever comes first; None when
    it waits without limit."""
    return earlier(
        approval.current_tier.due_time if approval.current_tier.HasField("due_time") else None,
        approval.deadline_time if approval.HasField("deadline_time") else None,
    )


def due(approval: approval_pb2.Approval, now: datetime) -> str:
    """The time that is left to who is asked: "1.9 h", "over", "–" without limit; "" when nobody is asked."""
    if not approval.waiting_for_approval:
        return ""
    end = wait_ends(approval)
    if end is None:
        return "–"
    rest = local(end) - now
    return left(rest) if rest > timedelta() else "over"


def clock_scale(approval: approval_pb2.Approval) -> float:
    """Factor by which this request's clocks run faster than written: 1 except in demonstrations."""
    for entry in approval.path:
        if entry.entry.event.WhichOneof("body") == "received":
            return entry.entry.event.received.clock_scale or 1.0
    return 1.0


def clock_note(scale: float) -> str:
    """The label of clocks that run faster: "Demo clocks: 2 h → 6 s"; "" for real ones."""
    if scale == 1:
        return ""
    return f"Demo clocks: 2 h → {describe_duration(timedelta(hours=2) / scale)}"


def state_name(state: event_pb2.State.ValueType) -> str:
    """A state as people write it: "approved"."""
    return event_pb2.State.Name(state).removeprefix("STATE_").lower()


def warnings(content: approval_service_pb2.GetContentResponse) -> list[str]:
    """Warnings before a content is shown or decided: how it may deceive; nothing when it does not."""
    if not content.warnings:
        return []
    lines = [warning_words(one.field, _kind(one), one.message, one.count) for one in content.warnings]
    return [CAREFUL, *(one_line(one) for one in lines)]


def unread(coverage: event_pb2.ContentCoverage) -> list[str]:
    """Sentences about the unread parts of a content, to be shown first; none if all was read."""
    return coverage_words(whole=coverage.whole, gaps=gaps_of(coverage))


def _kind(warning: approval_service_pb2.TextWarning) -> str:
    """A warning's kind by its name; empty for one that only a later service knows."""
    names = {number: name for name, number in approval_service_pb2.TextWarningKind.items()}
    return names.get(warning.kind, "").removeprefix("TEXT_WARNING_KIND_")


def scope_words(policy: str, model: str) -> str:
    """Automatic decisions that a switch is about, in words."""
    about = f" under policy {one_line(policy)}" if policy else f" of model {one_line(model)}" if model else ""
    return f"Automatic decisions{about}"


def switched_off_sentence(entry: event_pb2.LogEntry) -> str:
    """A sentence about an `automation_switched` entry that is in force, and switches off."""
    event, switched = entry.entry.event, entry.entry.event.automation_switched
    return one_line(
        f"{scope_words(switched.policy, switched.model)} are OFF since {point(event.time)}, by "
        f"{event.actor.name.value or ERASED}: {switched.reason.value or ERASED} (entry {entry.index})"
    )
