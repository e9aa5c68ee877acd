"""Parsers of option values: labels and deadlines."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from placet_cli.problems import Problem

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_LENGTH = re.compile(
    r"(?P<count>[0-9]{1,6})\s*(?P<unit>s|sec|seconds?|min|minutes?|h|hours?|d|days?|w|weeks?)", re.IGNORECASE
)


def labels_of(given: list[str]) -> dict[str, str]:
    """KEY=VALUE, each. Raises Problem."""
    labels = {}
    for one in given:
        key, equals, value = one.partition("=")
        if not key or not equals:
            raise Problem(f"--label {one} is not KEY=VALUE", tries=("--label team=payments",))
        labels[key] = value
    return labels


def deadline_of(given: str) -> datetime | None:
    """A length of time from now on, or a point in time; without a zone by the clock on the wall.

    None when none is given. Raises Problem.
    """
    if not given:
        return None
    length = _LENGTH.fullmatch(given.strip())
    if length is not None:
        return datetime.now(UTC) + timedelta(**{_UNITS[length["unit"][0].lower()]: int(length["count"])})
    try:
        return datetime.fromisoformat(given).astimezone()
    except (ValueError, OverflowError):
        raise Problem(
            f"--deadline {given} is no time",
            "write a number with s, min, h, days or weeks, or a date with a time",
            tries=("--deadline '90 min'", "--deadline '2 days'", "--deadline 2030-01-31T12:00"),
        ) from None
