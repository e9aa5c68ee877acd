"""The bench's own pieces work. Nothing here takes a time."""

from __future__ import annotations

import asyncio
import contextlib
import os

import pytest

from placet_bench import command, load, setting, table, throughput
from placet_bench.cpu import Meter, cpu_seconds, machine_seconds, megabytes
from placet_bench.figures import (
    Breakdown,
    Figure,
    at_most,
    paired,
    percentile,
    ratio_at_least,
    ratio_at_most,
)
from placet_bench.load import Run
from placet_domain.policy import Policy

pytestmark = pytest.mark.integration


def test_a_ratio_is_the_median_of_the_rounds_own_ratios() -> None:
    figure = paired("speed", "/s", [30, 60, 20], [20, 20, 20], ratio_at_least(1.4))
    assert (figure.value, figure.against) == (30, 20)
    assert (figure.ratio, figure.lowest, figure.highest) == (1.5, 1.0, 3.0)
    assert figure.verdict == "met"


def test_a_ratio_of_what_should_be_small_is_turned_round() -> None:
    figure = paired("cost", "ms", [40], [20], ratio_at_least(1.2), less_is_better=True)
    assert figure.ratio == 0.5
    assert figure.verdict == "missed"


def test_rounds_that_are_not_paired_are_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        paired("speed", "/s", [1, 2], [1])


def test_a_target_says_its_unit() -> None:
    assert at_most(150).written("MB") == "≤ 150 MB"
    assert ratio_at_most(1.3).written("MB") == "≤ 1.3 ×"


def test_a_target_judges_the_ratio_or_the_figure_itself() -> None:
    assert Figure("p50", 3.0, "ms", target=at_most(3)).verdict == "met"
    assert Figure("size", 200, "MB", ratio=1.2, target=ratio_at_most(1.3)).verdict == "met"
    assert Figure("size", 200, "MB", ratio=1.2, target=at_most(150)).verdict == "missed"
    assert Figure("p50", 3.0, "ms").verdict == ""
    with pytest.raises(ValueError, match="no ratio"):
        _ = Figure("size", 200, "MB", target=ratio_at_most(1.3)).verdict


def test_a_percentile_is_one_of_the_values() -> None:
    values = [float(number) for number in range(1, 101)]
    assert [percentile(values, share) for share in (0.5, 0.95, 0.99, 1.0)] == [50, 95, 99, 100]
    assert percentile([7.0], 0.5) == 7.0
    with pytest.raises(ValueError, match="no values"):
        percentile([], 0.5)


def test_the_table_is_aligned() -> None:
    lines = [
        Figure("short", 1.234, "ms", target=at_most(3)),
        Figure("rather long", 12345, "/s", against=12.34, ratio=1.5, lowest=1, highest=2),
    ]
    head, first, second = table.figures(lines).splitlines()
    assert head.split() == ["what", "figure", "against", "ratio", "(low–high)", "target"]
    assert first.split() == ["short", "1.23", "ms", "≤", "3", "ms", "met"]
    assert second.split() == ["rather", "long", "12,345", "/s", "12.3", "1.50", "(1.00–2.00)"]
    assert first.index("1.23 ms") + len("1.23 ms") == second.index("12,345 /s") + len("12,345 /s")


def test_a_process_that_took_no_part_has_a_dash() -> None:
    shown = table.breakdown(Breakdown("CPU", ("one", "two"), (("temporal", (40.0, None)),)))
    assert shown.splitlines() == ["CPU", "           one  two", "temporal  40.0    –"]


def test_cpu_is_counted_by_process_and_request() -> None:
    one = Run(requests=10, seconds=2.0, cpu={"temporal": 0.4, "mail": 0.1}, caller_cpu=0.05)
    assert one.per_second == 5
    assert one.cpu_ms() == pytest.approx(50)
    assert one.cpu_ms("mail") == pytest.approx(40)
    assert one.cpu_ms_of("mail") == pytest.approx(10)
    assert one.cpu_ms_of("approval") is None


async def test_a_load_plays_each_request_once_and_no_more_than_so_many_at_a_time() -> None:
    played = now = most = 0

    async def play() -> None:
        nonlocal played, now, most
        played, now = played + 1, now + 1
        most = max(most, now)
        await asyncio.sleep(0)
        now -= 1

    await load.play_all(play, 20, 3)
    assert (played, most) == (20, 3)
    await load.play_at_rate(play, 5, 1e6)
    assert played == 25


async def test_a_load_ends_with_the_error_of_its_first_failed_request() -> None:
    async def play() -> None:
        raise ConnectionError("gone")

    with pytest.raises(ExceptionGroup, match="unhandled errors"):
        await load.play_all(play, 20, 3)


def test_cpu_and_memory_of_a_process_can_be_read() -> None:
    assert Meter(lambda: {"own": os.getpid()}).read()["own"] == pytest.approx(cpu_seconds(os.getpid()), abs=5)
    assert megabytes(os.getpid()) > 1
    assert machine_seconds() > 0


@pytest.mark.parametrize("name", [name for name in throughput.POLICIES.values() if name.startswith("bench-")])
def test_the_benchs_own_policies_can_be_read(name: str) -> None:
    policy = Policy.from_toml((setting.POLICIES / f"{name}.toml").read_text())
    assert policy.name == name
    assert policy.pre_screen is not None
    assert policy.pre_screen.approve_below is None


def test_help_teaches_each_measurement(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command.main(["--help"])
    shown = capsys.readouterr().out
    assert all(name in shown for name in command.MEASUREMENTS)


def test_a_wrong_name_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with contextlib.suppress(SystemExit):
        command.main(["--only", "everything"])
    assert "invalid choice: 'everything'" in capsys.readouterr().err


def test_a_result_says_when_the_machine_was_not_its_own() -> None:
    quiet = command.rendered(command.Result({}, 10.0, 0.01))
    shared = command.rendered(command.Result({}, 10.0, 0.3))
    assert "provisional" not in quiet
    assert "other processes used 30%" in shared
    assert "provisional" in shared
