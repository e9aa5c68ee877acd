"""The policies that requests may name: the built-in files, and those of the operator's folder."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib.resources import files
from pathlib import Path

from pydantic import ValidationError

from placet_domain.policy import Policy


class BadPolicy(Exception):
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


def _plain(fault: str) -> str:
    """Without the words of the library that checked it."""
    if fault.startswith("String should match pattern"):
        return "must be lower-case letters, digits and hyphens, beginning with a letter"
    return fault.removeprefix("Value error, ")


def _parse(file: str, text: bytes) -> Policy:
    try:
        return Policy.from_toml(text.decode())
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(str(part) for part in fault['loc']) or 'policy'}: {_plain(fault['msg'])}"
            for fault in error.errors()
        )
        raise BadPolicy(f"{file}: {faults}") from error
    except ValueError as error:
        raise BadPolicy(f"{file}: {error}") from error
