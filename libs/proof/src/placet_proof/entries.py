"""Entries of the log, read from their leaves: where each belongs, and its commitments to erasable values.

A leaf is a `placet.event.v1.Entry` in protobuf's wire format (https://protobuf.dev/programming-guides/encoding).
It is read here without a schema but the field numbers below.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import TypeVar

from placet_proof.tree import NotProven

_TENANT, _APPROVAL, _NUMBER, _EVENT = 1, 2, 3, 4
_TIME, _ACTOR, _CAUSE, _ATTESTATION = 1, 2, 3, 7
_ACTOR_KIND, _AUTHENTICATED_BY = 1, 3
_BODIES = range(16, 100)
_ERASED_REQUEST, _ERASED_VALUES = 1, 3
_COMMITMENT, _COMMITMENT_BYTES = 1, 32
_NUMBERS = 1 << 29
_VARINT, _BYTES = 0, 2
_FIXED = {1: 8, 5: 4}

ERASABLE: Mapping[str, tuple[int, ...]] = {
    "event.actor.name": (_ACTOR, 2),
    "event.received.title": (16, 2),
    "event.received.assignments[].people[]": (16, 11, 2),
    "event.received.facts.counterparty": (16, 15, 4),
    "event.received.facts.target": (16, 15, 5),
    "event.received.facts.others[].value": (16, 15, 7, 2),
    "event.pre_screened.reasoning": (18, 8),
    "event.pre_screened.found.paths[]": (18, 11, 5),
    "event.asked.person": (20, 2),
    "event.asked.reason": (20, 3),
    "event.timed_out.reason": (22, 3),
    "event.escalated.reason": (23, 3),
    "event.voted.reason": (24, 4),
    "event.voted.on_behalf_of": (24, 5),
    "event.refused.message": (25, 3),
    "event.fell_back.reason": (26, 1),
    "event.ai_decided.reasoning": (27, 5),
    "event.ai_decided.found.paths[]": (27, 8, 5),
    "event.decided.approver": (29, 5),
    "event.decided.on_behalf_of": (29, 6),
    "event.decided.reasoning": (29, 9),
    "event.erased.reason": (32, 2),
    "event.commented.text": (33, 1),
    "event.withheld.reason": (37, 1),
    "event.automation_switched.reason": (38, 4),
}
"""Erasable fields of the contract: the path, and the numbers of the fields on it from Event on.

A name that ends in `[]` is a repeated field; the path of one value has its index there, from 0 in decimal:
`event.received.assignments[0].people[1]` (see Disclosure in placet/audit/v1/proof.proto).
"""

MOST_LEAF_BYTES = 1 << 20
"""Most bytes of a leaf; AuditService takes no more in one append."""

ERASED = 32
"""Number of the event that says that a request's values were erased."""

SALT_BYTES = 16
"""Length of the salt of a commitment."""

Wire = Mapping[int, Sequence[int | bytes | None]]
"""Values of a message's fields in their order, by field number. None: a wire type that no field here has."""

_Value = TypeVar("_Value", int, bytes)


def commitment(salt: bytes, value: str) -> bytes:
    """Returns SHA-256(salt || UTF-8 of value), 32 bytes."""
    # A text from elsewhere may hold lone surrogates. It was never committed to, and must not raise.
    return sha256(salt + value.encode(errors="surrogatepass")).digest()


@dataclass(frozen=True, slots=True)
class Message:
    """A message within a leaf. Its methods raise NotProven."""

    fields: Wire

    @classmethod
    def parse(cls, raw: bytes) -> Message:
        """Parses a message."""
        return cls(_fields(raw))

    def get(self, number: int, default: _Value) -> _Value:
        """Returns a singular field, the default if it is absent."""
        return _get(self.fields, number, default)

    def message(self, number: int) -> Message:
        """Returns a message in a field, an empty one if it is absent."""
        return Message.parse(self.get(number, b""))


