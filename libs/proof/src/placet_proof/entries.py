"""An entry of the log as its leaf tells of it: where it belongs, and the commitments to its erasable values.

The leaf is a `placet.audit.v1.Entry` in protobuf's wire format (https://protobuf.dev/programming-guides/encoding),
which is read here without any schema but the numbers below.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from placet_proof.tree import NotProven

_TENANT, _APPROVAL, _NUMBER, _EVENT = 1, 2, 3, 4
_CAUSE = 3
_BODIES = range(16, 100)
_ERASED_REQUEST, _ERASED_VALUES = 1, 3
_COMMITMENT, _COMMITMENT_BYTES = 1, 32
_NUMBERS = 1 << 29

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

SALT_BYTES = 16
"""How long the salt of a commitment is."""

Wire = Mapping[int, int | bytes | None]
"""A message's fields by number; None: it is there more than once."""

_Tree = Mapping[int, "_Tree | str"]


def _grown() -> _Tree:
    """The numbers of ERASABLE as a tree, so that each message is read once."""
    tree: dict[int, Any] = {}  # Any: mypy knows no dictionary of itself
    for path, (*numbers, last) in ERASABLE.items():
        node = tree
        for number in numbers:
            node = node.setdefault(number, {})
        node[last] = path
    return tree[_EVENT]  # type: ignore[no-any-return]  # as above


_ERASABLE_OF_EVENT = _grown()


def commitment(salt: bytes, value: str) -> bytes:
    """SHA-256(salt || UTF-8 of value), 32 bytes."""
    return sha256(salt + value.encode()).digest()


@dataclass(frozen=True, slots=True)
class Leaf:
    """What a leaf says. `approval_id` and `number` are empty for events of the tenant itself; `body` is the
    number of its event in the contract, `cause_id` what made it; `erases` the request whose values it says
    were erased, if any, and `erased_values` how many; `commitments` those of its erasable fields that have a
    value, by path."""

    tenant: str
    approval_id: str
    number: int
    body: int
    cause_id: str
    erases: str
    erased_values: int
    commitments: Mapping[str, bytes]

    @classmethod
    def parse(cls, leaf: bytes) -> Leaf:
        """Reads a leaf. Raises NotProven for what is none, or could be read in two ways."""
        entry = _fields(leaf)
        event = _fields(_bytes(entry, _EVENT))
        bodies = [number for number in event if number in _BODIES]
        if len(bodies) != 1:
            raise NotProven("an entry holds one event")
        body = _bytes(event, bodies[0])
        erased = _fields(body) if bodies == [ERASED] else {}
        found = dict[str, bytes]()
        _collect(event, _ERASABLE_OF_EVENT, found)
        return cls(
            _text(_bytes(entry, _TENANT)),
            _text(_bytes(entry, _APPROVAL)),
            _number(entry, _NUMBER),
            bodies[0],
            _text(_bytes(event, _CAUSE)),
            _text(_bytes(erased, _ERASED_REQUEST)),
            _number(erased, _ERASED_VALUES),
            found,
        )

    def opened(self, path: str, salt: bytes, value: str) -> None:
        """Raises NotProven unless salt and value are what this entry committed to at `path`."""
        committed = self.commitments.get(path)
        if committed is None:
            raise NotProven(f"the entry commits to nothing at {path}")
        # Else a value's beginning could be passed off as salt.
        if len(salt) != SALT_BYTES:
            raise NotProven(f"the salt of {path} has not {SALT_BYTES} bytes")
        # What is no text was never committed to.
        if committed != sha256(salt + value.encode(errors="surrogatepass")).digest():
            raise NotProven(f"the value of {path} is not what the entry committed to")


def _collect(fields: Wire, tree: _Tree, found: dict[str, bytes]) -> None:
    """The commitments of a message's erasable fields. An erasable field holds its commitment, or nothing."""
    for number, below in tree.items():
        if number not in fields:
            continue
        inner = _fields(_bytes(fields, number))
        if not isinstance(below, str):
            _collect(inner, below, found)
        elif inner:
            committed = _bytes(inner, _COMMITMENT)
            if len(inner) != 1 or len(committed) != _COMMITMENT_BYTES:
                raise NotProven(f"{below} holds something else than a commitment")
            found[below] = committed


def _bytes(fields: Wire, number: int) -> bytes:
    """A field's bytes, empty if it is absent."""
    value = fields.get(number, b"")
    if not isinstance(value, bytes):
        raise NotProven(f"field {number} of an entry is not as it should be")
    return value


def _number(fields: Wire, number: int) -> int:
    """A field's number of 32 bits, 0 if it is absent."""
    value = fields.get(number, 0)
    if not isinstance(value, int) or value >= 1 << 32:
        raise NotProven(f"field {number} of an entry is not as it should be")
    return value


def _text(found: bytes) -> str:
    try:
        return found.decode()
    except UnicodeDecodeError as error:
        raise NotProven("a text of an entry is not UTF-8") from error


def _fields(message: bytes) -> Wire:
    found: dict[int, int | bytes | None] = {}
    at, end = 0, len(message)
    value: int | bytes
    # Numbers below 128 are one byte. Most are, and logs are long.
    while at < end:
        tag, at = message[at], at + 1
        if tag >= 0x80:
            tag, at = _varint(message, at - 1)
        number, kind = tag >> 3, tag & 7
        if kind == 2 and at < end and message[at] < 0x80:
            start = at + 1
            at = start + message[at]
            value = message[start:at]
        else:
            value, at = _value(message, at, kind)
        if not 0 < number < _NUMBERS:
            raise NotProven("an entry holds a field with a number that is none")
        found[number] = None if number in found else value
    if at > end:
        raise NotProven("an entry ends in the midst of a field")
    return found


def _value(message: bytes, at: int, kind: int) -> tuple[int | bytes, int]:
    """A field's value, and where it ends, which may be behind the message's end."""
    if kind == 0:
        return _varint(message, at)
    if kind == 2:
        size, at = _varint(message, at)
    elif kind in (1, 5):
        size = 8 if kind == 1 else 4
    else:
        raise NotProven("an entry holds a field of an unknown kind")
    return message[at : at + size], at + size


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    for byte in message[at : at + 10]:
        value |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return value, at
        shift += 7
    raise NotProven("an entry ends in the midst of a number")
