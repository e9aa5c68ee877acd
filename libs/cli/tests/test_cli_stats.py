"""`placet stats` prints figures, sources, a chart and alarms that are on."""

from __future__ import annotations

import pytest

from placet.approval.v1 import approval_service_pb2 as pb
from placet.event.v1 import event_pb2
from placet_cli.commands.stats import chart, print_stats
from placet_cli.screen import Screen


def part(asked: int, fallbacks: int) -> pb.DecisionCount:
    return pb.DecisionCount(decisions=asked, asked_decisions=asked, asked_fallbacks=fallbacks)


def test_the_chart_has_a_bar_for_each_part_and_a_dot_where_nobody_was_asked() -> None:
    stats = pb.DecisionStats(parts=[part(0, 0), part(4, 0), part(4, 2), part(4, 4)])
    assert chart(stats) == "·▁▅█"


def test_an_alarm_is_told_below_the_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    stats = pb.DecisionStats(
        policy="document",
        decisions=20,
        asked_decisions=10,
        fallbacks=6,
        asked_fallbacks=6,
        fallback_ratio=0.3,
        asked_fallback_ratio=0.6,
        by_source=[pb.SourceCount(source=event_pb2.SOURCE_HUMAN, count=4)],
        parts=[part(10, 6)],
    )
    stats.time_to_decision_p50.FromSeconds(90)
    stats.time_to_decision_p95.FromSeconds(7200)
    stats.alarm.event.threshold = 0.3
    found = pb.GetDecisionStatsResponse(policies=[stats], total=stats)
    found.end_time.FromSeconds(86_400)

    print_stats(Screen(), found)

    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "Decisions of the last 24 h"
    assert lines[2].split() == ["document", "20", "10", "6", "60%*", "1", "min", "30", "s", "2", "h", "▅"]
    assert lines[3] == "By source: people 4"
    assert lines[4].startswith("ALARM: people do not respond, policy document, since 1970-01-01")


def test_nothing_decided_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    print_stats(Screen(), pb.GetDecisionStatsResponse())
    assert "None." in capsys.readouterr().out
