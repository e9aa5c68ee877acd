"""Text of a report: what others wrote, and times."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from placet_text import one_line

# For text that others wrote: on one line, without what could steer a terminal or deceive its reader.
clean = one_line


def utc(time: datetime) -> str:
    """A point in time: "2026-01-31 12:00:00 UTC"."""
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def age(duration: timedelta) -> str:
    """A span of time by its largest unit: "12 s", "3 min", "2 d"."""
    seconds = max(int(duration.total_seconds()), 0)
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds // length} {unit}"
    return f"{seconds} s"
