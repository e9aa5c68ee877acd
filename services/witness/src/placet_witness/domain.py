"""What a witness believes, and when it alarms. Pure.

The protocol is that of https://c2sp.org/tlog-witness, except that this witness asks the log, and not the log
the witness.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from placet_proof import LOG_SIGNATURE, Checkpoint, Note, NotProven, VerifierKey, verify_consistency
from placet_proof.growing import EMPTY_ROOT

# Origins name files.
_ORIGIN_BYTES = 200
# A log that hands over again and again does not fill the disk.
_MOST_KEYS = 16
_WHY_CHARACTERS = 500


class Kind(StrEnum):
    """What is wrong with a log."""

    SILENCE = "SILENCE"
    """It has not answered well for an interval."""
    BAD_SIGNATURE = "BAD_SIGNATURE"
    """What it says was signed by none of its keys."""
    OTHER_LOG = "OTHER_LOG"
    """It speaks for a log of another origin."""
    ROLLBACK = "ROLLBACK"
    """It signed a checkpoint with fewer entries than it had."""
    FORK = "FORK"
    """It signed a checkpoint that does not begin with what it had."""

    @property
    def final(self) -> bool:
        """Whether nothing that the log says later can mend it."""
        return self in (Kind.ROLLBACK, Kind.FORK)

    @property
    def gravity(self) -> int:
        """A graver alarm takes the place of a lighter one, never the other way round."""
        return list(Kind).index(self)


@dataclass(frozen=True, slots=True)
class Alarm:
    """What is wrong, since when (aware), and why the witness thinks so."""

    kind: Kind
    since: datetime
    why: str


class NoAnswer(Exception):
    """The log said nothing that could be judged; the text says why."""


class Refused(Exception):
    """What the log showed is not cosigned. `evidence`: what it signed, where it did."""

    def __init__(self, kind: Kind, why: str, evidence: Signed | None = None) -> None:
        super().__init__(why)
        self.kind = kind
        self.why = why[:_WHY_CHARACTERS]
        self.evidence = evidence


@dataclass(frozen=True, slots=True)
class Answer:
    """What a log says of itself, not believed yet: its checkpoint, and verifier keys that it offers."""

    checkpoint: str
    keys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Trust:
    """The log's keys. `learns`: the first ones are those that it shows, and later ones join when a checkpoint
    is signed by a known key and by the new one. Else these are all, and there is at least one."""

    keys: tuple[VerifierKey, ...]
    learns: bool = False


@dataclass(frozen=True, slots=True)
class Signed:
    """A checkpoint that the log signed. `note` is without signatures of others; `keys` all of the log's."""

    checkpoint: Checkpoint
    text: str
    note: str
    keys: tuple[VerifierKey, ...]


def read(answer: Answer, trust: Trust, origin: str = "") -> Signed:
    """The checkpoint that a log signed. `origin`: the one that it must have; "" before the first.

    Raises Refused: BAD_SIGNATURE unless a known key signed, and each known key that did signed rightly;
    OTHER_LOG for another origin, or one that a key which signed is not of.
    """
    try:
        note = Note.parse(answer.checkpoint)
        keys = _believed(note, answer.keys, trust)
        checkpoint = note.checkpoint
    except NotProven as error:
        raise Refused(Kind.BAD_SIGNATURE, str(error)) from error
    _check_log(note, keys)
    signed = Signed(checkpoint, note.text, f"{note.text}\n{_lines(note, keys)}", keys)
    if origin not in ("", checkpoint.origin):
        why = f"the checkpoint is of the log {checkpoint.origin!r} and not of {origin!r}"
        raise Refused(Kind.OTHER_LOG, why, signed)
    if len(checkpoint.origin.encode()) > _ORIGIN_BYTES:
        raise Refused(Kind.OTHER_LOG, f"an origin of more than {_ORIGIN_BYTES} bytes")
    return signed


def _check_log(note: Note, keys: Sequence[VerifierKey]) -> None:
    """Raises Refused where a key that signed, as one of them did, is of another log than the checkpoint."""
    try:
        note.of_log(keys)
    except NotProven as error:
        raise Refused(Kind.OTHER_LOG, str(error)) from error


def _believed(note: Note, offered: Sequence[str], trust: Trust) -> tuple[VerifierKey, ...]:
    """The log's keys after this note. Raises NotProven."""
    if trust.keys or not trust.learns:
        note.verified(trust.keys)
    if not trust.learns:
        return trust.keys
    keys = {(key.name, key.id): key for key in trust.keys}
    for key in _signers(note, offered):
        if len(keys) < _MOST_KEYS:
            keys.setdefault((key.name, key.id), key)
    if not keys:
        raise NotProven("none of the keys that the log offers signed its checkpoint")
    return tuple(keys.values())


def _signers(note: Note, offered: Sequence[str]) -> Iterator[VerifierKey]:
    for vkey in offered:
        try:
            key = VerifierKey.parse(vkey)
            note.of_log([key])
        except NotProven:
            continue
        if key.kind == LOG_SIGNATURE:
            yield key


def _lines(note: Note, keys: Sequence[VerifierKey]) -> str:
    known = {(key.name, key.id): key for key in keys}
    lines = {
        known[name, key_id].line(signature): None
        for name, key_id, signature in note.signatures
        if (name, key_id) in known
    }
    return "".join(lines)


def check_size(before: Checkpoint | None, now: Signed) -> None:
    """Raises Refused unless the log may have grown from `before` (None: nothing yet) to `now`."""
    size, root = now.checkpoint.size, now.checkpoint.root
    if size == 0 and root != EMPTY_ROOT:
        raise Refused(Kind.FORK, "the root of a log without entries is another one", now)
    if before is None:
        return
    if size < before.size:
        raise Refused(
            Kind.ROLLBACK, f"the log had {before.size} entries and now says that it has {size}", now
        )
    if size == before.size and root != before.root:
        raise Refused(Kind.FORK, f"the log has two roots for its {size} entries", now)


def needs_proof(before: Checkpoint | None, now: Signed) -> bool:
    """Whether only a consistency proof can say that the log grew: nothing follows from an empty one."""
    return before is not None and 0 < before.size < now.checkpoint.size


def check_growth(before: Checkpoint, now: Signed, proof: Sequence[bytes]) -> None:
    """Raises Refused unless the proof shows that the log begins with all that it had."""
    try:
        verify_consistency(before.size, now.checkpoint.size, before.root, now.checkpoint.root, proof)
    except NotProven as error:
        raise Refused(Kind.FORK, str(error), now) from error
