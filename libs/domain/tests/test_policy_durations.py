"""Waiting times are written as people say them, and read back exactly."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from placet_domain.durations import describe_duration, format_duration, parse_duration

WRITTEN = [
    ("30 s", timedelta(seconds=30)),
    ("5 min", timedelta(minutes=5)),
    ("90 min", timedelta(minutes=90)),
    ("2 h", timedelta(hours=2)),
    ("24 h", timedelta(hours=24)),
    ("2 d", timedelta(days=2)),
]


@pytest.mark.parametrize(("written", "meant"), WRITTEN)
def test_a_duration_is_read_as_it_is_said(written: str, meant: timedelta) -> None:
    assert parse_duration(written) == meant


@pytest.mark.parametrize(("written", "meant"), WRITTEN)
def test_a_duration_is_written_as_it_is_said(written: str, meant: timedelta) -> None:
    assert format_duration(meant) == written


@pytest.mark.parametrize(
    "written",
    ["", "2  h", "2 hours", "-2 h", "1.5 h", "2 h ", " 2 h", "2 h\n", "PT2H", "h", "²  h", "٢ h", "2 H"],
)
def test_what_is_not_a_duration_is_refused_with_an_example(written: str) -> None:
    with pytest.raises(ValueError, match="write for example"):
        parse_duration(written)


@pytest.mark.parametrize("written", [7200, 7200.0, True, None, ["2 h"]])
def test_a_number_without_a_unit_is_not_a_duration(written: object) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        parse_duration(written)


@pytest.mark.parametrize("written", ["0 s", "0 d", "3651 d", "999999999999 d"])
def test_a_wait_of_nothing_or_of_a_lifetime_is_refused(written: str) -> None:
    with pytest.raises(ValueError, match="between 1 s and 3650 d"):
        parse_duration(written)


@given(st.integers(min_value=1, max_value=3650 * 86400))
def test_what_is_written_reads_back_the_same(seconds: int) -> None:
    assert parse_duration(format_duration(timedelta(seconds=seconds))) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0 s"),
        (0.4, "0 s"),
        (59.7, "1 min"),
        (61, "1 min 1 s"),
        (3599, "59 min 59 s"),
        (5400, "1 h 30 min"),
        (7203, "2 h"),
        (86399, "24 h"),
        (90000, "25 h"),
        (3 * 86400 + 3600, "3 d 1 h"),
        (2 * 86400 + 60, "2 d"),
    ],
)
def test_people_are_told_the_two_largest_units(seconds: float, said: str) -> None:
    assert describe_duration(timedelta(seconds=seconds)) == said


@given(st.integers(min_value=0, max_value=10**9))
def test_what_people_are_told_is_right_to_the_second_unit(seconds: int) -> None:
    said = describe_duration(timedelta(seconds=seconds)).split()
    units = {"s": 1, "min": 60, "h": 3600, "d": 86400}
    amounts = [int(amount) * units[unit] for amount, unit in zip(said[::2], said[1::2], strict=True)]
    smaller = {86400: 3600, 3600: 60, 60: 1, 1: 1}[units[said[1]]]
    assert abs(sum(amounts) - seconds) <= smaller / 2
