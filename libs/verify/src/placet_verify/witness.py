"""Records of a witness: checkpoints that it saw and keeps out of the log operator's reach."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from placet_proof import COSIGNATURE, Note, NotProven, VerifierKey, read_object
from placet_verify.errors import fault_of
from placet_verify.files import MOST_KEY_BYTES, MOST_WITNESS_BYTES, read_bytes, read_text
from placet_verify.findings import Check, Findings
from placet_verify.keys import KnownKeys
from placet_verify.witness_status import Alarm, read_status

KEY_FILE = "witness.vkey"
SUFFIX = ".checkpoint"
ALARM_SUFFIX = ".alarm"

OTHER_LOG = (
    "which no known key of this log signed: the witness watched another log of the same name, of another "
    "home perhaps, or this one was made anew with another key; nothing can be compared"
)


@dataclass(frozen=True, slots=True)
class Seen:
    """A log as a witness saw it: so many entries, with this root, at a POSIX time, and still so at `again`.
    `signed`: whether a known key of the log had signed it, so that it is this log, and not another of the
    same name."""

    tenant: str
    size: int
    root: bytes
    time: int
    signed: bool = True
    again: int = 0

    @property
    def last(self) -> int:
        """Time of the last look: a witness signs each state once."""
        return max(self.time, self.again)

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
        key = VerifierKey.parse(read_text(folder / KEY_FILE, MOST_KEY_BYTES))
    except NotProven as error:
        raise ValueError(str(error)) from error
    if key.kind != COSIGNATURE:
        raise ValueError("it is the key of a log, and not of a witness")
    return key


def read_seen(folder: Path, key: VerifierKey, keys: KnownKeys, findings: Findings) -> Iterator[Seen]:
    """Reads the witness's checkpoints of logs with a known key; skips other logs.

    What it did not sign is among the findings. Raises OSError.
    """
    status = read_status(folder)
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        try:
            note = Note.parse(read_text(path, MOST_KEY_BYTES))
            time, checkpoint = note.verified([key])[key], note.checkpoint
        except (NotProven, ValueError) as error:
            findings.add(Check.WITNESS, "", f"{path.name} is not what the witness signed: {fault_of(error)}")
            continue
        tenant = keys.tenant_of(checkpoint.origin)
        if tenant is not None and checkpoint.size:
            again = int(status.saw) if status and status.origin == checkpoint.origin else 0
            signed = _signed(note, keys, tenant)
            yield Seen(tenant, checkpoint.size, checkpoint.root, time or 0, signed, again)


@dataclass(frozen=True, slots=True)
class Recorded(Alarm):
    """An alarm that a witness wrote down for good, with what the log had signed."""

    note: str


def read_alarms(folder: Path) -> Iterator[tuple[str, Recorded | None]]:
    """The alarms in a witness's folder by the names of their files; None for what is none. Raises OSError."""
    for path in sorted(folder.glob(f"*{ALARM_SUFFIX}")):
        try:
            fields = read_object(read_bytes(path, MOST_WITNESS_BYTES), MOST_WITNESS_BYTES)
        except ValueError:
            fields = {}
        texts = [fields.get(name) for name in ("kind", "since", "why", "note")]
        recorded = [one for one in texts if isinstance(one, str)]
        yield path.name, Recorded(*recorded) if len(recorded) == len(texts) else None


def report_alarms(folder: Path, keys: KnownKeys, tenant: str, findings: Findings) -> None:
    """Adds what a witness alarms of this tenant's log, "": of all, to the findings: what it wrote down for
    good, and what is on. Raises OSError."""
    _report_live(folder, keys, tenant, findings)
    for name, alarm in read_alarms(folder):
        if alarm is None:
            findings.add(Check.WITNESS, "", f"{name} is not an alarm that can be read")
            continue
        try:
            note = Note.parse(alarm.note)
            of = keys.tenant_of(note.checkpoint.origin)
        except NotProven as error:
            findings.add(Check.WITNESS, "", f"{name} holds no checkpoint as evidence: {error}")
            continue
        if of is None or tenant not in ("", of):
            continue
        doubt = "" if _signed(note, keys, of) else f"; its evidence is a checkpoint {OTHER_LOG}"
        findings.add(Check.WITNESS, of, f"the witness recorded {alarm.what}{doubt}")


def _report_live(folder: Path, keys: KnownKeys, tenant: str, findings: Findings) -> None:
    status = read_status(folder)
    alarm = None if status is None else status.live_alarm(datetime.now(UTC))
    recorded = {one.what for _, one in read_alarms(folder) if one is not None}
    if status is None or alarm is None or alarm.what in recorded:
        return
    # Before its first good checkpoint it does not know whose log it is.
    of = keys.tenant_of(status.origin) if status.origin else ""
    if of is not None and (not of or tenant in ("", of)):
        findings.add(Check.WITNESS, of, f"the witness alarms {alarm.what}")


def _signed(note: Note, keys: KnownKeys, tenant: str) -> bool:
    """True when a known key of the tenant's log signed it."""
    try:
        note.of_log(keys.of(tenant))
    except NotProven:
        return False
    return True
