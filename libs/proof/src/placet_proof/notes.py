"""Checkpoints as signed notes: https://c2sp.org/signed-note, /tlog-checkpoint and /tlog-cosignature."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from placet_proof.public_keys import check_public_key
from placet_proof.tree import NotProven

LOG_SIGNATURE, COSIGNATURE, ATTESTATION = 0x01, 0x04, 0xF0
"""Signature types of a log (Ed25519 over the note's text) and of a witness (Ed25519 over time and text).

The last one is that of keys which sign attestations, and never a note.
"""

ATTESTATION_KEY = "placet-attestation"
"""Name of all keys that sign attestations."""

_MOST_SIGNATURES = 32
_MOST_NOTE_CHARACTERS = 1 << 16
# Lone surrogates, which Python's strings may hold, and UTF-8 may not.
_SURROGATES = "\ud800-\udfff"
_NOT_IN_NOTES = re.compile(rf"[\x00-\x09\x0b-\x1f{_SURROGATES}]")
_LATEST = (1 << 63) - 1
_TIME = "%Y-%m-%dT%H:%M:%SZ"
KEY_NAME = re.compile(rf"[^\s\x00-\x1f+{_SURROGATES}]+")
"""Name of a key."""
NUMBER = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)
"""Size or index in decimal."""


def decoded(text: str) -> bytes:
    """Decodes standard base64 in its canonical spelling. Raises NotProven."""
    try:
        found = base64.b64decode(text, validate=True)
    except ValueError as error:
        raise NotProven(f"{text[:80]!r} is not base64") from error
    if base64.b64encode(found).decode() != text:
        raise NotProven(f"{text[:80]!r} is not base64 in its canonical spelling")
    return found


def _posix(time: str) -> int:
    """Returns the POSIX time of a text like 2026-01-31T00:00:00Z. Raises NotProven."""
    try:
        found = datetime.strptime(time, _TIME).replace(tzinfo=UTC)
    except ValueError as error:
        raise NotProven(f"{time[:80]!r} is not a time like 2026-01-31T00:00:00Z") from error
    return int(found.timestamp())


def cosigned_text(text: str, time: int) -> bytes:
    """Returns the message that a witness signs for a checkpoint's text at a POSIX time."""
    return f"cosignature/v1\ntime {time}\n{text}".encode()


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """Verifier key ("vkey"): a public key with its name and its signature type.

    `until`: of a key of attestations, the POSIX time from which on it signs nothing any more.
    """

    name: str
    kind: int
    public: bytes
    until: int | None = None

    @classmethod
    def parse(cls, vkey: str) -> VerifierKey:
        """Parses `name+hex key id+base64(type || public key)`, and ` until TIME` after a key of attestations.

        Raises NotProven.
        """
        text, ends, until = vkey.strip().partition(" until ")
        name, _, rest = text.partition("+")
        key_id, _, encoded = rest.partition("+")
        material = decoded(encoded)
        key = cls(name, material[0] if material else 0, material[1:], _posix(until.strip()) if ends else None)
        if (
            not KEY_NAME.fullmatch(name)
            or key.kind not in (LOG_SIGNATURE, COSIGNATURE, ATTESTATION)
            or (key.kind == ATTESTATION) != (name == ATTESTATION_KEY)
            or (key.until is not None and key.kind != ATTESTATION)
            or len(key.public) != 32
        ):
            raise NotProven(f"{vkey[:80]!r} is not an Ed25519 verifier key")
        try:
            check_public_key(key.public)
        except NotProven as error:
            raise NotProven(f"the verifier key {vkey[:80]!r} cannot be used: {error}") from error
        if key.id.hex() != key_id:
            raise NotProven(f"the verifier key {vkey[:80]!r} was altered: its id is {key.id.hex()}")
        return key

    @property
    def id(self) -> bytes:
        """Key id: four bytes that distinguish keys of one name."""
        return sha256(self.name.encode() + b"\n" + bytes([self.kind]) + self.public).digest()[:4]

    def __str__(self) -> str:
        """Returns the verifier key as text."""
        ends = "" if self.until is None else f" until {datetime.fromtimestamp(self.until, UTC):{_TIME}}"
        encoded = base64.b64encode(bytes([self.kind]) + self.public).decode()
        return f"{self.name}+{self.id.hex()}+{encoded}{ends}"

    def line(self, signature: bytes) -> str:
        """Returns the note's line of a signature by this key."""
        return f"— {self.name} {base64.b64encode(self.id + signature).decode()}\n"

    def time_of(self, text: str, signature: bytes) -> int | None:
        """Verifies a signature; returns a witness's POSIX time, None for a log. Raises NotProven."""
        time, message = None, text.encode()
        if self.kind == COSIGNATURE:
            time, signature = int.from_bytes(signature[:8], "big"), signature[8:]
            message = cosigned_text(text, time)
            if time > _LATEST:
                raise NotProven(f"{self.name} signed at an impossible time")
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, message)
        except (InvalidSignature, ValueError) as error:
            raise NotProven(f"the signature of {self.name} is not one of this text") from error
        return time


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """State of a log: its origin, the number of its leaves, and their root."""

    origin: str
    size: int
    root: bytes

    @property
    def text(self) -> str:
        """Text of the note."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"


@dataclass(frozen=True, slots=True)
class Note:
    """Signed checkpoint. `signatures`: each signer's name, key id and signature."""

    text: str
    signatures: tuple[tuple[str, bytes, bytes], ...]

    @classmethod
    def parse(cls, note: str) -> Note:
        """Parses a note. Raises NotProven."""
        if len(note) > _MOST_NOTE_CHARACTERS:
            raise NotProven(f"a note of more than {_MOST_NOTE_CHARACTERS:,} characters")
        text, blank, lines = note.rpartition("\n\n")
        if not blank or not lines.endswith("\n") or _NOT_IN_NOTES.search(note):
            raise NotProven("this is not a signed note")
        rows = lines[:-1].split("\n")
        if len(rows) > _MOST_SIGNATURES:
            raise NotProven(f"a note with more than {_MOST_SIGNATURES} signatures")
        return cls(text + "\n", tuple(_signature(row) for row in rows))

    @property
    def checkpoint(self) -> Checkpoint:
        """Checkpoint in the text, unverified. Raises NotProven if the text is none."""
        lines = self.text[:-1].split("\n")
        if len(lines) < 3 or not all(lines) or not NUMBER.fullmatch(lines[1]) or len(decoded(lines[2])) != 32:
            raise NotProven("the note is not a checkpoint: origin, size, root")
        return Checkpoint(lines[0], int(lines[1]), decoded(lines[2]))

    def verified(self, keys: Iterable[VerifierKey]) -> dict[VerifierKey, int | None]:
        """Verifies the signatures. Returns the keys that signed, with the first time of each witness.

        Raises NotProven if a signature by one of the keys is wrong, or none of them signed.
        """
        known = {(key.name, key.id): key for key in keys if key.kind != ATTESTATION}
        found = {
            known[name, key_id]: known[name, key_id].time_of(self.text, signature)
            for name, key_id, signature in reversed(self.signatures)
            if (name, key_id) in known
        }
        if not found:
            signers = ", ".join(f"{name}+{key_id.hex()}" for name, key_id, _ in self.signatures)
            raise NotProven(f"no known key signed this checkpoint; it was signed by {signers}")
        return found

    def of_log(self, keys: Sequence[VerifierKey]) -> tuple[Checkpoint, dict[VerifierKey, int | None]]:
        """Verifies a checkpoint of the log to which the keys belong; of any log if all keys are witnesses'.

        Returns it with its signers, as `verified`. Raises NotProven as `verified` does, and for a checkpoint
        of another log, even if the same key or witness signed it.
        """
        signers, checkpoint = self.verified(keys), self.checkpoint
        logs = [key for key in keys if key.kind == LOG_SIGNATURE]
        # The name beside a signature is not signed: only the origin identifies the log.
        if logs and not any(key in signers and key.name == checkpoint.origin for key in logs):
            raise NotProven(f"this is a checkpoint of {checkpoint.origin}, and no known key of it signed it")
        return checkpoint, signers


def _signature(line: str) -> tuple[str, bytes, bytes]:
    dash, _, rest = line.partition(" ")
    name, _, encoded = rest.partition(" ")
    blob = decoded(encoded)
    if dash != "—" or not KEY_NAME.fullmatch(name) or len(blob) <= 4:
        raise NotProven(f"{line[:80]!r} is not a note's signature")
    return name, blob[:4], blob[4:]
