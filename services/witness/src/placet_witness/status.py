"""How a witness stands, as it writes it down for health checks and `placet doctor`. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timedelta

from placet_witness.domain import Alarm, Kind

FILE = "status.json"

# Intervals after which a witness that wrote nothing is not one that was merely held up.
_LATE = 3


@dataclass(frozen=True, slots=True)
class Status:
    """How a witness stands. `interval` in seconds; times are aware. `size`: of the last checkpoint that it
    cosigned, of the log `origin`; None before the first."""

    interval: float
    origin: str = ""
    size: int | None = None
    looked: datetime | None = None
    succeeded: datetime | None = None
    alarm: Alarm | None = None

    def fault(self, now: datetime) -> str:
        """What is wrong, in words; "" where all is well."""
        if self.alarm is not None:
            return f"{self.alarm.kind} since {_shown(self.alarm.since)}: {self.alarm.why}"
        if self.looked is None:
            return "the witness has not looked at the log yet"
        if now - self.looked > timedelta(seconds=_LATE * self.interval):
            return f"the witness has not looked at the log since {_shown(self.looked)}"
        return ""

    def as_json(self) -> str:
        """For programs."""
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
        """Reads what `as_json` wrote. Raises ValueError for anything else."""
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
