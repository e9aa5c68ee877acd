"""See the package. A plan is made once for each pair of message and DTO, and then only followed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, timedelta
from enum import StrEnum
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar, get_args

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from pydantic import BaseModel

from placet_domain import events

if TYPE_CHECKING:
    from datetime import datetime

M = TypeVar("M", bound=Message)
D = TypeVar("D", bound=BaseModel)

# The values of fields: which types occur is known from the descriptor, not to the type checker.
Read = Callable[[Any], Any]
Write = Callable[[Message, str, Any], None]

ERASABLE = "placet.event.v1.Erasable"
# The DTO field that stands for the oneof of the same name, and the one that names its case.
BODY, TYPE = "body", "type"

BODIES: dict[str, type[BaseModel]] = {
    dto.model_fields[TYPE].default: dto
    for dto in vars(events).values()
    if isinstance(dto, type) and issubclass(dto, events.Dto) and TYPE in dto.model_fields
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
    """What the name of every value begins with: STATE_ for STATE_UNSPECIFIED."""
    return enum.values_by_number[0].name.removesuffix("UNSPECIFIED")


def dto_of(dto_type: type[BaseModel], name: str) -> Any:
    """The type of a DTO's field, without Optional and Annotated."""
    annotation: Any = dto_type.model_fields[name].annotation
    choices = [choice for choice in get_args(annotation) if choice is not type(None)]
    return choices[0] if choices else annotation


# Message to DTO.


@cache
def _reading_plan(descriptor: Descriptor, dto_type: type[BaseModel]) -> list[tuple[str, Read]]:
    plan: list[tuple[str, Read]] = []
    for name in dto_type.model_fields:
        if name == BODY:
            plan.append((BODY, _read_body))
        elif name != TYPE:
            plan.append((name, _reader(descriptor.fields_by_name[name], dto_type)))
    return plan


def _read_body(message: Any) -> BaseModel:
    case = message.WhichOneof(BODY)
    if case is None:
        raise ValueError(f"{message.DESCRIPTOR.full_name} has no body")
    return from_proto(getattr(message, case), BODIES[case])


def _reader(field: FieldDescriptor, dto_type: type[BaseModel]) -> Read:
    name = field.name
    if field.message_type is not None:
        return _message_reader(name, field.message_type.full_name, dto_type)
    if field.enum_type is not None:
        names = _enum_members(field.enum_type, dto_of(dto_type, name))
        unspecified = names[0]
        return lambda message: names.get(getattr(message, name), unspecified)
    if field.type == FieldDescriptor.TYPE_BYTES:
        return lambda message: getattr(message, name).hex()
    return lambda message: getattr(message, name)


def _message_reader(name: str, kind: str, dto_type: type[BaseModel]) -> Read:
    if kind == ERASABLE:
        return lambda message: getattr(message, name).value
    if kind == Timestamp.DESCRIPTOR.full_name:
        return lambda message: (
            getattr(message, name).ToDatetime(tzinfo=UTC) if message.HasField(name) else None
        )
    if kind == Duration.DESCRIPTOR.full_name:
        return lambda message: getattr(message, name).ToTimedelta() if message.HasField(name) else None
    nested = dto_of(dto_type, name)
    return lambda message: from_proto(getattr(message, name), nested)


def _enum_members(enum: EnumDescriptor, members: type[StrEnum]) -> dict[int, StrEnum]:
    prefix = enum_prefix(enum)
    return {value.number: members(value.name.removeprefix(prefix)) for value in enum.values}


# DTO to message.


def _fill(message: Message, dto: BaseModel) -> None:
    for name, write in _writing_plan(message.DESCRIPTOR, type(dto)):
        value = getattr(dto, name)
        # Zero values are not on the wire in proto3, and an empty text makes no Erasable.
        if value is not None and value != "" and value != 0:
            write(message, name, value)


@cache
def _writing_plan(descriptor: Descriptor, dto_type: type[BaseModel]) -> list[tuple[str, Write]]:
    plan: list[tuple[str, Write]] = []
    for name in dto_type.model_fields:
        if name == BODY:
            plan.append((BODY, _write_body))
        elif name != TYPE:
            plan.append((name, _writer(descriptor.fields_by_name[name])))
    return plan


def _write_body(message: Message, _name: str, body: Any) -> None:
    nested = getattr(message, body.type)
    nested.SetInParent()
    _fill(nested, body)


def _writer(field: FieldDescriptor) -> Write:
    if field.message_type is not None:
        return _message_writer(field.message_type)
    if field.enum_type is not None:
        prefix, numbers = enum_prefix(field.enum_type), field.enum_type.values_by_name
        return lambda message, name, value: setattr(message, name, numbers[prefix + value].number)
    if field.type == FieldDescriptor.TYPE_BYTES:
        return lambda message, name, value: setattr(message, name, bytes.fromhex(value))
    return setattr


def _message_writer(descriptor: Descriptor) -> Write:
    kind = descriptor.full_name
    if kind == ERASABLE:
        return lambda message, name, value: setattr(getattr(message, name), "value", value)
    if kind == Timestamp.DESCRIPTOR.full_name:
        return _write_timestamp
    if kind == Duration.DESCRIPTOR.full_name:
        return _write_duration
    return _write_message


def _write_timestamp(message: Message, name: str, value: datetime) -> None:
    getattr(message, name).FromDatetime(value)


def _write_duration(message: Message, name: str, value: timedelta) -> None:
    getattr(message, name).FromTimedelta(value)


def _write_message(message: Message, name: str, value: BaseModel) -> None:
    nested = getattr(message, name)
    nested.SetInParent()
    _fill(nested, value)
