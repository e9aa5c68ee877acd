"""The status file of a witness: its alarm, and when it last saw the log."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

STATUS_FILE = "status.json"
SILENCE = "SILENCE"

# Intervals after which a witness that wrote nothing does not run any more, as elsewhere too.
_LATE = 3


@dataclass(frozen=True, slots=True)
class Alarm:
    """An alarm: its kind, its begin, and its reason in the witness's words."""

    kind: str
    since: str
    why: str

    @property
    def what(self) -> str:
        """In words."""
        return f"{self.kind} since {self.since}: {self.why}"


@dataclass(frozen=True, slots=True)
class WitnessStatus:
    """`origin`: the log that is watched, "" before its first good checkpoint. `looked`: when it was asked
    last, `saw`: when it last answered well, both POSIX, 0: never. `interval` in seconds."""

    origin: str
    looked: float
    saw: float
    interval: float
    alarm: Alarm | None

    def live_alarm(self, now: datetime) -> Alarm | None:
        """The alarm that is on. A log's silence is over when nobody listens any more."""
        late = timedelta(seconds=now.timestamp() - self.looked) > timedelta(seconds=_LATE * self.interval)
        return None if self.alarm is not None and self.alarm.kind == SILENCE and late else self.alarm


def read_status(folder: Path) -> WitnessStatus | None:
    """Reads the status of a witness's folder; None when there is none, or it cannot be read."""
    try:
        fields = json.loads((folder / STATUS_FILE).read_text())
        alarm = fields["alarm"]
        return WitnessStatus(
            str(fields["origin"]),
            _time(fields["last_look"]),
            _time(fields["last_success"]),
            float(fields["interval_seconds"]),
            alarm and Alarm(*(str(alarm[name]) for name in ("kind", "since", "why"))),
        )
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None


def _time(text: str | None) -> float:
    return 0 if text is None else datetime.fromisoformat(text).astimezone(UTC).timestamp()
