"""A trace fits the terminal and tells the truth, whatever it looks like."""

from __future__ import annotations

import io
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from placet_devstack.spans import Span, render
from placet_devstack.spans.waterfall import LEGEND

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
MS = 10**6
ORIGIN = 1_800_000_000 * 10**9


def span(number: int, parent: int, name: str, start: float, took: float, **changes: object) -> Span:
    """A span by its times in milliseconds; parent 0: none."""
    values: dict[str, object] = {
        "trace_id": TRACE,
        "span_id": f"{number:016x}",
        "parent_id": f"{parent:016x}" if parent else "",
        "name": name,
        "service": "approval",
        "kind": "internal",
        "start": ORIGIN + int(start * MS),
        "end": ORIGIN + int((start + took) * MS),
    }
    return Span(**{**values, **changes})  # type: ignore[arg-type]  # of its own fields


REQUEST = [
    span(1, 0, "placet.approval.v1.ApprovalService/RequestApproval", 0, 14),
    span(2, 1, "write approval", 1, 2),
    span(3, 1, "placet.audit.v1.AuditService/AppendEvents", 4, 4, service="audit"),
    span(4, 3, "append events audit", 5, 3, service="audit"),
    span(5, 1, "wait for alice", 14, 7_200_000, service="audit"),
    span(6, 5, "ask alice", 20, 900, service="notification", failed=True, message="SMTP is away\nand more"),
    span(7, 1, "SubmitDecision", 7_200_014, 16, links=(("0af7651916cd43dd8448eb211c80319c", "00" * 8),)),
]


def waterfall(spans: list[Span], **options: Any) -> list[str]:
    """The lines of a trace, without colours."""
    return render(spans, **options).plain.split("\n")


def test_a_request_reads_from_top_to_bottom() -> None:
    assert waterfall(REQUEST) == [
        "trace 4bf92f3577b34da6a3ce929d0e0e4736                  7 spans, 3 services, 2 h",
        "span                                     service       after   took",
        "ApprovalService/RequestApproval          approval     0.0 ms  14 ms ████",
        "  write approval                         approval     1.0 ms 2.0 ms ██",
        "  AuditService/AppendEvents              audit        4.0 ms 4.0 ms  ███",
        "    append events audit                  audit        5.0 ms 3.0 ms   ██",
        "  wait for alice                         audit         14 ms    2 h    ░░░░░░░░",
        "    ✗ ask alice                          notification  20 ms 900 ms     ███",
        "      SMTP is away",
        "  SubmitDecision                         approval        2 h  16 ms           ██",
        "    ↗ trace 0af7651916cd43dd8448eb211c80319c",
        f"✗ failed  {LEGEND}",
    ]


def test_what_begins_after_its_parent_ended_stands_in_the_order_of_time() -> None:
    spans = [
        span(1, 0, "request", 0, 10),
        span(2, 1, "start workflow", 5, 4),
        span(3, 2, "notify", 30_000, 5),
        span(4, 1, "wait for approver", 20, 29_980),
    ]
    names = [line.split("approval")[0].strip() for line in waterfall(spans)[2:-1]]
    assert names == ["request", "start workflow", "wait for approver", "notify"]


def test_no_limit_hides_a_wait() -> None:
    spans = [span(1, 0, "request", 0, 1000)]
    spans += [span(10 + n, 1, f"step {n}", n, 1) for n in range(40)]
    spans += [span(60, 10, "inner", 0, 1), span(61, 60, "wait for approver", 0, 60_000)]
    for most in (1, 5, 30, 42):
        assert any("wait for approver" in line for line in waterfall(spans, most=most))


def test_a_linked_trace_is_named_and_its_id_is_whole() -> None:
    other = "0af7651916cd43dd8448eb211c80319c"
    lines = waterfall(REQUEST, linked={other: "decision by alice@example.com"})
    assert any(line.strip() == f"↗ decision by alice@example.com: trace {other}" for line in lines)


def test_without_a_width_nothing_is_cut() -> None:
    name = "a name of more than eighty columns " * 4
    assert name.strip() in "\n".join(waterfall([span(1, 0, name, 0, 1)], width=None))


def test_colours_change_nothing_but_colour() -> None:
    plain = Console(file=io.StringIO(), width=80, no_color=True)
    plain.print(render(REQUEST))
    assert isinstance(plain.file, io.StringIO)
    assert [line.rstrip() for line in plain.file.getvalue().splitlines()] == waterfall(REQUEST)
    coloured = Console(file=io.StringIO(), width=80, force_terminal=True, color_system="standard")
    coloured.print(render(REQUEST))
    assert isinstance(coloured.file, io.StringIO)
    assert "\x1b[" in coloured.file.getvalue()


def test_a_span_whose_parent_is_not_there_is_drawn_and_marked() -> None:
    lines = waterfall([span(2, 1, "child of the caller's", 0, 5), span(3, 2, "inner", 1, 2)])
    assert lines[2].startswith("┄ child of the caller's")
    assert lines[3].startswith("  inner")


