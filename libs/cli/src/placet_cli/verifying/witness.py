"""What a witness saw of the logs, and keeps where who runs the log cannot change it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from placet_cli.verifying.findings import Check, Findings
from placet_cli.verifying.keys import KnownKeys
from placet_proof import COSIGNATURE, Note, NotProven, VerifierKey

KEY_FILE = "witness.vkey"
SUFFIX = ".checkpoint"


@dataclass(frozen=True, slots=True)
class Seen:
    """A log as a witness saw it: so many entries, with this root, at a POSIX time."""

    tenant: str
    size: int
    root: bytes
    time: int

    @property
    def when(self) -> str:
        """In words."""
        try:
            return f"at {datetime.fromtimestamp(self.time, UTC):%Y-%m-%d %H:%M:%S} UTC"
        except (ValueError, OverflowError, OSError):
            return "at a time that is none"


def witness_key(folder: Path) -> VerifierKey:
    """The witness's key. Raises OSError, ValueError."""
    try:
        key = VerifierKey.parse((folder / KEY_FILE).read_text())
    except NotProven as error:
        raise ValueError(str(error)) from error
    if key.kind != COSIGNATURE:
        raise ValueError("it is the key of a log, and not of a witness")
    return key


def read_seen(folder: Path, key: VerifierKey, keys: KnownKeys, findings: Findings) -> Iterator[Seen]:
    """What the witness saw of the logs of which a key is known; other logs are passed over.

    What it did not sign is among the findings. Raises OSError.
    """
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        try:
            note = Note.parse(path.read_text())
            time, checkpoint = note.verified([key])[key], note.checkpoint
        except (NotProven, UnicodeDecodeError) as error:
            findings.add(Check.WITNESS, "", f"{path.name} is not what the witness signed: {error}")
            continue
        tenant = keys.tenant_of(checkpoint.origin)
        if tenant is not None and checkpoint.size:
            yield Seen(tenant, checkpoint.size, checkpoint.root, time or 0)