@dataclass(frozen=True, slots=True)
class Leaf:
    """Content of a leaf.

    `approval_id` and `number` are empty for events of the tenant itself. `body` is the number of its event in
    the contract, `cause_id` the command or step that caused it. `erases`: the request whose values it says
    were erased, if any; `erased_values`: how many. `commitments`: those to its erasable values, by path.
    `actor_kind`: the number of its actor's kind; `fields`: those of its event's body. `seconds`: the event's
    time in POSIX seconds, a large number before 1970. `attestation`: None if it has none.
    """

    tenant: str
    approval_id: str
    number: int
    body: int
    cause_id: str
    erases: str
    erased_values: int
    commitments: Mapping[str, bytes]
    actor_kind: int
    fields: Wire
    authenticated_by: str
    seconds: int
    attestation: Message | None

    @classmethod
    def parse(cls, leaf: bytes) -> Leaf:
        """Parses a leaf. Raises NotProven if it is malformed, too large, or could be read in two ways."""
        if len(leaf) > MOST_LEAF_BYTES:
            raise NotProven(f"an entry of more than {MOST_LEAF_BYTES:,} bytes")
        entry = _fields(leaf)
        event = _fields(_get(entry, _EVENT, b""))
        bodies = [number for number in event if number in _BODIES]
        if len(bodies) != 1:
            raise NotProven("an entry holds one event")
        parts = {number: _fields(_get(event, number, b"")) for number in (_ACTOR, *bodies)}
        erased = parts.get(ERASED, {})
        return cls(
            _text(entry, _TENANT),
            _text(entry, _APPROVAL),
            _get(entry, _NUMBER, 0),
            bodies[0],
            _text(event, _CAUSE),
            _text(erased, _ERASED_REQUEST),
            _get(erased, _ERASED_VALUES, 0),
            {
                path: committed
                for pattern, (part, *numbers) in ERASABLE.items()
                if part in parts
                for path, committed in _commitments(parts[part], pattern, numbers)
            },
            _get(parts[_ACTOR], _ACTOR_KIND, 0),
            parts[bodies[0]],
            _text(parts[_ACTOR], _AUTHENTICATED_BY),
            _seconds(_fields(_get(event, _TIME, b""))),
            Message.parse(_get(event, _ATTESTATION, b"")) if _ATTESTATION in event else None,
        )

    def field(self, number: int, default: _Value) -> _Value:
        """Returns a singular field of the event's body, the default if it is absent. Raises NotProven."""
        return _get(self.fields, number, default)

    def text(self, number: int) -> str:
        """Returns a text of the event's body that cannot be erased. What is no UTF-8 is replaced in it."""
        return self.field(number, b"").decode(errors="replace")

    def message(self, number: int) -> Mapping[int, int]:
        """Returns the numbers of a message within the event's body, by field. Raises NotProven."""
        inner = _fields(self.field(number, b""))
        return {one: _get(inner, one, 0) for one in inner}

    def opened(self, path: str, salt: bytes, value: str) -> None:
        """Raises NotProven unless this entry committed to this salt and value at `path`."""
        committed = self.commitments.get(path)
        if committed is None:
            raise NotProven(f"the entry commits to nothing at {path}")
        # Otherwise the beginning of a value could be passed off as salt.
        if len(salt) != SALT_BYTES:
            raise NotProven(f"the salt of {path} has not {SALT_BYTES} bytes")
        if committed != commitment(salt, value):
            raise NotProven(f"the value of {path} is not what the entry committed to")


def _commitments(part: Wire, pattern: str, numbers: Sequence[int]) -> Iterator[tuple[str, bytes]]:
    """Yields the commitments in one part of an event, the actor or the body, with their paths."""
    event, name, *names = pattern.split(".")
    yield from _below(part, f"{event}.{name}.", names, numbers)


def _below(
    fields: Wire, prefix: str, names: Sequence[str], numbers: Sequence[int]
) -> Iterator[tuple[str, bytes]]:
    name, number = names[0], numbers[0]
    if name.endswith("[]"):
        found = [(f"{prefix}{name[:-1]}{at}]", one) for at, one in enumerate(_all(fields, number))]
    else:
        found = [(prefix + name, _get(fields, number, b""))]
    for path, message in found:
        if not message:
            continue
        if len(names) == 1:
            yield path, _commitment(path, message)
        else:
            yield from _below(_fields(message), f"{path}.", names[1:], numbers[1:])


def _commitment(path: str, erasable: bytes) -> bytes:
    """Returns the commitment in an erasable field of a leaf, which must hold nothing else."""
    fields = _fields(erasable)
    committed = _get(fields, _COMMITMENT, b"")
    if len(fields) != 1 or len(committed) != _COMMITMENT_BYTES:
        raise NotProven(f"{path} holds something else than a commitment")
    return committed


def _get(fields: Wire, number: int, default: _Value) -> _Value:
    """Returns the bytes, or the number of 32 bits, of a singular field; the default if it is absent."""
    values = fields.get(number, (default,))
    value = values[0]
    if (
        len(values) != 1
        or not isinstance(value, type(default))
        or (isinstance(value, int) and value >= 1 << 32)
    ):
        raise NotProven(f"field {number} of an entry is not as it should be")
    return value


def _all(fields: Wire, number: int) -> list[bytes]:
    """Returns the values of a repeated field of messages."""
    values = [value for value in fields.get(number, ()) if isinstance(value, bytes)]
    if len(values) != len(fields.get(number, ())):
        raise NotProven(f"field {number} of an entry is not as it should be")
    return values


def numbers_in(packed: bytes) -> list[int]:
    """Returns the numbers of a packed repeated field. Raises NotProven."""
    numbers, at = [], 0
    while at < len(packed):
        number, at = _varint(packed, at)
        numbers.append(number)
    return numbers


def _seconds(time: Wire) -> int:
    """Returns the seconds of a google.protobuf.Timestamp. Negative ones are written as large numbers."""
    seconds = [one for one in time.get(1, ()) if isinstance(one, int) and one < 1 << 63]
    return seconds[-1] if seconds else 0


def _text(fields: Wire, number: int) -> str:
    try:
        return _get(fields, number, b"").decode()
    except UnicodeDecodeError as error:
        raise NotProven("a text of an entry is not UTF-8") from error


def _fields(message: bytes) -> Wire:
    found: dict[int, list[int | bytes | None]] = {}
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        number, kind = tag >> 3, tag & 7
        if kind in (_VARINT, _BYTES):
            size, at = _varint(message, at)
        elif kind in _FIXED:
            size = _FIXED[kind]
        else:
            raise NotProven("an entry holds a field of an unknown kind")
        end = at if kind == _VARINT else at + size
        if end > len(message) or not 0 < number < _NUMBERS:
            raise NotProven("an entry holds a field that has no end, or a number that is none")
        value = size if kind == _VARINT else message[at:end]
        found.setdefault(number, []).append(None if kind in _FIXED else value)
        at = end
    return found


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    for byte in message[at : at + 10]:
        value |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return value, at
        shift += 7
    raise NotProven("an entry ends in the midst of a number")