def test_a_circle_of_parents_is_drawn_once() -> None:
    lines = waterfall([span(1, 2, "a", 0, 5), span(2, 1, "b", 1, 2), span(3, 3, "own parent", 2, 1)])
    assert [line.split("approval")[0].strip() for line in lines[2:-1]] == ["┄ a", "b", "┄ own parent"]


def test_alike_siblings_are_summed_up_and_those_that_failed_apart() -> None:
    polls = [span(10 + n, 1, "poll", n, 1) for n in range(100)]
    failed = [span(500 + n, 1, "poll", 100 + n, 2, failed=True, message="away") for n in range(50)]
    lines = waterfall([span(1, 0, "work", 0, 200), *polls, *failed])
    names = [line.split("approval")[0].strip() for line in lines[2:-1]]
    assert names == ["work", "poll", "× 99 more", "✗ poll", "away", "✗ × 49 more"]
    assert "99 ms" in lines[4]


def test_a_failure_deep_below_is_not_folded_away() -> None:
    calls = [span(10 + n, 1, "call", n, 1) for n in range(20)]
    failure = span(99, 25, "inner", 15, 0.5, failed=True)
    names = [
        line.split("approval")[0].strip() for line in waterfall([span(1, 0, "w", 0, 50), *calls, failure])
    ]
    assert names[2:-1] == ["w", "call", "× 18 more", "call", "✗ inner"]


def test_levels_that_do_not_fit_are_counted() -> None:
    spans = [span(1, 0, "work", 0, 1000)]
    for number in range(20):
        spans.append(span(100 + number, 1, f"step {number}", number * 10, 9))
        spans.append(span(200 + number, 100 + number, "inner", number * 10, 1, failed=number == 7))
    lines = waterfall(spans, most=30)
    assert len(lines) == 2 + 21 + 1
    assert lines[3].startswith("  step 0 ▸ 1 below  ")
    assert lines[10].startswith("  step 7 ▸ 1 below ✗")


def test_a_trace_of_many_roots_is_cut_and_says_so() -> None:
    lines = waterfall([span(number, 0, f"root {number}", number, 1) for number in range(1, 101)], most=40)
    assert len(lines) == 2 + 40 + 2
    assert lines[-2] == "… and 60 more"


def test_without_spans_it_says_so() -> None:
    assert waterfall([]) == ["no spans of this trace are stored yet"]


def test_names_cannot_play_with_the_terminal() -> None:
    spans = [
        span(1, 0, "red\x1b[31m\u202e\nline", 0, 1, service="a\x07b", failed=True, message="\x1b]0;x\x07")
    ]
    assert not any(letter in line for line in waterfall(spans) for letter in "\x1b\x07\u202e\n")


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [
        (0, "0.0 ms"),
        (0.04, "0.0 ms"),
        (9.9, "9.9 ms"),
        (14, "14 ms"),
        (999.9, "1.0 s"),
        (1_500, "1.5 s"),
        (59_990, "60.0 s"),
        (61_000, "1 min 1 s"),
        (3_599_000, "59 min 59 s"),
        (7_200_000, "2 h"),
        (47 * 3_600_000, "47 h"),
        (50 * 3_600_000, "2 d 2 h"),
        (2000 * 24 * 3_600_000, "2000 d"),
    ],
)
def test_times_are_short_and_have_units(milliseconds: float, text: str) -> None:
    assert waterfall([span(1, 0, "x", 0, milliseconds)])[2].split("0.0 ms", 1)[1].strip().startswith(text)


def spans_of_any_shape(
    names: st.SearchStrategy[str], services: st.SearchStrategy[str], failed: st.SearchStrategy[bool]
) -> st.SearchStrategy[list[Span]]:
    """Any parents, circles and missing ones too, and any times, backwards too."""
    built = st.builds(
        lambda number, parent, name, service, start, took, failed: span(
            number, parent, name, start, took, service=service, failed=failed, message=name
        ),
        st.integers(1, 30),
        st.integers(0, 30),
        names,
        services,
        st.floats(0, 1e9),
        st.floats(-10, 1e9),
        failed,
    )
    return st.lists(built, unique_by=lambda one: one.span_id, max_size=20)


@given(spans_of_any_shape(st.text(max_size=50), st.text(max_size=20), st.booleans()), st.integers(1, 40))
def test_no_trace_breaks_the_frame(spans: list[Span], most: int) -> None:
    lines = waterfall(spans, most=most)
    assert all(cell_len(line) <= 80 for line in lines)
    assert len(lines) <= 2 + 2 * most + 2


@given(spans_of_any_shape(st.sampled_from(["call", "poll"]), st.just("approval"), st.just(value=False)))
def test_every_span_is_drawn_or_counted(spans: list[Span]) -> None:
    rows = waterfall(spans, most=1000)[2:-1]
    sums = [int(match[1]) for row in rows if (match := re.search(r"× (\d+) more", row))]
    if sums:
        # What is below those that were summed up is neither drawn nor counted.
        assert len(rows) - len(sums) + sum(sums) <= len(spans)
    else:
        assert len(rows) == len(spans)
