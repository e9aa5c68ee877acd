"""The status file of a witness: its alarm, and when it last saw the log."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from placet_proof import read_object
from placet_verify.files import MOST_WITNESS_BYTES, read_bytes

STATUS_FILE = "status.json"
SILENCE = "SILENCE"

# A year, in seconds.
_LONGEST_INTERVAL = 366 * 86400

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
        raw = read_bytes(folder / STATUS_FILE, MOST_WITNESS_BYTES)
        fields = read_object(raw, MOST_WITNESS_BYTES)
        return WitnessStatus(
            _text(fields["origin"]),
            _time(fields["last_look"]),
            _time(fields["last_success"]),
            _seconds(fields["interval_seconds"]),
            _alarm(fields["alarm"]),
        )
    except (OSError, ValueError, KeyError, OverflowError):
        return None


def _text(found: object) -> str:
    if not isinstance(found, str):
        raise ValueError("it is no text")  # noqa: TRY004  # a wrong file, not a wrong call
    return found


def _alarm(found: object) -> Alarm | None:
    if found is None:
        return None
    if not isinstance(found, dict):
        raise ValueError("it is no alarm")  # noqa: TRY004  # as above
    return Alarm(*(_text(found.get(name)) for name in ("kind", "since", "why")))


def _seconds(found: object) -> float:
    if not isinstance(found, int | float) or not 0 <= found <= _LONGEST_INTERVAL:
        raise ValueError("it is no interval")
    return float(found)


def _time(found: object) -> float:
    return 0 if found is None else datetime.fromisoformat(_text(found)).astimezone(UTC).timestamp()
