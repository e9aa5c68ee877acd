"""The policies that requests may name: the built-in files, and those of the operator's folder."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

from pydantic import ValidationError

from placet_workflows.policy import Policy


class BadPolicy(Exception):
    """A policy file that cannot be used; the message names the file and what is wrong."""


def load(folder: Path | None) -> Mapping[str, Policy]:
    """All policies by name; one in `folder` takes the place of a built-in one of the same name.

    Raises BadPolicy. Read once at start: a running service's policies do not change under it.
    """
    texts = {entry.name: entry.read_text() for entry in (files(__package__) / "policies").iterdir()}
    policies = [_parse(name, text) for name, text in texts.items() if name.endswith(".toml")]
    if folder is not None:
        policies += [_parse(str(path), path.read_text()) for path in sorted(folder.glob("*.toml"))]
    return {policy.name: policy for policy in policies}


def _parse(name: str, text: str) -> Policy:
    try:
        return Policy.from_toml(text)
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(str(part) for part in fault['loc']) or 'policy'}: {fault['msg']}"
            for fault in error.errors()
        )
        raise BadPolicy(f"{name}: {faults}") from error
    except ValueError as error:
        raise BadPolicy(f"{name}: {error}") from error
