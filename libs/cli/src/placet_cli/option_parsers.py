"""Parsers of what users write as options: addresses, labels, assignments, times; words for wrong values.

Each parser raises WrongInput.
"""

from __future__ import annotations

import contextlib
import re
import shlex
import uuid
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import typer

from placet_cli.problems import WrongInput
from placet_text import named, visible

LEAST_PREFIX = 4
_ADDRESS = re.compile(r"[^@\s,]{1,64}@[^@\s,]{1,189}")
_PREFIX = re.compile(rf"[0-9a-f-]{{{LEAST_PREFIX},36}}", re.IGNORECASE)
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_LENGTH = re.compile(
    r"(?P<count>[0-9]{1,6})\s*(?P<unit>s|sec|seconds?|min|minutes?|h|hours?|d|days?|w|weeks?)", re.IGNORECASE
)

# The slots that have options of their own. --assign fills any other.
OPTION_OF_SLOT = {"required_approver": "--approver", "manager_approver": "--manager"}


def plain_message(error: typer.BadParameter) -> str:
    """The message of an option's error, without the words of the library that checked it."""
    # Imported late: only a wrong command line needs it.
    from pydantic import ValidationError

    from placet_rpc.settings import describe_fault

    cause = error.__cause__
    if not isinstance(cause, ValidationError):
        return error.message
    return "; ".join(describe_fault(one) for one in cause.errors())


def is_address(text: str) -> bool:
    """True for what is written like a person's address."""
    return text.isascii() and _ADDRESS.fullmatch(text) is not None


def address_of(option: str, given: str) -> str:
    """A person's address."""
    return _address(f"{option} ", given)


def _address(before: str, given: str) -> str:
    if not given.isascii():
        raise _not_ascii(before, given)
    if not is_address(given):
        raise WrongInput(f"{before}{given} is not an e-mail address", tries=(f"{before}alice@example.com",))
    return given


def addresses_of(option: str, given: Iterable[str]) -> list[str]:
    """The addresses of an option that is given once for each person, or with several by a comma."""
    return [address_of(option, part) for one in given for part in _parts(one)]


def check_id(given: str) -> None:
    """Checks that this is a request's id or the beginning of one."""
    try:
        uuid.UUID(given)
    except ValueError:
        if not _PREFIX.fullmatch(given):
            raise WrongInput(
                f"{given!r} is not a request's id",
                f"an id is a UUID; its first {LEAST_PREFIX} or more characters will do while they are unique",
                tries=("placet list",),
            ) from None


def labels_of(given: Iterable[str]) -> dict[str, str]:
    """KEY=VALUE, each."""
    labels = {}
    for one in given:
        key, equals, value = one.partition("=")
        if not key or not equals:
            raise WrongInput(f"--label {one} is not KEY=VALUE", tries=("--label team=payments",))
        labels[key] = value
    return labels


def facts_of(given: Iterable[str]) -> dict[str, str]:
    """NAME=VALUE, each name once."""
    facts: dict[str, str] = {}
    for one in given:
        name, equals, value = one.partition("=")
        if not name or not equals or not value:
            raise WrongInput(f"--fact {one} is not NAME=VALUE", tries=("--fact kind=payment",))
        if name in facts:
            raise WrongInput(f"--fact {name} is given twice", tries=(f"--fact {name}={shlex.quote(value)}",))
        facts[name] = value
    return facts


def assignments_of(
    approvers: Iterable[str], managers: Iterable[str], others: Iterable[str]
) -> dict[str, list[str]]:
    """People by slot: those of --approver and --manager, and each SLOT=WHO of --assign.

    Several people of a slot are written with commas, or by giving the option again.
    """
    people_of = {
        "required_approver": addresses_of("--approver", approvers),
        "manager_approver": addresses_of("--manager", managers),
    }
    for one in others:
        slot, _, people = one.partition("=")
        if slot in OPTION_OF_SLOT:
            option = OPTION_OF_SLOT[slot]
            raise WrongInput(
                f"--assign {one}: this slot is filled by {option}", tries=(f"{option} {people}",)
            )
        if not slot or not _parts(people):
            raise WrongInput(f"--assign {one} is not SLOT=WHO", tries=("--assign legal=carol@example.com",))
        people_of.setdefault(slot, []).extend(_address(f"--assign {slot}=", part) for part in _parts(people))
    return {slot: people for slot, people in people_of.items() if people}


def _parts(given: str) -> list[str]:
    return [part.strip() for part in given.split(",") if part.strip()]


def option_of_slot(slot: str) -> str:
    """The option that fills a slot, to be followed by who does: "--approver ", "--assign legal="."""
    return f"{OPTION_OF_SLOT[slot]} " if slot in OPTION_OF_SLOT else f"--assign {slot}="


def _not_ascii(before: str, address: str) -> WrongInput:
    other = next(letter for letter in address if not letter.isascii())
    local, _, domain = address.rpartition("@")
    tries: tuple[str, ...] = ()
    if local.isascii():
        with contextlib.suppress(UnicodeError):
            written = shlex.quote(f"{local}@{domain.encode('idna').decode()}")
            tries = (f"{before}{written}  (the same domain in ASCII, if you mean this letter)",)
    return WrongInput(
        f"{before}{visible(address)} is not an e-mail address in ASCII letters: it holds {named(other)}",
        "people are known by addresses in ASCII letters; another letter may look like one of them",
        tries=(*tries, f"{before}alice@example.com"),
    )


def deadline_of(given: str) -> datetime | None:
    """A length of time from now on, or a point in time; None when none is given."""
    return _time_of("--deadline", given, 1)


def past_of(option: str, given: str) -> datetime | None:
    """A length of time before now, or a point in time; None when none is given."""
    return _time_of(option, given, -1)


def _time_of(option: str, given: str, direction: int) -> datetime | None:
    """A point in time without a zone is local."""
    if not given:
        return None
    length = _LENGTH.fullmatch(given.strip())
    try:
        if length is not None:
            span = timedelta(**{_UNITS[length["unit"][0].lower()]: int(length["count"])})
            return datetime.now(UTC) + direction * span
        time = datetime.fromisoformat(given)
        first, second = (time.replace(fold=fold).astimezone() for fold in (0, 1))
    except (ValueError, OverflowError):
        raise WrongInput(
            f"{option} {given} is no time",
            "write a number with s, min, h, days or weeks, or a date with a time",
            tries=(f"{option} '90 min'", f"{option} '2 days'", f"{option} 2030-01-31T12:00"),
        ) from None
    if first != second:
        # PEP 495: a time that clocks skip is moved by the change, whatever its fold.
        why = "exists twice" if first.replace(tzinfo=None) == time else "does not exist"
        raise WrongInput(
            f"{option} {given} {why}: the clocks of this zone change then",
            "say with the offset from UTC which time is meant",
            tries=tuple(f"{option} {one.isoformat()}" for one in sorted((first, second))),
        )
    return first
