"""The record of a running stack, which its supervisor writes and other commands read."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

# psutil publishes no types; what is used of it is typed here at once.
import psutil

from placet_cli.home import Home
from placet_cli.local_stack import UP
from placet_cli.problems import Problem
from placet_devstack.process_table import Holder


@dataclass(frozen=True)
class StackState:
    """The stack of a home, as its supervisor last recorded it."""

    pid: int
    created: float
    port_base: int
    processes: dict[str, Holder]
    phase: str = UP
    ready: tuple[str, ...] = ()
    parts: int = 0

    @classmethod
    def read(cls, home: Home) -> StackState | None:
        """The state that was written last, by a supervisor that may be gone; None without a readable one."""
        try:
            state = json.loads(home.state.read_text())
            processes = {
                name: Holder(int(entry["pid"]), float(entry["created"]), str(entry["command"]))
                for name, entry in state["processes"].items()
            }
            return cls(
                int(state["pid"]),
                float(state["created"]),
                int(state["port_base"]),
                processes,
                str(state["phase"]),
                tuple(map(str, state["ready"])),
                int(state["parts"]),
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            # Missing or torn: a supervisor that was killed may leave anything.
            return None

    @classmethod
    def running(cls, home: Home) -> StackState | None:
        """The state of the stack that runs on a home; None when none does."""
        state = cls.read(home)
        return state if state is not None and state.alive else None

    @property
    def alive(self) -> bool:
        """True while the supervisor that wrote it runs."""
        holder = Holder.of(self.pid)
        return holder is not None and holder.created == self.created


def write_state(
    home: Home,
    port_base: int,
    pids: dict[str, int],
    *,
    phase: str = UP,
    ready: Sequence[str] = (),
    parts: int = 0,
) -> None:
    """Records what runs, in one step."""
    holders = {name: holder for name, pid in pids.items() if (holder := Holder.of(pid)) is not None}
    own = Holder.of(os.getpid())
    created = 0.0 if own is None else own.created
    state = StackState(os.getpid(), created, port_base, holders, phase, tuple(ready), parts)
    _write(home.state, state)


@dataclass(frozen=True)
class StartFailure:
    """A start that failed: the process that tried it, when (seconds since 1970), on which ports, and why."""

    pid: int
    time: float
    port_base: int
    what: str
    why: str
    tries: tuple[str, ...]

    @classmethod
    def read(cls, home: Home) -> StartFailure | None:
        """The failure of the last start; None when it did not fail, or no readable record says so."""
        try:
            record = json.loads(home.start_failure.read_text())
            return cls(
                int(record["pid"]),
                float(record["time"]),
                int(record["port_base"]),
                str(record["what"]),
                str(record["why"]),
                tuple(map(str, record["tries"])),
            )
        except (OSError, ValueError, KeyError, TypeError):
            return None

    @property
    def problem(self) -> Problem:
        """The error as the start itself raised it."""
        return Problem(self.what, self.why, tries=self.tries)


def record_failure(home: Home, port_base: int, problem: Problem) -> None:
    """Records why this process could not start the stack; a home that takes no record is left without one."""
    failure = StartFailure(os.getpid(), time.time(), port_base, problem.what, problem.why, problem.tries)
    with contextlib.suppress(OSError):
        _write(home.start_failure, failure)


def _write(path: Path, record: StackState | StartFailure) -> None:
    """Writes a record in one step."""
    temporary = path.with_suffix(".new")
    temporary.write_text(json.dumps(asdict(record), indent=1))
    temporary.replace(path)


def home_of(holder: Holder) -> Path | None:
    """The home of the stack that a process is part of; None when it is part of none, or not ours to see."""
    try:
        home = psutil.Process(holder.pid).environ().get("PLACET_HOME")
    except psutil.Error:
        return None
    # Whoever has set the variable hands it to all that they start; a stack has written down its own.
    state = StackState.read(Home.at(Path(home))) if home else None
    return Path(home) if home and state is not None and holder in state.processes.values() else None
