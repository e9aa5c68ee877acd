"""Status of a witness, for health checks and `placet doctor`.

`python -m placet_witness.status FOLDER` is the probe: its exit status is 0 while the witness watches and no
alarm is on.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pydantic import TypeAdapter

from placet_witness.domain import Alarm

FILE = "status.json"

# Intervals without a look after which a witness counts as stopped.
_LATE = 3


@dataclass(frozen=True, slots=True)
class Status:
    """Status of a witness, as FILE holds it. `size`: of the last checkpoint of the log `origin` that it
    cosigned; None before the first. `last_look`: when it last asked the log; `last_success`: when it last
    cosigned or confirmed a checkpoint. Times are aware."""

    interval_seconds: float
    origin: str = ""
    size: int | None = None
    last_look: datetime | None = None
    last_success: datetime | None = None
    alarm: Alarm | None = None

    def fault(self, now: datetime) -> str:
        """Describes the alarm or failure; "" if there is none."""
        if self.alarm is not None:
            return f"{self.alarm.kind} since {_shown(self.alarm.since)}: {self.alarm.why}"
        if self.last_look is None:
            return "the witness has not looked at the log yet"
        if now - self.last_look > timedelta(seconds=_LATE * self.interval_seconds):
            return f"the witness has not looked at the log since {_shown(self.last_look)}"
        return ""

    def as_json(self) -> str:
        """Returns the content of FILE."""
        return _JSON.dump_json(self, indent=1).decode() + "\n"

    @classmethod
    def parse(cls, text: str) -> Status:
        """Parses what `as_json` wrote. Raises ValueError for anything else."""
        return _JSON.validate_json(text)


_JSON = TypeAdapter(Status)


def _shown(time: datetime) -> str:
    return time.isoformat(timespec="seconds")


def read_status(folder: Path) -> Status | None:
    """Reads the status of a folder's witness; None if there is none that can be read."""
    try:
        return Status.parse((folder / FILE).read_text())
    except (OSError, ValueError):
        return None


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the probe's exit status: 0 if all is well, else 1, and the output says what is not."""
    parser = argparse.ArgumentParser(prog="placet_witness.status", description=__doc__)
    parser.add_argument("folder", type=Path, help="the witness's folder (PLACET_WITNESS_FOLDER)")
    folder: Path = parser.parse_args(arguments).folder
    status = read_status(folder)
    fault = f"no witness runs on {folder}" if status is None else status.fault(datetime.now(UTC))
    if fault:
        sys.stdout.write(fault + "\n")
    return 1 if fault else 0


if __name__ == "__main__":
    sys.exit(main())
