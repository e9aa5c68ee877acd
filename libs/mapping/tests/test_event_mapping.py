"""The DTOs of the domain and the messages of placet.event.v1 are the same events, field by field."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any, get_args, get_origin

import pytest
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from placet.event.v1 import error_reason_pb2, event_pb2
from placet_domain import attestation, coverage, events, facts
from placet_mapping import from_proto, to_proto
from placet_mapping.mapper import BODIES, dto_of, enum_prefix

EVENT = event_pb2.Event.DESCRIPTOR
PAIRS: list[tuple[Descriptor, type[BaseModel]]] = [
    (event_pb2.Actor.DESCRIPTOR, events.Actor),
    (event_pb2.Assignment.DESCRIPTOR, events.Assignment),
    (event_pb2.ServiceSignature.DESCRIPTOR, attestation.ServiceSignature),
    (event_pb2.ContentCoverage.DESCRIPTOR, coverage.ContentCoverage),
    (event_pb2.ContentGap.DESCRIPTOR, coverage.ContentGap),
    (event_pb2.Amount.DESCRIPTOR, facts.Amount),
    (event_pb2.Facts.DESCRIPTOR, facts.Facts),
    (event_pb2.FoundFacts.DESCRIPTOR, facts.FoundFacts),
    (event_pb2.NamedFact.DESCRIPTOR, facts.NamedFact),
    (EVENT, events.Event),
    (event_pb2.Entry.DESCRIPTOR, events.Entry),
    (event_pb2.LogEntry.DESCRIPTOR, events.LogEntry),
    *(
        (field.message_type, BODIES[field.name])
        for field in EVENT.oneofs_by_name["body"].fields
        if field.message_type is not None
    ),
]


def kind_of_proto(field: FieldDescriptor) -> str:
    """The field's type, in words that both sides share."""
    kind = scalar_kind(field)
    if field.is_repeated:
        return f"repeated {kind}"
    return f"optional {kind}" if is_optional(field) else kind


def is_optional(field: FieldDescriptor) -> bool:
    times = ("google.protobuf.Timestamp", "google.protobuf.Duration")
    # These times are required, so their DTOs have no None.
    required = ("placet.event.v1.Event.time", "placet.event.v1.ServiceSignature.time")
    if field.full_name == "placet.event.v1.Event.attestation":
        return True
    if field.message_type is not None:
        return field.message_type.full_name in times and field.full_name not in required
    return bool(field.has_presence)


def scalar_kind(field: FieldDescriptor) -> str:
    if field.message_type is not None:
        special = {
            "google.protobuf.Timestamp": "datetime",
            "google.protobuf.Duration": "timedelta",
            "placet.event.v1.Erasable": "erasable",
        }
        return special.get(field.message_type.full_name, field.message_type.name)
    if field.enum_type is not None:
        return field.enum_type.name
    scalar = {
        FieldDescriptor.TYPE_BYTES: "hex",
        FieldDescriptor.TYPE_STRING: "str",
        FieldDescriptor.TYPE_BOOL: "bool",
        FieldDescriptor.TYPE_DOUBLE: "float",
    }
    return scalar.get(field.type, "int")


def kind_of_dto(dto_type: type[BaseModel], name: str) -> str:
    """The same for a DTO's field."""
    annotation = dto_type.model_fields[name].annotation
    choices = get_args(annotation)
    if get_origin(annotation) is tuple:
        return f"repeated {named(choices[0], [])}"
    kind = named(dto_of(dto_type, name), dto_type.model_fields[name].metadata)
    return f"optional {kind}" if type(None) in choices else kind


def named(annotation: Any, metadata: list[Any]) -> str:
    """The mark of an annotated text, else the type's own name."""
    if get_origin(annotation) is Annotated:
        annotation, *metadata = get_args(annotation)
    marks = [mark for mark in metadata if isinstance(mark, str)]
    return marks[0] if marks else str(annotation.__name__)


@pytest.mark.parametrize(("message", "dto_type"), PAIRS, ids=lambda side: getattr(side, "name", None))
def test_a_dto_has_the_fields_of_its_message(message: Descriptor, dto_type: type[BaseModel]) -> None:
    body = {
        field.name for oneof in message.oneofs for field in oneof.fields if not oneof.name.startswith("_")
    }
    in_contract = {field.name: kind_of_proto(field) for field in message.fields if field.name not in body}
    in_dto = {
        name: kind_of_dto(dto_type, name) for name in dto_type.model_fields if name not in ("type", "body")
    }
    assert in_dto == in_contract
    assert ("body" in dto_type.model_fields) == bool(body)


def test_every_body_of_the_contract_has_a_dto_and_the_reverse() -> None:
    assert set(BODIES) == {field.name for field in EVENT.oneofs_by_name["body"].fields}


ENUMS = [
    *event_pb2.DESCRIPTOR.enum_types_by_name.values(),
    *error_reason_pb2.DESCRIPTOR.enum_types_by_name.values(),
]


@pytest.mark.parametrize("enum", ENUMS, ids=lambda enum: enum.name)
def test_an_enum_has_the_same_values_on_both_sides(enum: EnumDescriptor) -> None:
    members: type[StrEnum] = getattr(coverage if enum.name == "GapKind" else events, enum.name)
    assert [member.value for member in members] == [
        value.name.removeprefix(enum_prefix(enum)) for value in enum.values
    ]


TEXT = st.text(max_size=20)
TIMES = st.timedeltas(timedelta(0), timedelta(days=80_000)).map(
    lambda since: datetime(1970, 1, 1, tzinfo=UTC) + since
)
VALUES = {
    "str": TEXT,
    "erasable": TEXT,
    "hex": st.binary(max_size=32).map(bytes.hex),
    "bool": st.booleans(),
    "int": st.integers(0, 2**31),
    "float": st.floats(0, 1),
    "datetime": TIMES,
    "timedelta": st.timedeltas(timedelta(0), timedelta(days=4000)),
}


def any_of(dto_type: type[BaseModel]) -> st.SearchStrategy[BaseModel]:
    """Any value of a DTO."""
    fields: dict[str, st.SearchStrategy[object]] = {}
    for name in dto_type.model_fields:
        if name == "body":
            fields[name] = st.one_of([any_of(body) for body in BODIES.values()])
        elif name != "type":
            fields[name] = any_value(dto_type, name)
    return st.builds(dto_type, **fields)


def any_value(dto_type: type[BaseModel], name: str) -> st.SearchStrategy[object]:
    kind = kind_of_dto(dto_type, name)
    how, _, kind = kind.rpartition(" ")
    values = VALUES.get(kind)
    if values is None:
        inner = dto_of(dto_type, name)
        values = st.sampled_from(inner) if issubclass(inner, StrEnum) else any_of(inner)
    if how == "repeated":
        return st.lists(values, max_size=3).map(tuple)
    return st.none() | values if how == "optional" else values


@given(any_of(events.LogEntry))
def test_what_crosses_to_the_contract_and_back_is_the_same(stored: BaseModel) -> None:
    there = to_proto(stored, event_pb2.LogEntry)
    wire = event_pb2.LogEntry.FromString(there.SerializeToString())
    back = from_proto(wire, events.LogEntry)
    assert back == stored


def test_an_event_without_a_body_is_refused() -> None:
    with pytest.raises(ValueError, match="no body"):
        from_proto(event_pb2.Event(), events.Event)
