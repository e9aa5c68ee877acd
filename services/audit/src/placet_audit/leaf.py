"""Leaves: the bytes of an entry that are hashed, and the disclosures beside them, which can be erased.

A leaf is the deterministic serialization of `placet.event.v1.Entry` in which every `Erasable` that has
a value holds nothing but its commitment, SHA-256(salt || UTF-8 of value), with 16 bytes of salt: random ones,
or those that follow from the seed of an attestation, so that ApprovalService can sign the commitments.
An `Erasable` that is absent or empty stays as the writer left it, without commitment: there is nothing to
erase. Paths are those of `placet.audit.v1.Disclosure`.

The erasable fields are found in the message descriptors, so that a new field of that type is sealed too.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from google.protobuf.descriptor import Descriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError, Message
from google.protobuf.timestamp_pb2 import Timestamp

from placet.event.v1 import event_pb2
from placet_audit.domain import Disclosure, Draft, Entry
from placet_proof import SALT_BYTES, commitment
from placet_proof.attestation import salt_of
from placet_rpc.errors import DataLoss, FieldViolation, InvalidArgument

_ERASABLE = event_pb2.Erasable.DESCRIPTOR.full_name
# Any: each function takes messages of its own type.
_TIMES: Mapping[str, Callable[[Any], object]] = {
    Timestamp.DESCRIPTOR.full_name: Timestamp.ToDatetime,
    Duration.DESCRIPTOR.full_name: Duration.ToJsonString,
}


def seal(entry: event_pb2.Entry, *, field: str = "event") -> Draft:
    """Seals an entry: returns its leaf with the disclosures that open it, and empties the entry's values.

    Raises InvalidArgument for an invalid time, and for unknown fields: an erasable value among them would be
    hashed in the clear. `field` names the event in the caller's request, for the error.
    """
    _refuse_unknown_fields(entry, field)
    seed = _take_seed(entry.event)
    disclosures = []
    for path, message in _walk(entry, ""):
        if isinstance(message, event_pb2.Erasable):
            if message.value:
                disclosures.append(_commit(path, message, seed))
        else:
            _check_time(field + path.removeprefix("event"), message)
    return Draft(
        number=entry.number,
        cause_id=entry.event.cause_id,
        leaf=entry.SerializeToString(deterministic=True),
        disclosures=tuple(disclosures),
    )


def disclose(entry: Entry) -> event_pb2.LogEntry:
    """Returns the entry as callers get it: its leaf, with the values and salts that still exist.

    Raises DataLoss if what is stored cannot be read.
    """
    answer = event_pb2.LogEntry(index=entry.index)
    try:
        answer.entry.ParseFromString(entry.draft.leaf)
        for disclosure in entry.draft.disclosures:
            field = _resolve(answer.entry, disclosure.path)
            field.value = disclosure.value
            field.salt = disclosure.salt
    except (DecodeError, AttributeError, IndexError, TypeError, ValueError) as damage:
        raise DataLoss(f"Entry {entry.index} of the log cannot be read.") from damage
    return answer


def _take_seed(event: event_pb2.Event) -> bytes:
    """Clears the seed of an event's salts, and returns it; empty where it has none."""
    if not event.HasField("attestation"):
        return b""
    seed = event.attestation.service.salt_seed
    event.attestation.service.ClearField("salt_seed")
    return seed


def _commit(path: str, field: event_pb2.Erasable, seed: bytes) -> Disclosure:
    salt = salt_of(seed, path) if seed else os.urandom(SALT_BYTES)
    disclosure = Disclosure(path, salt, field.value)
    field.Clear()
    field.commitment = commitment(disclosure.salt, disclosure.value)
    return disclosure


def _refuse_unknown_fields(entry: event_pb2.Entry, field: str) -> None:
    size = entry.ByteSize()
    entry.DiscardUnknownFields()
    if entry.ByteSize() != size:
        violation = FieldViolation(field, "holds fields that the contract does not have")
        raise InvalidArgument("The event has unknown fields.", violations=[violation])


def _check_time(path: str, message: Message) -> None:
    try:
        _TIMES[message.DESCRIPTOR.full_name](message)
    except (ValueError, OverflowError) as error:
        violation = FieldViolation(path, "is not a valid time")
        raise InvalidArgument("The event holds a time that is none.", violations=[violation]) from error


@dataclass(frozen=True, slots=True)
class _Field:
    """Field on a path to erasable values or times; `inner` is None at the end of the path."""

    name: str
    repeated: bool
    inner: Mapping[int, _Field] | None


def _walk(message: Message, prefix: str) -> Iterator[tuple[str, Message]]:
    yield from _walk_along(message, _fields(message.DESCRIPTOR), prefix)


def _walk_along(message: Message, fields: Mapping[int, _Field], prefix: str) -> Iterator[tuple[str, Message]]:
    for descriptor, value in message.ListFields():
        field = fields.get(descriptor.number)
        if field is None:
            continue
        path = prefix + field.name
        children = (
            [(f"{path}[{position}]", child) for position, child in enumerate(value)]
            if field.repeated
            else [(path, value)]
        )
        for child_path, child in children:
            if field.inner is None:
                yield child_path, child
            else:
                yield from _walk_along(child, field.inner, f"{child_path}.")


@functools.cache
def _fields(descriptor: Descriptor) -> Mapping[int, _Field]:
    """Returns the fields of a message type that are, or lead to, erasable values and times, by number."""
    found = {}
    for field in descriptor.fields:
        inner_type = field.message_type
        if inner_type is None:
            continue
        repeated = field.is_repeated
        if inner_type.full_name == _ERASABLE or inner_type.full_name in _TIMES:
            found[field.number] = _Field(field.name, repeated, None)
        elif inner := _fields(inner_type):
            if inner_type.GetOptions().map_entry:
                raise TypeError(f"{field.full_name}: a map gives no stable paths to its erasable fields")
            found[field.number] = _Field(field.name, repeated, inner)
    return found


_STEP = re.compile(r"(\w+)(?:\[(0|[1-9][0-9]{0,8})\])?", re.ASCII)


@functools.lru_cache(maxsize=1024)
def _steps(path: str) -> Sequence[tuple[str, int | None]]:
    steps = []
    for part in path.split("."):
        match = _STEP.fullmatch(part)
        if match is None:
            raise ValueError(f"not a field path: {path!r}")
        steps.append((match[1], None if match[2] is None else int(match[2])))
    return tuple(steps)


def _resolve(message: Message, path: str) -> event_pb2.Erasable:
    found: object = message
    for name, position in _steps(path):
        found = getattr(found, name)
        if position is not None:
            found = found[position]  # type: ignore[index]  # a repeated field, or else TypeError
    if not isinstance(found, event_pb2.Erasable) or not found.commitment:
        raise ValueError(f"no commitment at {path!r}")
    return found
