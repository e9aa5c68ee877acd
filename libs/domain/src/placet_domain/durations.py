"""Durations as policies write them: "30 s", "5 min", "2 h", "3 d".

No pydantic here: the command line imports it.
"""

from __future__ import annotations

import re
from datetime import timedelta

_UNITS = {"s": 1, "min": 60, "h": 3600, "d": 86400}
_WRITTEN = re.compile(r"^([0-9]{1,12}) ?(s|min|h|d)\Z")
_LONGEST = 3650 * _UNITS["d"]


def parse_duration(written: object) -> object:
    """`"2 h"` or `"2h"` → two hours; a timedelta passes unchanged.

    Raises ValueError for everything else: a bare number has no unit, and a wait of zero asks nobody.
    """
    if isinstance(written, timedelta):
        return written
    match = _WRITTEN.match(written) if isinstance(written, str) else None
    if match is None:
        raise ValueError(f"{written!r} is not a duration; write for example '30 s', '5 min', '2 h' or '3 d'")
    seconds = int(match[1]) * _UNITS[match[2]]
    if not 0 < seconds <= _LONGEST:
        raise ValueError(f"{written!r} is not between 1 s and 3650 d")
    return timedelta(seconds=seconds)


def format_duration(duration: timedelta) -> str:
    """The shortest exact way to write whole seconds as `parse_duration` reads them: 7200 s → `"2 h"`."""
    seconds = int(duration.total_seconds())
    for unit in ("d", "h", "min"):
        if seconds and seconds % _UNITS[unit] == 0 and not (unit == "d" and seconds < 2 * _UNITS["d"]):
            return f"{seconds // _UNITS[unit]} {unit}"
    return f"{seconds} s"


def describe_duration(duration: timedelta) -> str:
    """A duration for people, by its two largest units: 7203 s → `"2 h"`, 5400 s → `"1 h 30 min"`.

    Days count from two on, as policies write them: `"24 h"`.
    """
    seconds = round(duration.total_seconds())
    units = ("d", "h", "min", "s") if seconds >= 2 * _UNITS["d"] else ("h", "min", "s")
    largest = next((unit for unit in units if seconds >= _UNITS[unit]), "s")
    smaller = {"d": "h", "h": "min", "min": "s", "s": "s"}[largest]
    rounded = round(seconds / _UNITS[smaller]) * _UNITS[smaller]
    whole, rest = divmod(rounded, _UNITS[largest])
    return f"{whole} {largest}" + (f" {rest // _UNITS[smaller]} {smaller}" if rest else "")
