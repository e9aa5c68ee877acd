"""The witness's folder: cosigned checkpoint, keys of the log, final alarm, status.

    <origin>.checkpoint   the last checkpoint, signed by the log and by the witness
    <origin>.keys         the log's keys: a verifier key on each line
    <origin>.alarm        after ROLLBACK or FORK: the alarm, with what the log signed instead (JSON)
    witness.vkey          the witness's own verifier key
    status.json           the witness's status (`status.py`)

A slash in an origin is an underscore here. Each file is replaced in one step, and all but the status are on
disk when the method returns: a crash leaves the old file or the new one.
"""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import TypeAdapter

from placet_proof import Checkpoint, Note, NotProven, VerifierKey
from placet_rpc.files import write_atomically
from placet_witness.domain import Alarm, Signed
from placet_witness.keys import as_lines, log_keys
from placet_witness.status import FILE, Status, read_status

_LOCK = "witness.lock"
_VKEY = "witness.vkey"
_ALARM = TypeAdapter(Alarm)


class Folder:
    """The folder, locked by this process."""

    def __init__(self, path: Path) -> None:
        """Made by `held`."""
        self._path = path

    @classmethod
    @contextmanager
    def held(cls, path: Path) -> Iterator[Folder]:
        """Makes the folder (0700) if need be, and locks it; the kernel unlocks it when the process ends.

        Raises OSError, or ValueError if another process holds it or others may write there.
        """
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        if path.stat().st_mode & 0o022:
            raise ValueError(f"others can write to {path}; make it the witness's own with: chmod 700 {path}")
        with (path / _LOCK).open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise BlockingIOError(f"another witness runs on {path}") from error
            yield cls(path)

    def write_key(self, key: VerifierKey) -> None:
        """Writes the witness's own verifier key."""
        self._write(_VKEY, as_lines([key]))

    def checkpoint(self, key: VerifierKey) -> tuple[str, Checkpoint] | None:
        """Reads the note that this key cosigned last, with its checkpoint; None if there is none yet.

        Raises OSError, or ValueError if it is not one that this witness cosigned.
        """
        found = sorted(self._path.glob("*.checkpoint"))
        if not found:
            return None
        if len(found) > 1:
            raise ValueError(f"{self._path} holds checkpoints of several logs, and a witness watches one")
        text = found[0].read_text()
        try:
            note = Note.parse(text)
            note.verified([key])
            cosigned = note.checkpoint
        except NotProven as error:
            raise ValueError(f"{found[0]} is not what this witness cosigned: {error}") from error
        return text, cosigned

    def keys(self, origin: str) -> tuple[VerifierKey, ...]:
        """Reads the log's keys. Raises OSError or ValueError if they cannot be read."""
        return log_keys(self._path / _named(origin, "keys"))

    def write_keys(self, signed: Signed) -> None:
        """Writes the log's keys. Call it before `write_checkpoint`, so that no checkpoint lacks its keys."""
        self._write(_named(signed.checkpoint.origin, "keys"), as_lines(signed.keys))

    def write_checkpoint(self, signed: Signed, cosignature: str) -> str:
        """Replaces the last checkpoint, and returns the cosigned note."""
        note = signed.note + cosignature
        self._write(_named(signed.checkpoint.origin, "checkpoint"), note)
        return note

    def write_alarm(self, alarm: Alarm, signed: Signed) -> None:
        """Writes a final alarm, with what the log signed as evidence."""
        fields = {**_ALARM.dump_python(alarm, mode="json"), "note": signed.note}
        text = json.dumps(fields, indent=1, ensure_ascii=False) + "\n"
        self._write(_named(signed.checkpoint.origin, "alarm"), text)

    def alarm(self) -> Alarm | None:
        """Reads the final alarm. Raises OSError, or ValueError if it cannot be read."""
        for path in sorted(self._path.glob("*.alarm")):
            try:
                return _ALARM.validate_json(path.read_text())
            except ValueError as error:
                raise ValueError(f"{path} is not an alarm that this witness wrote") from error
        return None

    def write_status(self, status: Status) -> None:
        """Writes the status."""
        # Without waiting for the disk: after a power cut the next look writes it again.
        self._write(FILE, status.as_json(), durable=False)

    def status(self) -> Status | None:
        """Reads the last status; None if there is none that can be read."""
        return read_status(self._path)

    def _write(self, name: str, text: str, *, durable: bool = True) -> None:
        """Replaces a file in one step, unless it holds the text already."""
        path = self._path / name
        if durable and path.exists() and path.read_text() == text:
            return
        write_atomically(path, text, mode=0o644, durable=durable)


def _named(origin: str, kind: str) -> str:
    return f"{origin.replace('/', '_')}.{kind}"
