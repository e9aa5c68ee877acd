"""Parsers of what users write as options: labels, assignments, addresses, times."""

from __future__ import annotations

import contextlib
import re
import shlex
from datetime import UTC, datetime, timedelta

from placet_cli.problems import Problem
from placet_text import named, visible

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


def assignments_of(given: list[str]) -> dict[str, list[str]]:
    """SLOT=WHO, each; several people of a slot by a comma or by giving it again. Raises Problem."""
    assignments: dict[str, list[str]] = {}
    for one in given:
        slot, _, people = one.partition("=")
        given_people = [person.strip() for person in people.split(",") if person.strip()]
        if not slot or not given_people:
            raise Problem(f"--assign {one} is not SLOT=WHO", tries=("--assign legal=carol@example.com",))
        assignments.setdefault(slot, []).extend(
            ascii_address("--assign", person, before=f"{slot}=") for person in given_people
        )
    return assignments


def ascii_address(option: str, address: str, *, before: str = "") -> str:
    """The address, if it is ASCII; the option's value has `before` before it.

    Raises Problem, which names the letter that is not ASCII.
    """
    if address.isascii():
        return address
    other = next(letter for letter in address if not letter.isascii())
    local, _, domain = address.rpartition("@")
    tries: tuple[str, ...] = ()
    if local.isascii():
        with contextlib.suppress(UnicodeError):
            written = f"{before}{local}@{domain.encode('idna').decode()}"
            tries = (f"{option} {shlex.quote(written)}  (the same domain in ASCII, if you mean this letter)",)
    raise Problem(
        f"{option} {before}{visible(address)} is not an e-mail address in ASCII letters: "
        f"it holds {named(other)}",
        "people are known by addresses in ASCII letters; another letter may look like one of them",
        tries=(*tries, f"{option} {before}alice@example.com"),
    )


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
        time = datetime.fromisoformat(given)
        first, second = (time.replace(fold=fold).astimezone() for fold in (0, 1))
    except (ValueError, OverflowError):
        raise Problem(
            f"{option} {given} is no time",
            "write a number with s, min, h, days or weeks, or a date with a time",
            tries=(f"{option} '90 min'", f"{option} '2 days'", f"{option} 2030-01-31T12:00"),
        ) from None
    if first != second:
        # PEP 495: a time that clocks skip is moved by the change, whatever its fold.
        why = "exists twice" if first.replace(tzinfo=None) == time else "does not exist"
        raise Problem(
            f"{option} {given} {why}: the clocks of this zone change then",
            "say with the offset from UTC which time is meant",
            tries=tuple(f"{option} {one.isoformat()}" for one in sorted((first, second))),
        )
    return first
