"""Status of a witness, for health checks and `placet doctor`.

`python -m placet_witness.status FOLDER` is the probe: its exit status is 0 while the witness watches and no
alarm is on.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from placet_witness.domain import Alarm, Kind

FILE = "status.json"

# Intervals without a look after which a witness counts as stopped.
_LATE = 3


@dataclass(frozen=True, slots=True)
class Status:
    """Status of a witness. `interval` in seconds; times are aware. `size`: of the last checkpoint of the log
    `origin` that it cosigned; None before the first. `looked`: when it last asked the log; `succeeded`: when
    it last cosigned or confirmed a checkpoint."""

    interval: float
    origin: str = ""
    size: int | None = None
    looked: datetime | None = None
    succeeded: datetime | None = None
    alarm: Alarm | None = None

    def fault(self, now: datetime) -> str:
        """Describes the alarm or failure; "" if there is none."""
        if self.alarm is not None:
            return f"{self.alarm.kind} since {_shown(self.alarm.since)}: {self.alarm.why}"
        if self.looked is None:
            return "the witness has not looked at the log yet"
        if now - self.looked > timedelta(seconds=_LATE * self.interval):
            return f"the witness has not looked at the log since {_shown(self.looked)}"
        return ""

    def as_json(self) -> str:
        """Returns the content of FILE."""
        alarm = self.alarm and {
            "kind": self.alarm.kind,
            "since": self.alarm.since.isoformat(),
            "why": self.alarm.why,
        }
        fields = {
            "origin": self.origin,
            "size": self.size,
            "last_look": self.looked and self.looked.isoformat(),
            "last_success": self.succeeded and self.succeeded.isoformat(),
            "alarm": alarm,
            "interval_seconds": self.interval,
        }
        return json.dumps(fields, indent=1) + "\n"

    @classmethod
    def parse(cls, text: str) -> Status:
        """Parses what `as_json` wrote. Raises ValueError for anything else."""
        try:
            fields = json.loads(text)
            alarm = fields["alarm"]
            return cls(
                interval=float(fields["interval_seconds"]),
                origin=str(fields["origin"]),
                size=None if fields["size"] is None else int(fields["size"]),
                looked=_time(fields["last_look"]),
                succeeded=_time(fields["last_success"]),
                alarm=alarm and Alarm(Kind(alarm["kind"]), _read(alarm["since"]), str(alarm["why"])),
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"this is not a witness's status: {error!r}") from error


def _shown(time: datetime) -> str:
    return time.isoformat(timespec="seconds")


def _time(text: str | None) -> datetime | None:
    return None if text is None else _read(text)


def _read(text: str) -> datetime:
    return datetime.fromisoformat(text)


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
