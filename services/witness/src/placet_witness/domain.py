"""Rules of the witness: which checkpoint it accepts, and which alarm it raises. Pure.

The protocol is that of https://c2sp.org/tlog-witness, except that this witness polls
the log.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from placet_proof import LOG_SIGNATURE, Checkpoint, Note, NotProven, VerifierKey, verify_consistency
from placet_proof.frontier import EMPTY_ROOT

# An origin names files.
_ORIGIN_BYTES = 200
# Bounds the file of keys when a log changes its key over and over.
_MOST_KEYS = 16
_WHY_CHARACTERS = 500


class Kind(StrEnum):
    """Kind of an alarm, in the order of gravity."""

    SILENCE = "SILENCE"
    """No valid answer for an interval."""
    BAD_SIGNATURE = "BAD_SIGNATURE"
    """A checkpoint that no known key signed, or with a wrong signature of one."""
    OTHER_LOG = "OTHER_LOG"
    """A checkpoint of another origin."""
    ROLLBACK = "ROLLBACK"
    """A signed checkpoint with fewer entries than before."""
    FORK = "FORK"
    """A signed checkpoint whose tree does not begin with the earlier one."""

    @property
    def final(self) -> bool:
        """True if the alarm stays on whatever the log answers later."""
        return self in (Kind.ROLLBACK, Kind.FORK)

    @property
    def gravity(self) -> int:
        """Rank: an alarm replaces one of lower gravity only."""
        return list(Kind).index(self)


@dataclass(frozen=True, slots=True)
class Alarm:
    """Alarm with its beginning (aware) and its reason."""

    kind: Kind
    since: datetime
    why: str


class NoAnswer(Exception):
    """The log gave no answer that could be verified; the text says why."""


class Refused(Exception):
    """The checkpoint is not cosigned. `evidence`: what the log signed, if it did."""

    def __init__(self, kind: Kind, why: str, evidence: Signed | None = None) -> None:
        super().__init__(why)
        self.kind = kind
        self.why = why[:_WHY_CHARACTERS]
        self.evidence = evidence


@dataclass(frozen=True, slots=True)
class Answer:
    """Unverified answer of a log: its checkpoint, and the verifier keys that it offers."""

    checkpoint: str
    keys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Trust:
    """Keys of the log. `learns`: the first ones are those that signed its first checkpoint, and later ones
    are added when a known key and the new one sign the same one. Else `keys` is complete, and not empty."""

    keys: tuple[VerifierKey, ...]
    learns: bool = False


@dataclass(frozen=True, slots=True)
class Signed:
    """Checkpoint that the log signed. `note` has no signatures of others; `keys` are all keys of the log."""

    checkpoint: Checkpoint
    text: str
    note: str
    keys: tuple[VerifierKey, ...]


def read(answer: Answer, trust: Trust, origin: str = "") -> Signed:
    """Verifies the signatures of an answer. `origin`: the one that it must have; "" before the first.

    Raises Refused: BAD_SIGNATURE unless a known key signed, and every signature by a known key is valid;
    OTHER_LOG for another origin, or one that does not belong to a key that signed.
    """
    try:
        note = Note.parse(answer.checkpoint)
        keys = _known_keys(note, answer.keys, trust)
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
    """Raises Refused if a key that signed belongs to another log than the checkpoint."""
    try:
        note.of_log(keys)
    except NotProven as error:
        raise Refused(Kind.OTHER_LOG, str(error)) from error


def _known_keys(note: Note, offered: Sequence[str], trust: Trust) -> tuple[VerifierKey, ...]:
    """Returns the log's keys after this note. Raises NotProven."""
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
    """Raises Refused if the sizes and roots show that the log did not grow from `before` to `now`."""
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
    """True if a consistency proof must show that the log grew; from an empty log none is needed."""
    return before is not None and 0 < before.size < now.checkpoint.size


def check_growth(before: Checkpoint, now: Signed, proof: Sequence[bytes]) -> None:
    """Raises Refused unless the proof shows that the log begins with its earlier entries."""
    try:
        verify_consistency(before.size, now.checkpoint.size, before.root, now.checkpoint.root, proof)
    except NotProven as error:
        raise Refused(Kind.FORK, str(error), now) from error
