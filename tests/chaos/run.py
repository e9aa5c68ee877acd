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
from placet_testing.chaos.duplicates import CALLERS, send_duplicates
from placet_testing.chaos.races import RaceStack, Rival, race_stack, races
from placet_testing.chaos.random_kills import random_kills
from placet_testing.stack import running_test_stack

EPILOG = """\
trials, for --only:
  kills    Processes of the stack are killed with kill -9 at random while people
           decide; whoever gets no answer sends the same ids again. Each request
           must end once, as its answer says.
  duplicates
           A hundred callers send one and the same request at once, for each of
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
  make chaos ARGS='--only kills --seed 7'      other kills
"""
INTERRUPTED = 130
SAY_EVERY = 10.0


@dataclass(frozen=True)
class TrialResult:
    """Result of a run: a summary, and each broken promise."""

    said: str
    faults: list[str]


Trial = Callable[[argparse.Namespace, Path], AsyncIterator[TrialResult]]


class Progress:
    """Says on standard error how far an trial is, now and then."""

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


async def kills(arguments: argparse.Namespace, folder: Path) -> AsyncIterator[TrialResult]:
    """Random kills."""
    progress = Progress("kills")
    progress("starting a stack", now=True)
    async with running_test_stack(folder) as stack:
        run = await random_kills(
            stack,
            decisions=arguments.decisions,
            kills=arguments.kills,
            seed=arguments.seed,
            progress=lambda so_far: progress(
                f"{so_far.decisions:,} of {arguments.decisions:,} decisions, {so_far.kills.total()} kills, "
                f"{len(so_far.faults)} faults"
            ),
        )
    killed = ", ".join(f"{name} {count}" for name, count in sorted(run.kills.items()))
    said = f"{run.decisions:,} decisions under {run.kills.total()} kills ({killed})"
    yield TrialResult(said, run.faults)


async def duplicates(arguments: argparse.Namespace, folder: Path) -> AsyncIterator[TrialResult]:
    """Identical requests at once."""
    progress = Progress("duplicates")
    progress("starting a stack", now=True)
    async with running_test_stack(folder, failpoints=False) as stack:
        found = await send_duplicates(
            stack,
            arguments.keys,
            progress=lambda so_far: progress(
                f"{so_far.keys} of {arguments.keys} keys, {len(so_far.faults)} faults"
            ),
        )
    said = f"{found.keys} keys, each sent {CALLERS} times at once: {found.workflows} workflows"
    yield TrialResult(said, found.faults)


async def timed_races(arguments: argparse.Namespace, folder: Path) -> AsyncIterator[TrialResult]:
    """Decisions at the end of the wait."""
    progress = Progress("races")
    progress("starting a stack with fast clocks", now=True)
    async with race_stack(folder) as stack_of_races:
        for rival in Rival:
            yield await _races_against(rival, stack_of_races, arguments.races)


async def _races_against(rival: Rival, stack_of_races: RaceStack, count: int) -> TrialResult:
    progress = Progress(f"race: {rival}")
    held = await races(
        stack_of_races,
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
    return TrialResult(said, held.faults)


TRIALS: dict[str, Trial] = {"kills": kills, "duplicates": duplicates, "races": timed_races}


async def run(arguments: argparse.Namespace, folder: Path) -> int:
    """Runs the trials in turn, and tells each result as it ends; answers the number of faults."""
    faults = 0
    for name in arguments.only or TRIALS:
        place = folder / name
        place.mkdir()
        async for result in TRIALS[name](arguments, place):
            faults += len(result.faults)
            sys.stdout.write(f"{'✗' if result.faults else '✓'} {result.said}\n")
            sys.stdout.writelines(f"  ✗ {fault}\n" for fault in result.faults)
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
        "--only", action="append", choices=TRIALS, metavar="NAME", help="this trial; may be given again"
    )
    parser.add_argument(
        "--decisions", type=_count, default=3000, metavar="N", help="under random kills (3000)"
    )
    parser.add_argument("--kills", type=_count, default=200, metavar="N", help="random kills, at least (200)")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="seed of the kills (1)")
    parser.add_argument("--races", type=_count, default=1000, metavar="N", help="against each rival (1000)")
    parser.add_argument("--keys", type=_count, default=100, metavar="N", help="of duplicate requests (100)")
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
