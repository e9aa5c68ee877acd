"""Requests created, asked, decided and recorded per second, and the CPU that each costs, by process."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

from placet_bench import load
from placet_bench.cpu import Meter
from placet_bench.figures import Breakdown, Figure, Report, Target, paired, ratio_at_least
from placet_bench.load import Play, Run
from placet_bench.product import STAND_INS
from placet_bench.setting import Setting

TUNED, UNTUNED = "baseline", "baseline, server as it comes"
POLICIES = {
    "no pre-screen": "simple",
    "quick pre-screen": "bench-quick",
    "pre-screen on openai": "bench-deep",
}
# The quality goals of the whole product (docs/benchmarks.md).
TARGETS = {
    ("quick pre-screen", TUNED): ratio_at_least(1.2),
    ("pre-screen on openai", TUNED): ratio_at_least(0.95),
    ("quick pre-screen", UNTUNED): ratio_at_least(2.5),
}

Contest = Mapping[str, tuple[Play, Meter]]


async def measure(setting: Setting) -> Report:
    """The product with three policies, and the baseline on the same server and on one as it comes."""
    product, baseline = await setting.shared(), await setting.baseline()
    async with setting.untuned() as untuned:
        contest: dict[str, tuple[Play, Meter]] = {
            TUNED: (baseline.play, baseline.meter),
            UNTUNED: (untuned.play, untuned.meter),
            **{name: (product.playing(policy), product.meter) for name, policy in POLICIES.items()},
        }
        runs = await rounds(setting, contest, setting.rounds)
    figures = [_alone(TUNED, runs[TUNED]), _alone(UNTUNED, runs[UNTUNED])]
    for name in POLICIES:
        for against in (TUNED, UNTUNED):
            target = TARGETS.get((name, against))
            figures += compared(f"{name} ÷ {against}", runs[name], runs[against], target)
    return Report(tuple(figures), (by_process(setting, runs),))


async def rounds(setting: Setting, contest: Contest, times: int) -> dict[str, list[Run]]:
    """All contestants in each round, one after the other, every other round in reverse."""
    for play, meter in contest.values():
        await load.play_all(play, setting.concurrency, setting.concurrency)
        await meter.rest()
    runs: dict[str, list[Run]] = {name: [] for name in contest}
    for number in range(times):
        names = list(contest)[:: 1 if number % 2 == 0 else -1]
        for name in names:
            play, meter = contest[name]
            runs[name].append(await load.run(play, setting.requests, setting.concurrency, meter))
        told = ", ".join(f"{name} {runs[name][-1].per_second:.1f}/s" for name in contest)
        setting.say(f"round {number + 1} of {times}: {told}")
    return runs


def compared(what: str, own: Sequence[Run], other: Sequence[Run], target: Target | None) -> list[Figure]:
    """Throughput and CPU of one contestant against another's."""
    return [
        paired(
            f"{what}: throughput",
            "/s",
            [run.per_second for run in own],
            [run.per_second for run in other],
            target,
        ),
        paired(
            f"{what}: CPU each",
            "ms",
            [run.cpu_ms() for run in own],
            [run.cpu_ms() for run in other],
            target,
            less_is_better=True,
        ),
    ]


def by_process(setting: Setting, runs: Mapping[str, Sequence[Run]]) -> Breakdown:
    """Medians of CPU milliseconds per request."""
    processes = list(dict.fromkeys(name for each in runs.values() for run in each for name in run.cpu))
    rows = [(name, tuple(_median_of(each, name) for each in runs.values())) for name in processes]
    rows.append(("sum", tuple(statistics.median(run.cpu_ms() for run in each) for each in runs.values())))
    without = tuple(statistics.median(run.cpu_ms(*STAND_INS) for run in each) for each in runs.values())
    rows.append(("sum without mail sink and span store", without))
    callers = tuple(statistics.median(run.caller_ms for run in each) for each in runs.values())
    rows.append(("callers, not in the sum", callers))
    title = f"CPU ms per request by process, {setting.concurrency} requests at a time"
    return Breakdown(title, tuple(runs), tuple(rows))


def _median_of(runs: Sequence[Run], process: str) -> float | None:
    each = [used for run in runs if (used := run.cpu_ms_of(process)) is not None]
    return statistics.median(each) if each else None


def _alone(name: str, runs: Sequence[Run]) -> Figure:
    return Figure(f"{name}: throughput", statistics.median(run.per_second for run in runs), "/s")
