"""The policies that requests may name: the built-in files, and those of the operator's folder."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from placet_domain.policy import Policy


class BadPolicy(ValueError):
    """A policy file that cannot be used; the message names the file and what is wrong."""


def load(folder: Path | None) -> Mapping[str, Policy]:
    """All policies by name; one in `folder` takes the place of a built-in one of the same name.

    Raises BadPolicy. Read once at start: a running service's policies do not change under it.
    """
    own = (files(__package__) / "policies").iterdir()
    built_in = _by_name((entry.name, entry.read_bytes()) for entry in own if entry.name.endswith(".toml"))
    return built_in if folder is None else {**built_in, **_read(folder)}


def _read(folder: Path) -> dict[str, Policy]:
    if not folder.is_dir():
        raise BadPolicy(f"{folder} is not a folder with policies")
    try:
        return _by_name((str(path), path.read_bytes()) for path in sorted(folder.glob("*.toml")))
    except OSError as error:
        raise BadPolicy(f"{error.filename}: {error.strerror}") from error


def _by_name(texts: Iterable[tuple[str, bytes]]) -> dict[str, Policy]:
    found: dict[str, Policy] = {}
    for file, text in texts:
        policy = _parse(file, text)
        if policy.name in found:
            raise BadPolicy(f"{file}: another file of this folder holds policy {policy.name!r} too")
        found[policy.name] = policy
    return found


def _parse(file: str, text: bytes) -> Policy:
    try:
        body = tomllib.loads(text.decode())
    except ValueError as error:
        raise BadPolicy(f"{file}: {error}") from error
    try:
        return Policy.model_validate(body)
    except ValidationError as error:
        # A tier with a mistake also makes the list of tiers too short.
        found = [one for one in error.errors() if one["type"] != "too_short" or error.error_count() == 1]
        faults = dict.fromkeys(_fault(body, one) for one in found)
        raise BadPolicy(f"{file}: {'; '.join(faults)}") from error


# Any: a fault as pydantic gives it, and a body as its author wrote it.
def _fault(body: Mapping[str, Any], fault: Mapping[str, Any]) -> str:
    """One fault as a sentence: "tier 2 (manager), timeout: '5 x' is not a duration; …"."""
    place, message = _place(body, fault["loc"]), _message(fault)
    return f"{place}: {message}" if place else message


def _place(body: Mapping[str, Any], location: Sequence[object]) -> str:
    match location:
        case ("tiers", int(index), *inner):
            tier = body["tiers"][index]
            name = tier.get("name") if isinstance(tier, dict) else None
            start = f"tier {index + 1} ({name})" if isinstance(name, str) else f"tier {index + 1}"
            # Behind the field come the names of the model's own types, which say nothing to an author.
            return ", ".join((start, *map(str, inner[:1])))
        case ("allow", int(index), *inner):
            return ", ".join((_rule(body["allow"][index], index), *map(str, inner[:1])))
        case _:
            return ", ".join(str(part) for part in location[:2])


def _rule(rule: object, index: int) -> str:
    name = rule.get("name") if isinstance(rule, dict) else None
    return f"allow-rule {index + 1} ({name})" if isinstance(name, str) else f"allow-rule {index + 1}"


def _message(fault: Mapping[str, Any]) -> str:
    """The message without the words of the library that checked it."""
    message: str = fault["msg"]
    match fault["type"]:
        case "missing":
            return "is missing"
        case "extra_forbidden":
            return "is no key of a policy"
        case "string_pattern_mismatch":
            return (
                f"{fault['input']!r} has characters that are not allowed; write lower-case letters and digits"
            )
        case _:
            return message.removeprefix("Value error, ")
