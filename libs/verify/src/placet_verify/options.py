"""A request to verify a log: its source, its keys, and what to print."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Defaults:
    """Stand-ins for options that were not given: those of an embedded stack's home, or none."""

    database: Path | None = None
    key_file: Path | None = None
    witness: Path | None = None
    attestation_keys: Path | None = None


@dataclass(frozen=True)
class Request:
    """The options of a verification, empty where none was given."""

    database: str = ""
    export: Path | None = None
    witness: Path | None = None
    keys: Sequence[str] = ()
    origin: str = ""
    tenant: str = ""
    most: int = 20
    own_witness: bool = False
    """Set where `witness` is the default one."""

    @property
    def options(self) -> str:
        """All options except the keys, as they stand in a command that can be pasted."""
        given = {
            # It may hold a password.
            "--database": "URL" if "@" in self.database else self.database,
            "--export": self.export,
            "--witness": self.witness,
            "--origin": self.origin,
            "--tenant": self.tenant,
        }
        return "".join(f" {name} {shlex.quote(str(value))}" for name, value in given.items() if value)
