"""Points and spans of time in words, in local time with the zone said."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from google.protobuf.timestamp_pb2 import Timestamp

from placet_domain.durations import describe_duration

# Of `span`, for ten thousand days: "59 min 59 s".
SPAN_WIDTH = 11


def earlier(one: Timestamp | None, other: Timestamp | None) -> Timestamp | None:
    """The earlier of two times; None when there is none."""
    given = [time for time in (one, other) if time is not None]
    return min(given, key=lambda time: (time.seconds, time.nanos)) if given else None


def until_words(end: Timestamp | None) -> str:
    """ "until 2026-01-31 12:00:00 CET", or "without limit"."""
    return "without limit" if end is None else f"until {point(end)}"


def span(duration: timedelta) -> str:
    """A span of time in at most SPAN_WIDTH columns: "0.3 s", "12.4 s", "2 h", "1 h 30 min"."""
    seconds = duration.total_seconds()
    return f"{max(seconds, 0):.1f} s" if seconds < 60 else describe_duration(duration)


def age(duration: timedelta) -> str:
    """A span of time by its largest unit: "12 s", "3 min", "2 d"."""
    seconds = max(int(duration.total_seconds()), 0)
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds // length} {unit}"
    return f"{seconds} s"


def left(duration: timedelta) -> str:
    """A span of time that is left, never overstated, in at most seven columns: "1.9 h", "12 h", "59 s"."""
    seconds = max(int(duration.total_seconds()), 0)
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        tenths = 10 * seconds // length
        if tenths >= 10:
            return f"{tenths / 10:g} {unit}" if tenths < 100 else f"{tenths // 10} {unit}"
    return f"{seconds} s"


def point(stamp: Timestamp) -> str:
    """A point in local time with its zone: "2026-01-31 12:00:00 CET"."""
    return point_of(local(stamp))


def local(stamp: Timestamp) -> datetime:
    """A point in time with the local zone."""
    return stamp.ToDatetime(tzinfo=UTC).astimezone()


def point_of(time: datetime) -> str:
    """The same of a time that is aware of its zone."""
    return f"{time.astimezone():%Y-%m-%d %H:%M:%S %Z}"
