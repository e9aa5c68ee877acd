"""The long run: `make chaos`; `make chaos ARGS=--help` teaches what it breaks."""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from placet_cli.problems import Problem
from placet_cli.screen import Screen
from placet_testing.chaos import races as racing
from placet_testing.chaos.duplicates import CALLERS, crowd
from placet_testing.chaos.races import Arena, Rival, races
from placet_testing.chaos.random_kills import storm
from placet_testing.stack import running_test_stack

EPILOG = """\
ordeals, for --only:
  storm    Processes of the stack are killed with kill -9 at random while people
           decide; whoever gets no answer sends the same ids again. Each request
           must end once, as its answer says.
  crowd    A hundred callers send one and the same request at once, for each of
           many keys. Each key makes one workflow.
  races    A person decides at the moment at which the tier's time ends, the
           request's deadline passes, or the AI answers. Each request has one
           outcome, and the loser is told which.

status:
  0    nothing was lost, doubled or contradictory
  1    something was: each fault is a line that begins with ✗
  130  ended by Ctrl-C, and nothing is left running

examples:
  make chaos                                   all of it, about a quarter of an hour
  make chaos ARGS='--decisions 300 --kills 20 --races 100 --keys 10'
  make chaos ARGS='--only storm --seed 7'      another storm
"""
INTERRUPTED = 130
SAY_EVERY = 10.0


@dataclass(frozen=True)
class Verdict:
    """Result of a run: a summary, and each broken promise."""

    said: str
    faults: list[str]


Ordeal = Callable[[argparse.Namespace, Path], AsyncIterator[Verdict]]


class Progress:
    """Says on standard error how far an ordeal is, now and then."""

    def __init__(self, name: str) -> None:
        """The time counts from now."""
        self._name = name
        self._begun = time.monotonic()
        self._said = self._begun

    def __call__(self, words: str, *, now: bool = False) -> None:
        """Says it if nothing was said for a while, or `now`."""
        if now or time.monotonic() - self._said >= SAY_EVERY:
            self._said = time.monotonic()
            sys.stderr.write(f"{self._said - self._begun:7.0f} s  {self._name:<14} {words}\n")
            sys.stderr.flush()


async def a_storm(arguments: argparse.Namespace, folder: Path) -> AsyncIterator[Verdict]:
    """Random kills."""
    progress = Progress("storm")
    progress("starting a stack", now=True)
    async with running_test_stack(folder) as stack:
        damage = await storm(
            stack,
            decisions=arguments.decisions,
            kills=arguments.kills,
            seed=arguments.seed,
            progress=lambda so_far: progress(
                f"{so_far.decisions:,} of {arguments.decisions:,} decisions, {so_far.kills.total()} kills, "
                f"{len(so_far.faults)} faults"
            ),
        )
    killed = ", ".join(f"{name} {count}" for name, count in sorted(damage.kills.items()))
    said = f"{damage.decisions:,} decisions under {damage.kills.total()} kills ({killed})"
    yield Verdict(said, damage.faults)


async def a_crowd(arguments: argparse.Namespace, folder: Path) -> AsyncIterator[Verdict]:
    """Identical requests at once."""
    progress = Progress("crowd")
    progress("starting a stack", now=True)
    async with running_test_stack(folder, failpoints=False) as stack:
        found = await crowd(
            stack,
            arguments.keys,
            progress=lambda so_far: progress(
                f"{so_far.keys} of {arguments.keys} keys, {len(so_far.faults)} faults"
            ),
        )
    said = f"{found.keys} keys, each sent {CALLERS} times at once: {found.workflows} workflows"
    yield Verdict(said, found.faults)


async def some_races(arguments: argparse.Namespace, folder: Path) -> AsyncIterator[Verdict]:
    """Decisions at the end of the wait."""
    progress = Progress("races")
    progress("starting a stack with fast clocks", now=True)
    async with racing.arena(folder) as arena:
        for rival in Rival:
            yield await _races_against(rival, arena, arguments.races)


async def _races_against(rival: Rival, arena: Arena, count: int) -> Verdict:
    progress = Progress(f"race: {rival}")
    held = await races(
        arena,
        rival,
        count,
        progress=lambda so_far: progress(
            f"{so_far.run:,} of {count:,}, {so_far.won_by_person:,} won by the person, "
            f"{len(so_far.faults)} faults"
        ),
    )
    said = (
        f"{held.run:,} races against the {rival}: {held.won_by_person:,} won by the person, "
        f"{held.won_by_rival:,} by the {rival}"
    )
    return Verdict(said, held.faults)


ORDEALS: dict[str, Ordeal] = {"storm": a_storm, "crowd": a_crowd, "races": some_races}


async def run(arguments: argparse.Namespace, folder: Path) -> int:
    """Runs the ordeals in turn, and tells each one's verdict as it ends; answers the number of faults."""
    faults = 0
    for name in arguments.only or ORDEALS:
        place = folder / name
        place.mkdir()
        async for verdict in ORDEALS[name](arguments, place):
            faults += len(verdict.faults)
            sys.stdout.write(f"{'✗' if verdict.faults else '✓'} {verdict.said}\n")
            sys.stdout.writelines(f"  ✗ {fault}\n" for fault in verdict.faults)
            sys.stdout.flush()
    return faults


def parsed(given: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="make chaos ARGS=…",
        description="Breaks the real stack for long, and counts what was lost, doubled or contradicted.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--only", action="append", choices=ORDEALS, metavar="NAME", help="this ordeal; may be given again"
    )
    parser.add_argument("--decisions", type=_count, default=3000, metavar="N", help="of the storm (3000)")
    parser.add_argument("--kills", type=_count, default=200, metavar="N", help="of the storm, at least (200)")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="which storm (1)")
    parser.add_argument("--races", type=_count, default=1000, metavar="N", help="against each rival (1000)")
    parser.add_argument("--keys", type=_count, default=100, metavar="N", help="of the crowd (100)")
    return parser.parse_args(given)


def _count(given: str) -> int:
    if not given.isdecimal() or int(given) < 1:
        raise argparse.ArgumentTypeError(f"{given} is not a number from 1 on")
    return int(given)


def main() -> int:
    """The exit status. The stacks' data stays where there were faults."""
    arguments = parsed()
    folder = Path(tempfile.mkdtemp(prefix="placet-chaos-"))
    begun = time.monotonic()
    try:
        faults = asyncio.run(run(arguments, folder))
    except Problem as problem:
        Screen().problem(problem)
        sys.stderr.write(f"  The data stays in {folder}.\n")
        return 1
    except KeyboardInterrupt:
        shutil.rmtree(folder)
        sys.stderr.write("Interrupted; nothing is left running.\n")
        return INTERRUPTED
    minutes = (time.monotonic() - begun) / 60
    if faults:
        sys.stdout.write(f"FAILED after {minutes:.0f} min: {faults} faults. The stacks' logs: {folder}\n")
        return 1
    shutil.rmtree(folder)
    sys.stdout.write(f"PASSED after {minutes:.0f} min: nothing lost, doubled or contradictory.\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
