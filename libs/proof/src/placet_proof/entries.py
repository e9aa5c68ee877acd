"""An entry of the log as its leaf tells of it: where it belongs, and the commitments to its erasable values.

The leaf is a `placet.audit.v1.Entry` in protobuf's wire format (https://protobuf.dev/programming-guides/encoding),
which is read here without any schema but the numbers below.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256

from placet_proof.tree import NotProven

_TENANT, _APPROVAL, _NUMBER, _EVENT = 1, 2, 3, 4
_BODIES = range(16, 100)
_COMMITMENT = 1

ERASABLE: Mapping[str, tuple[int, ...]] = {
    "event.actor.name": (4, 2, 2),
    "event.received.title": (4, 16, 2),
    "event.received.required_approver": (4, 16, 11),
    "event.received.manager_approver": (4, 16, 12),
    "event.pre_screened.reasoning": (4, 18, 8),
    "event.asked.person": (4, 20, 2),
    "event.asked.reason": (4, 20, 3),
    "event.timed_out.reason": (4, 22, 3),
    "event.escalated.reason": (4, 23, 3),
    "event.voted.reason": (4, 24, 4),
    "event.voted.on_behalf_of": (4, 24, 5),
    "event.refused.message": (4, 25, 3),
    "event.fell_back.reason": (4, 26, 1),
    "event.ai_decided.reasoning": (4, 27, 5),
    "event.decided.approver": (4, 29, 5),
    "event.decided.on_behalf_of": (4, 29, 6),
    "event.decided.reasoning": (4, 29, 9),
    "event.erased.reason": (4, 32, 2),
}
"""The erasable fields of the contract, by path, with the numbers of the fields that lead to each."""

ERASED = 32
"""The number of the event that says that a request's values were erased; its field 1 is the request."""

Wire = Mapping[int, list[int | bytes]]


def commitment(salt: bytes, value: str) -> bytes:
    """SHA-256(salt || UTF-8 of value), 32 bytes."""
    return sha256(salt + value.encode()).digest()


@dataclass(frozen=True, slots=True)
class Leaf:
    """What a leaf says. `approval_id` and `number` are empty for events of the tenant itself; `body` is the
    number of its event in the contract; `erases` the request whose values it says were erased, if any;
    `commitments` those of its erasable fields that have a value, by path."""

    tenant: str
    approval_id: str
    number: int
    body: int
    erases: str
    commitments: Mapping[str, bytes]

    @classmethod
    def parse(cls, leaf: bytes) -> Leaf:
        """Reads a leaf. Raises NotProven for what is none."""
        entry = _fields(leaf)
        event = _fields(_bytes(entry, _EVENT))
        bodies = [number for number in event if number in _BODIES]
        if len(bodies) != 1:
            raise NotProven("an entry holds one event")
        erased = _bytes(_fields(_bytes(event, ERASED)), 1) if bodies == [ERASED] else b""
        number = (entry.get(_NUMBER) or [0])[-1]
        if not isinstance(number, int):
            raise NotProven("an entry's number is a number")
        found = {path: _descend(entry, numbers) for path, numbers in ERASABLE.items()}
        return cls(
            _text(_bytes(entry, _TENANT)),
            _text(_bytes(entry, _APPROVAL)),
            number,
            bodies[0],
            _text(erased),
            {path: one for path, one in found.items() if one},
        )

    def opened(self, path: str, salt: bytes, value: str) -> None:
        """Raises NotProven unless salt and value are what this entry committed to at `path`."""
        committed = self.commitments.get(path)
        if committed is None:
            raise NotProven(f"the entry commits to nothing at {path}")
        if committed != commitment(salt, value):
            raise NotProven(f"the value of {path} is not what the entry committed to")


def _descend(fields: Wire, numbers: tuple[int, ...]) -> bytes:
    """The commitment of the erasable field that the numbers lead to; nothing where it is absent or empty."""
    for number in numbers:
        if number not in fields:
            return b""
        fields = _fields(_bytes(fields, number))
    return _bytes(fields, _COMMITMENT)


def _bytes(fields: Wire, number: int) -> bytes:
    """A field's bytes, empty if it is absent. One that is there twice could be read in two ways."""
    values = fields.get(number, [b""])
    if len(values) != 1 or not isinstance(values[0], bytes):
        raise NotProven(f"field {number} of an entry is not as it should be")
    return values[0]


def _text(found: bytes) -> str:
    try:
        return found.decode()
    except UnicodeDecodeError as error:
        raise NotProven("a text of an entry is not UTF-8") from error


def _fields(message: bytes) -> Wire:
    found: dict[int, list[int | bytes]] = {}
    for number, value in _walk(message):
        found.setdefault(number, []).append(value)
    return found


def _walk(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        kind = tag & 7
        if kind == 0:
            value, at = _varint(message, at)
            yield tag >> 3, value
            continue
        if kind == 2:
            size, at = _varint(message, at)
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
        else:
            raise NotProven("an entry holds a field of an unknown kind")
        if at + size > len(message):
            raise NotProven("an entry ends in the midst of a field")
        yield tag >> 3, message[at : at + size]
        at += size


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(message) and shift < 64:
        value |= (message[at] & 0x7F) << shift
        at += 1
        if message[at - 1] < 0x80:
            return value, at
        shift += 7
    raise NotProven("an entry ends in the midst of a number")
