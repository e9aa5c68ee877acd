"""Parsers of what users write as options: labels, assignments, times; and the words for wrong values."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import typer

from placet_cli.problems import Problem

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_LENGTH = re.compile(
    r"(?P<count>[0-9]{1,6})\s*(?P<unit>s|sec|seconds?|min|minutes?|h|hours?|d|days?|w|weeks?)", re.IGNORECASE
)


def plain_message(error: typer.BadParameter) -> str:
    """The message of an option's error, without the words of the library that checked it."""
    # Imported late: only a wrong command line needs it.
    from pydantic import ValidationError

    from placet_rpc.settings import describe_fault

    cause = error.__cause__
    if not isinstance(cause, ValidationError):
        return error.message
    return "; ".join(describe_fault(one) for one in cause.errors())


def labels_of(given: list[str]) -> dict[str, str]:
    """KEY=VALUE, each. Raises Problem."""
    labels = {}
    for one in given:
        key, equals, value = one.partition("=")
        if not key or not equals:
            raise Problem(f"--label {one} is not KEY=VALUE", tries=("--label team=payments",))
        labels[key] = value
    return labels


def assignments_of(given: list[str]) -> dict[str, list[str]]:
    """SLOT=WHO, each; several people of a slot by a comma or by giving it again. Raises Problem."""
    assignments: dict[str, list[str]] = {}
    for one in given:
        slot, _, people = one.partition("=")
        named = [person.strip() for person in people.split(",") if person.strip()]
        if not slot or not named:
            raise Problem(f"--assign {one} is not SLOT=WHO", tries=("--assign legal=carol@example.com",))
        assignments.setdefault(slot, []).extend(named)
    return assignments


def deadline_of(given: str) -> datetime | None:
    """A length of time from now on, or a point in time; None when none is given. Raises Problem."""
    return _time_of("--deadline", given, 1)


def past_of(option: str, given: str) -> datetime | None:
    """A length of time before now, or a point in time; None when none is given. Raises Problem."""
    return _time_of(option, given, -1)


def _time_of(option: str, given: str, direction: int) -> datetime | None:
    """A point in time without a zone is local."""
    if not given:
        return None
    length = _LENGTH.fullmatch(given.strip())
    if length is not None:
        span = timedelta(**{_UNITS[length["unit"][0].lower()]: int(length["count"])})
        return datetime.now(UTC) + direction * span
    try:
        return datetime.fromisoformat(given).astimezone()
    except (ValueError, OverflowError):
        raise Problem(
            f"{option} {given} is no time",
            "write a number with s, min, h, days or weeks, or a date with a time",
            tries=(f"{option} '90 min'", f"{option} '2 days'", f"{option} 2030-01-31T12:00"),
        ) from None
