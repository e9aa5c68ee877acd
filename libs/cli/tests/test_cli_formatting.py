"""Formatting of requests and events."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from placet.approval.v1 import approval_pb2, approval_service_pb2
from placet.event.v1 import event_pb2
from placet_cli.commands.queries import LIST_HEAD, LIST_WIDTHS
from placet_cli.commands.stats import _WIDTHS as STATS_WIDTHS
from placet_cli.event_rows import _WORDS, RowReader, counted, entries, rows
from placet_cli.formatting import (
    clock_note,
    erasure_sentence,
    facts_sentence,
    named,
    sentence,
    warnings,
)
from placet_cli.screen import Screen, event_lines, fit
from placet_cli.times import SPAN_WIDTH, age, left, span
from placet_devstack.commands.mail import MAIL_WIDTHS
from placet_text import deceptive, one_line

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
ALICE, BOB = "alice@example.com", "bob@example.com"


def approval(*events: event_pb2.Event, scale: float = 1, **outcome: object) -> approval_pb2.Approval:
    """A request with a path; with `outcome`, a closed one."""
    first = event_pb2.Event(received=event_pb2.Received(clock_scale=scale))
    entries = [event_pb2.LogEntry(entry=event_pb2.Entry(event=event)) for event in (first, *events)]
    message = approval_pb2.Approval(path=entries)
    if outcome:
        message.outcome.CopyFrom(approval_pb2.Outcome(**outcome))  # type: ignore[arg-type]  # a test's shorthand
    return message


def asked(tier: int, person: str) -> event_pb2.Event:
    return event_pb2.Event(asked=event_pb2.Asked(tier=tier, person=event_pb2.Erasable(value=person)))


def timed_out(tier: int, waited: timedelta) -> event_pb2.Event:
    event = event_pb2.Event(timed_out=event_pb2.TimedOut(tier=tier))
    event.timed_out.waited.FromTimedelta(waited)
    return event


def test_a_path_says_what_of_the_content_was_not_read() -> None:
    processed = event_pb2.Processed(method="pdf", words=4)
    processed.coverage.gaps.add(kind=event_pb2.GAP_KIND_IMAGE, count=2, first_page=1)
    entry = event_pb2.LogEntry(entry=event_pb2.Entry(event=event_pb2.Event(processed=processed)))
    assert RowReader().row(entry).reason == "4 words of pdf; 2 images were not read, first on page 1"
    entry.entry.event.processed.coverage.ClearField("gaps")
    assert RowReader().row(entry).reason == "4 words of pdf; It is not known what of it was read"
    entry.entry.event.processed.coverage.whole = True
    assert RowReader().row(entry).reason == "4 words of pdf"


def test_a_managers_approval_reads_with_who_was_silent_before() -> None:
    message = approval(
        asked(1, ALICE),
        timed_out(1, timedelta(hours=2)),
        asked(2, BOB),
        state=event_pb2.STATE_APPROVED,
        source=event_pb2.SOURCE_HUMAN,
        decision_type=event_pb2.DECISION_TYPE_MANAGER,
        approver=BOB,
    )
    assert sentence(message) == f"Approved by {BOB}, manager, after {ALICE} was silent for 2 h."


def test_who_could_not_be_told_is_not_called_silent() -> None:
    message = approval(
        asked(1, ALICE),
        timed_out(1, timedelta(hours=4)),
        asked(2, BOB),
        timed_out(2, timedelta(hours=4)),
        state=event_pb2.STATE_REJECTED,
        source=event_pb2.SOURCE_POLICY,
        approver="fast-escalate",
    )
    events = {one.entry.event.WhichOneof("body"): one.entry for one in reversed(message.path)}
    events["timed_out"].event.timed_out.untold_numbers.append(events["asked"].number)
    after = f"{ALICE} could not be told and {BOB} was silent for 4 h"
    assert sentence(message) == f"Rejected by policy fast-escalate, after {after}."


def test_silence_is_told_by_the_policys_clock_in_a_demonstration() -> None:
    message = approval(
        asked(1, ALICE),
        timed_out(1, timedelta(seconds=6)),
        asked(2, BOB),
        timed_out(2, timedelta(seconds=12)),
        scale=1200,
        state=event_pb2.STATE_REJECTED,
        source=event_pb2.SOURCE_AI_FALLBACK,
        approver="AI-Fallback",
        confidence=0.85,
    )
    assert sentence(message) == (
        f"Rejected by AI-Fallback, 85% sure, after {ALICE} was silent for 2 h and {BOB} for 4 h."
    )
    assert clock_note(1200) == "Demo clocks: 2 h → 6 s"
    assert clock_note(1) == ""


@pytest.mark.parametrize(
    ("state", "source", "approver", "said"),
    [
        ("REJECTED", "HUMAN", ALICE, f"Rejected by {ALICE}."),
        ("REJECTED", "POLICY", "document", "Rejected by policy document."),
        ("CANCELLED", "REQUESTER", BOB, f"Cancelled by {BOB}."),
    ],
)
def test_every_kind_of_outcome_reads(state: str, source: str, approver: str, said: str) -> None:
    message = approval(
        state=event_pb2.State.Value(f"STATE_{state}"),
        source=event_pb2.Source.Value(f"SOURCE_{source}"),
        approver=approver,
    )
    assert sentence(message) == said


def test_an_automatic_approval_says_the_risk_and_the_threshold() -> None:
    message = approval(
        state=event_pb2.STATE_APPROVED, source=event_pb2.SOURCE_AI_PRESCREEN, approver="AI-Auto-Approved"
    )
    message.pre_screen.risk, message.pre_screen.threshold = 0.19, 0.3
    message.outcome.rule = "menu"
    assert sentence(message) == "Approved at once by AI-Auto-Approved (rule menu): risk 0.19, below 0.30."


def test_facts_are_said_with_the_larger_amount_that_was_found() -> None:
    message = approval()
    assert facts_sentence(message) == ""
    facts = approval_pb2.Facts(kind="payment", amount="120.0", currency="EUR", counterparty="Acme")
    message.facts.CopyFrom(facts)
    message.effective_amounts.add(value="120", currency="EUR")
    assert facts_sentence(message) == "payment: amount 120.0 EUR, counterparty Acme"
    message.effective_amounts[0].value = "500"
    message.effective_amounts.add(value="7", currency="USD")
    said = "payment: amount 120.0 EUR, counterparty Acme; found in the text: 500 EUR, 7 USD"
    assert facts_sentence(message) == said
    message.ClearField("facts")
    assert facts_sentence(message) == "found in the text: 500 EUR, 7 USD"


def test_a_pending_request_says_for_whom_it_waits_and_until_when() -> None:
    message = approval()
    assert "nobody has to be asked" in sentence(message)
    message.waiting_for_approval = True
    message.asked.extend([ALICE, BOB])
    assert sentence(message) == f"Waiting for {ALICE} or {BOB}, without limit."
    message.current_tier.due_time.FromDatetime(START)
    assert sentence(message) == f"Waiting for {ALICE} or {BOB}, until 2026-01-02 03:04:05 UTC."
    message.deadline_time.FromDatetime(START - timedelta(minutes=1))
    assert "until 2026-01-02 03:03:05 UTC" in sentence(message)
    message.paused_reason = "the AI does not answer"
    assert sentence(message) == "Paused: the AI does not answer."


def test_a_deadline_of_its_own_ends_each_tier_on_the_path() -> None:
    received, opened = event_pb2.Event(), event_pb2.Event()
    received.received.deadline_time.FromDatetime(START)
    opened.tier_opened.name = "approver"
    path = [event_pb2.LogEntry(entry=event_pb2.Entry(event=event)) for event in (received, opened)]
    assert rows(path[1:])[0].reason == "approver, without limit"
    assert rows(path)[1].reason == "approver, until 2026-01-02 03:04:05 UTC"
    assert "deadline 2026-01-02 03:04:05 UTC" in rows(path)[0].reason


def test_a_fall_back_is_told_by_its_own_reason() -> None:
    event = event_pb2.Event()
    event.fell_back.reason.value = "The request's deadline passed and alice@example.com had not responded"
    told = RowReader().row(event_pb2.LogEntry(entry=event_pb2.Entry(event=event)))
    assert told.brief == "The request's deadline passed and alice had not responded"


def test_every_event_of_the_vocabulary_has_words() -> None:
    names = {field.name for field in event_pb2.Event.DESCRIPTOR.oneofs_by_name["body"].fields}
    assert set(_WORDS) == names
    for name in names:
        event = event_pb2.Event()
        getattr(event, name).SetInParent()
        told = RowReader().row(event_pb2.LogEntry(entry=event_pb2.Entry(event=event)))
        assert told.event


def test_a_value_of_a_newer_contract_is_told_as_one_without_words() -> None:
    for event in (
        event_pb2.Event(pre_screened=event_pb2.PreScreened(result=99)),  # type: ignore[arg-type]  # not one yet
        event_pb2.Event(ai_decided=event_pb2.AiDecided(result=99)),  # type: ignore[arg-type]  # as above
        event_pb2.Event(decided=event_pb2.Decided(source=99)),  # type: ignore[arg-type]  # as above
    ):
        told = RowReader().row(event_pb2.LogEntry(entry=event_pb2.Entry(event=event)))
        assert told.reason == "in a way that this version has no words for"


def erased(event: event_pb2.Event) -> event_pb2.Event:
    """As the log tells it when its values are gone."""
    for text in (event.actor.name, event.received.title, event.asked.person, event.asked.reason):
        if text.value:
            text.commitment = bytes(32)
            text.ClearField("value")
    return event


def test_what_was_erased_says_so_and_what_was_never_said_says_nothing() -> None:
    person = event_pb2.Actor(kind=event_pb2.ACTOR_KIND_PERSON, name=event_pb2.Erasable(value=ALICE))
    event = event_pb2.Event(actor=person)
    event.asked.person.value = ALICE
    told = RowReader().row(event_pb2.LogEntry(entry=event_pb2.Entry(event=erased(event))))
    assert (told.actor, told.reason, told.brief) == ("(erased)", "(erased):", "(erased)")
    vote = event_pb2.Event(voted=event_pb2.Voted(verdict=event_pb2.VERDICT_APPROVE))
    assert RowReader().row(event_pb2.LogEntry(entry=event_pb2.Entry(event=vote))).reason == ""


def test_an_erased_request_says_when_by_whom_and_why() -> None:
    message = approval(state=event_pb2.STATE_APPROVED, source=event_pb2.SOURCE_HUMAN)
    assert erasure_sentence(message) == ""
    message.erasure.erase_time.FromDatetime(START)
    message.erasure.eraser, message.erasure.reason = BOB, "she asked for it"
    assert erasure_sentence(message) == f"Erased on 2026-01-02 03:04:05 UTC by {BOB}: she asked for it"
    assert sentence(message) == "Approved by (erased)."
    assert named(message.title) == "(erased)"
    assert (named("  "), named("\u200b")) == ("(blank)", "<U+200B>")


def test_an_erasure_in_the_log_says_how_much_and_why() -> None:
    event = event_pb2.Event(erased=event_pb2.Erased(values=9, reason=event_pb2.Erasable(value="she asked")))
    told = RowReader().row(event_pb2.LogEntry(entry=event_pb2.Entry(event=event)))
    assert (told.event, told.reason) == ("erased", "9 values, for good: she asked")


def test_an_event_fits_eighty_columns_and_is_aligned() -> None:
    event = event_pb2.Event(
        actor=event_pb2.Actor(kind=event_pb2.ACTOR_KIND_PERSON, name=event_pb2.Erasable(value="x" * 60)),
        voted=event_pb2.Voted(verdict=event_pb2.VERDICT_REJECT, reason=event_pb2.Erasable(value="why " * 40)),
    )
    told = RowReader().row(event_pb2.LogEntry(entry=event_pb2.Entry(event=event)))
    for whole in (True, False):
        lines = event_lines(timedelta(hours=2), told, label="", whole=whole)
        assert all(line.cell_len <= 80 for line in lines)
        assert len(lines) == (5 if whole else 1)
        assert lines[0].plain.index("said no") == 32


def test_text_of_others_cannot_steer_the_terminal() -> None:
    assert one_line("a\x1b[31m\r\nb\u202ec") == "a<U+001B>[31m b<U+202E>c"


@given(st.text())
def test_no_text_of_others_reaches_the_terminal_with_what_steers_or_deceives(text: str) -> None:
    shown = one_line(text)
    assert deceptive(shown) == {}
    assert len(shown.splitlines()) <= 1


def test_what_may_deceive_is_told_in_a_sentence_each_also_of_an_unknown_kind() -> None:
    answer = approval_service_pb2.GetContentResponse(
        warnings=[
            approval_service_pb2.TextWarning(
                field="text",
                kind=approval_service_pb2.TEXT_WARNING_KIND_BIDIRECTIONAL,
                message="U+202E RIGHT-TO-LEFT OVERRIDE at line 3, column 14",
                count=2,
            ),
            approval_service_pb2.TextWarning(
                field="label",
                kind=approval_service_pb2.TEXT_WARNING_KIND_UNSPECIFIED,
                message="U+202E\u202e",
                count=1,
            ),
        ]
    )
    assert warnings(answer) == [
        "Careful: this may look like something else than it is.",
        (
            "The content holds characters that turn the direction of others, 2 in all: "
            "U+202E RIGHT-TO-LEFT OVERRIDE at line 3, column 14"
        ),
        "label may deceive: U+202E<U+202E>",
    ]
    assert warnings(approval_service_pb2.GetContentResponse()) == []


def test_spans_of_time_are_short_and_exact_enough() -> None:
    assert [span(timedelta(seconds=one)) for one in (-1, 0.34, 59.9, 3600, 5400)] == [
        "0.0 s",
        "0.3 s",
        "59.9 s",
        "1 h",
        "1 h 30 min",
    ]
    ages = [age(timedelta(seconds=one)) for one in (-1, 59, 61, 7300, 200_000)]
    assert ages == ["0 s", "59 s", "1 min", "2 h", "2 d"]


def test_what_is_too_long_is_cut_with_an_ellipsis_whatever_its_letters() -> None:
    assert fit("abc", 5) == "abc  "
    assert fit("abcdef", 5) == "abcd…"
    assert fit("日本語日本語", 5) == "日本…"


@given(st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=3650)))
def test_every_span_of_time_fits_its_column(duration: timedelta) -> None:
    assert len(span(duration)) <= SPAN_WIDTH
    assert len(left(duration)) <= LIST_WIDTHS[LIST_HEAD.index("due")]


@given(st.integers(0, 3650 * 86400))
def test_a_time_that_is_left_is_never_overstated_nor_understated_by_more_than_a_tenth(seconds: int) -> None:
    number, unit = left(timedelta(seconds=seconds)).split()
    told = float(number) * {"s": 1, "min": 60, "h": 3600, "d": 86400}[unit]
    assert 0.9 * seconds <= told <= seconds


@pytest.mark.parametrize("widths", [LIST_WIDTHS, STATS_WIDTHS, MAIL_WIDTHS])
def test_a_table_fits_eighty_columns(widths: tuple[int, ...]) -> None:
    assert sum(widths) + len(widths) - 1 <= 80


@pytest.mark.parametrize("cuts", [True, False])
def test_a_long_title_is_cut_in_a_table_and_the_columns_stay_aligned(
    cuts: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    screen = Screen()
    screen.cuts = cuts
    titles = ("short", "x" * 200)
    screen.table(("id", "title", "who"), [("1", title, BOB) for title in titles], (4, 20, 17), grows=1)
    lines = capsys.readouterr().out.splitlines()
    assert "…" in lines[2]
    assert len({line.index(BOB) for line in lines[1:]}) == 1
    assert all(len(line) <= 80 for line in lines)


def test_outside_a_terminal_only_titles_are_cut(capsys: pytest.CaptureFixture[str]) -> None:
    screen = Screen()
    screen.cuts = False
    screen.table(("title", "who"), [("Pay", "x" * 40), ("Pay", BOB)], (10, 10), grows=0)
    assert "x" * 40 in capsys.readouterr().out


def test_a_notice_says_whom_it_reached() -> None:
    notice = event_pb2.Event(notified=event_pb2.Notified(delivered=True, channel="email", asked_number=2))
    bodies = (asked(1, ALICE), asked(1, BOB), notice)
    path = [
        event_pb2.LogEntry(entry=event_pb2.Entry(approval_id="1c9f", number=number, event=body))
        for number, body in enumerate(bodies, 1)
    ]
    assert rows(path)[2].reason == f"{BOB}, by email"
    assert rows(path[2:])[0].reason == "by email"
    # A log of many requests: each has numbers of its own.
    other = event_pb2.LogEntry(entry=event_pb2.Entry(approval_id="2d0a", number=4, event=notice))
    assert rows([*path, other])[3].reason == "by email"


def test_only_the_newest_requests_are_kept_for_later_words() -> None:
    reader = RowReader()
    for number in range(2 * RowReader.MOST_REQUESTS):
        entry = event_pb2.Entry(approval_id=str(number), number=1, event=asked(1, ALICE))
        reader.row(event_pb2.LogEntry(entry=entry))
    assert len(reader._earlier) == RowReader.MOST_REQUESTS


def test_one_is_counted_as_one() -> None:
    assert (counted(1, "value"), counted(1_000, "value"), entries(1), entries(0)) == (
        "1 value",
        "1,000 values",
        "1 entry",
        "0 entries",
    )
