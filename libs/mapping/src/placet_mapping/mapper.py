"""The mapper of this package. A plan is built once for each pair of message and DTO, and cached."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC
from enum import StrEnum
from functools import cache
from operator import attrgetter
from typing import Any, TypeVar, get_args

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from pydantic import BaseModel

from placet.event.v1 import event_pb2
from placet_domain import events
from placet_domain.dto import Dto

M = TypeVar("M", bound=Message)
D = TypeVar("D", bound=BaseModel)

# The values of fields: which types occur is known from the descriptor, not to the type checker.
Read = Callable[[Any], Any]
Write = Callable[[Message, Any], None]

ERASABLE = event_pb2.Erasable.DESCRIPTOR.full_name
# The DTO field that stands for the oneof of the same name, and the one that names its case.
BODY, TYPE = "body", "type"

BODIES: dict[str, type[BaseModel]] = {
    dto.model_fields[TYPE].default: dto
    for dto in vars(events).values()
    if isinstance(dto, type) and issubclass(dto, Dto) and TYPE in dto.model_fields
}


def to_proto(dto: BaseModel, message_type: type[M]) -> M:
    """The message that equals `dto`."""
    message = message_type()
    _fill(message, dto)
    return message


def from_proto(message: Message, dto_type: type[D]) -> D:
    """The DTO that equals `message`; an erased text is empty, an enum value that this version does not
    know is unspecified. Raises ValueError for an event without a body."""
    values = {name: read(message) for name, read in _reading_plan(message.DESCRIPTOR, dto_type)}
    return dto_type.model_construct(**values)


def enum_prefix(enum: EnumDescriptor) -> str:
    """The prefix of the name of every value: STATE_ for STATE_UNSPECIFIED."""
    return enum.values_by_number[0].name.removesuffix("UNSPECIFIED")


def dto_of(dto_type: type[BaseModel], name: str) -> Any:
    """The type of a DTO's field, or of its elements, without Optional, Annotated and tuple."""
    annotation: Any = dto_type.model_fields[name].annotation
    choices = [choice for choice in get_args(annotation) if choice not in (type(None), ...)]
    return choices[0] if choices else annotation


# Message to DTO.


@cache
def _reading_plan(descriptor: Descriptor, dto_type: type[BaseModel]) -> list[tuple[str, Read]]:
    plan: list[tuple[str, Read]] = []
    for name in dto_type.model_fields:
        if name == BODY:
            plan.append((BODY, _read_body))
        elif name == TYPE:
            plan.append((TYPE, _constant(dto_type.model_fields[TYPE].default)))
        else:
            plan.append((name, _reader(descriptor.fields_by_name[name], dto_type)))
    return plan


def _constant(value: Any) -> Read:
    return lambda _message: value


def _read_body(message: Any) -> BaseModel:
    case = message.WhichOneof(BODY)
    if case is None:
        raise ValueError(f"{message.DESCRIPTOR.full_name} has no body")
    return from_proto(getattr(message, case), BODIES[case])


def _reader(field: FieldDescriptor, dto_type: type[BaseModel]) -> Read:
    name, read, of = field.name, attrgetter(field.name), _value_reader(field, dto_type)
    if field.is_repeated:
        return lambda message: tuple(map(of, read(message)))
    if _may_be_absent(field):
        return lambda message: of(read(message)) if message.HasField(name) else None
    if of is _same:
        return read
    return lambda message: of(read(message))


def _same(value: Any) -> Any:
    return value


def _value_reader(field: FieldDescriptor, dto_type: type[BaseModel]) -> Read:
    """Reads one value, or one element, of a field."""
    if _is_erasable(field):
        return attrgetter("value")
    if field.enum_type is not None:
        names = _enum_members(field.enum_type, dto_of(dto_type, field.name))
        unspecified = names[0]
        return lambda number: names.get(number, unspecified)
    if field.type == FieldDescriptor.TYPE_BYTES:
        return lambda value: value.hex()
    if field.message_type is None:
        return _same
    if field.message_type is Timestamp.DESCRIPTOR:
        return lambda timestamp: timestamp.ToDatetime(tzinfo=UTC)
    if field.message_type is Duration.DESCRIPTOR:
        return lambda duration: duration.ToTimedelta()
    nested = dto_of(dto_type, field.name)
    return lambda message: from_proto(message, nested)


def _may_be_absent(field: FieldDescriptor) -> bool:
    """An unset field is None where that differs from zero: optional scalars, times and durations."""
    if field.message_type is None:
        return bool(field.has_presence)
    return field.message_type in (Timestamp.DESCRIPTOR, Duration.DESCRIPTOR)


def _is_erasable(field: FieldDescriptor) -> bool:
    return field.message_type is not None and field.message_type.full_name == ERASABLE


def _enum_members(enum: EnumDescriptor, members: type[StrEnum]) -> dict[int, StrEnum]:
    prefix = enum_prefix(enum)
    return {value.number: members(value.name.removeprefix(prefix)) for value in enum.values}


# DTO to message.


def _fill(message: Message, dto: BaseModel) -> None:
    for name, write in _writing_plan(message.DESCRIPTOR, type(dto)):
        write(message, getattr(dto, name))


@cache
def _writing_plan(descriptor: Descriptor, dto_type: type[BaseModel]) -> list[tuple[str, Write]]:
    plan: list[tuple[str, Write]] = []
    for name in dto_type.model_fields:
        if name == BODY:
            plan.append((BODY, _write_body))
        elif name != TYPE:
            plan.append((name, _writer(descriptor.fields_by_name[name])))
    return plan


def _write_body(message: Message, body: Any) -> None:
    nested = getattr(message, body.type)
    nested.SetInParent()
    _fill(nested, body)


def _writer(field: FieldDescriptor) -> Write:
    name = field.name
    if field.is_repeated:
        return _repeated_writer(field)
    if field.message_type is not None:
        assign = _message_writer(field.message_type)

        def write_message(message: Message, value: Any) -> None:
            # An empty text makes no Erasable.
            if value is not None and value != "":
                assign(getattr(message, name), value)

        return write_message
    encode, keeps_zero = _encoder(field), field.has_presence

    def write(message: Message, value: Any) -> None:
        # A zero value is set only where absence has another meaning.
        if value or (keeps_zero and value is not None):
            setattr(message, name, encode(value))

    return write


def _repeated_writer(field: FieldDescriptor) -> Write:
    name = field.name
    if field.message_type is None:
        encode = _encoder(field)
        return lambda message, values: getattr(message, name).extend(encode(value) for value in values)
    assign = _message_writer(field.message_type)

    def write(message: Message, values: Any) -> None:
        for value in values:
            assign(getattr(message, name).add(), value)

    return write


def _encoder(field: FieldDescriptor) -> Callable[[Any], Any]:
    if field.enum_type is not None:
        prefix, numbers = enum_prefix(field.enum_type), field.enum_type.values_by_name
        return lambda value: numbers[prefix + value].number
    if field.type == FieldDescriptor.TYPE_BYTES:
        return bytes.fromhex
    return _same


def _message_writer(descriptor: Descriptor) -> Callable[[Any, Any], None]:
    if descriptor.full_name == ERASABLE:
        return lambda erasable, value: setattr(erasable, "value", value)
    if descriptor is Timestamp.DESCRIPTOR:
        return lambda timestamp, value: timestamp.FromDatetime(value)
    if descriptor is Duration.DESCRIPTOR:
        return lambda duration, value: duration.FromTimedelta(value)
    return _write_nested


def _write_nested(message: Message, dto: BaseModel) -> None:
    message.SetInParent()
    _fill(message, dto)
