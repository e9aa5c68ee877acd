"""The command line of `make bench`: measures Placet against bare Temporal, and prints one table."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from placet_bench import (
    appends,
    decision,
    intake,
    memory,
    price,
    projection,
    proofs,
    ready,
    recovery,
    table,
    throughput,
)
from placet_bench.cpu import machine_seconds
from placet_bench.figures import Breakdown, Figure, Report
from placet_bench.setting import Setting

# Share of the machine's CPU that others may use before it says so.
PROVISIONAL = 0.05

Measure = Callable[[Setting], Awaitable[Report]]

# In the order in which they run: first those that want nothing else running.
MEASUREMENTS: dict[str, tuple[str, Measure]] = {
    "ready": ("time to ready of `placet up`", ready.measure),
    "memory": ("the default worker's memory with many pending", memory.measure),
    "throughput": ("requests per second and CPU each, product and baseline", throughput.measure),
    "decision": ("decision → EFFECTIVE, one at a time", decision.measure),
    "projection": ("commit → visible in the projection", projection.measure),
    "tracing": ("the price of tracing", price.tracing),
    "sandbox": ("the price of the workflow sandbox", price.sandbox),
    "audit": ("appends with fsync, alone and at 200/s", appends.measure),
    "proofs": ("what proving costs, and verifying", proofs.measure),
    "intake": ("intake against a bare grpc.aio server", intake.measure),
    "recovery": ("kill -9 of a worker → next decision effective", recovery.measure),
}

EPILOG = """\
measurements, for --only:
{names}

reading the table:
  figure    the median of all rounds
  against   the same of what it is compared with
  ratio     the median of the rounds' own ratios, with the lowest and the highest; of CPU it is against ÷
            figure, so that more than 1 is better in both; of prices and latencies it is figure ÷ against
  target    the quality goal, in the figure's unit; `×` where it is a bound of the ratio

examples:
  make bench                                            all of it, about twelve minutes
  make bench ARGS=--quick                               a look whether it works; its figures mean little
  make bench ARGS='--only decision --only projection'
  make bench ARGS='--full --json bench.json'            memory with 10,000 pending; figures as JSON too

Run it on an idle machine. It says at the end how much of the machine others used meanwhile.
"""


@dataclass(frozen=True)
class Result:
    """All that was found; `others` is the share of the machine's CPU that other processes used."""

    reports: dict[str, Report]
    seconds: float
    others: float

    @property
    def figures(self) -> list[Figure]:
        """All figures in the order in which they were measured."""
        return [figure for report in self.reports.values() for figure in report.figures]

    @property
    def breakdowns(self) -> list[Breakdown]:
        """All tables beside the table."""
        return [one for report in self.reports.values() for one in report.breakdowns]


def main(arguments: Sequence[str] | None = None) -> int:
    """0 when everything could be measured; what a figure says does not change it."""
    asked = parser().parse_args(arguments)
    setup = header(asked)
    _say(setup)
    result = asyncio.run(measure(asked))
    sys.stdout.write(f"{setup}\n\n{rendered(result)}\n")
    if asked.json is not None:
        asked.json.write_text(json.dumps(as_json(asked, result), indent=2, ensure_ascii=False) + "\n")
    return 0


def parser() -> argparse.ArgumentParser:
    """The command line."""
    names = "\n".join(f"  {name:<11} {what}" for name, (what, _) in MEASUREMENTS.items())
    parsing = argparse.ArgumentParser(
        prog="make bench",
        description="Measures Placet against bare Temporal: a workflow with three activities and a signal, "
        "on the same server, in the same rounds.",
        epilog=EPILOG.format(names=names),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parsing.add_argument
    add("--rounds", type=_positive, metavar="N", help="paired rounds (default 10; 1 with --quick)")
    add("--requests", type=_positive, metavar="N", help="requests in a round (default 100; 20)")
    add("--concurrency", type=_positive, default=20, metavar="N", help="requests at a time (default 20)")
    add("--only", action="append", choices=MEASUREMENTS, metavar="NAME", help="this one; may be repeated")
    add("--quick", action="store_true", help="little of everything, in two minutes")
    add("--full", action="store_true", help="memory with 10,000 pending instead of 1,000")
    add("--json", type=Path, metavar="FILE", help="write the figures there too")
    add("--data", type=Path, metavar="FOLDER", help="where databases go (default: the system's temporary "
        "folder; choose a real disk, or fsync costs nothing)")  # fmt: skip
    return parsing


def _positive(written: str) -> int:
    number = int(written)
    if number < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return number


async def measure(asked: argparse.Namespace) -> Result:
    """Everything that was asked for."""
    begun, busy_before, own_before = time.monotonic(), machine_seconds(), _own_seconds()
    reports = {}
    if asked.data is not None:
        asked.data.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="placet-bench-", dir=asked.data) as folder:
        async with AsyncExitStack() as exits:
            setting = Setting(
                folder=Path(folder),
                rounds=asked.rounds or (1 if asked.quick else 10),
                requests=asked.requests or (20 if asked.quick else 100),
                concurrency=asked.concurrency,
                pending=_pending(asked),
                quick=asked.quick,
                say=_say,
                exits=exits,
            )
            for name, (what, take) in MEASUREMENTS.items():
                if asked.only is None or name in asked.only:
                    _say(f"{name}: {what}")
                    reports[name] = await take(setting)
    seconds = time.monotonic() - begun
    # All processes of the bench are gone and waited for by now, so that all of their CPU is its own.
    others = machine_seconds() - busy_before - (_own_seconds() - own_before)
    return Result(reports, seconds, max(others, 0.0) / seconds / (os.cpu_count() or 1))


def _pending(asked: argparse.Namespace) -> int:
    if asked.full:
        return memory.MANY
    return 150 if asked.quick else 1000


def header(asked: argparse.Namespace) -> str:
    """When and where."""
    return (
        f"Placet bench, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC; {os.cpu_count()} cores; "
        f"{asked.concurrency} requests at a time; load average before: {os.getloadavg()[0]:.2f}"
    )


def rendered(result: Result) -> str:
    """The printed report."""
    parts = [table.figures(result.figures), *map(table.breakdown, result.breakdowns)]
    provisional = "; take the figures as provisional" if result.others > PROVISIONAL else ""
    others = f"Meanwhile other processes used {result.others:.0%} of the machine's CPU{provisional}."
    parts.append(f"Took {result.seconds:.0f} s. {others}")
    return "\n\n".join(parts)


def as_json(asked: argparse.Namespace, result: Result) -> dict[str, object]:
    """The report that `--json` writes."""
    return {
        "time": datetime.now(UTC).isoformat(),
        "cores": os.cpu_count(),
        "concurrency": asked.concurrency,
        "seconds": result.seconds,
        "others": result.others,
        "figures": [figure.as_json() for figure in result.figures],
        "breakdowns": [one.as_json() for one in result.breakdowns],
    }


def _own_seconds() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _say(words: str) -> None:
    """Progress goes beside the result."""
    sys.stderr.write(f"{time.strftime('%H:%M:%S')} {words}\n")
