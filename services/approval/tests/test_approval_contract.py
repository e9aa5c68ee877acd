"""Constraints on every text field of ApprovalService's requests."""

from __future__ import annotations

from collections.abc import Iterator

import protovalidate
import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from placet.approval.v1 import approval_service_pb2

SERVICE = approval_service_pb2.DESCRIPTOR.services_by_name["ApprovalService"]

Path = tuple[FieldDescriptor, ...]


def texts(message: Descriptor, path: Path = ()) -> Iterator[Path]:
    """The way to each text in a message, but for maps, whose texts the tests of intake try."""
    for field in message.fields:
        if field.type == FieldDescriptor.TYPE_STRING:
            yield (*path, field)
        elif field.message_type is not None and not field.is_repeated:
            yield from texts(field.message_type, (*path, field))


def with_nul(message: Message, path: Path) -> None:
    for field in path[:-1]:
        message = getattr(message, field.name)
    value = "a\0b"
    if path[-1].is_repeated:
        getattr(message, path[-1].name).append(value)
    else:
        setattr(message, path[-1].name, value)


@pytest.mark.parametrize("method", list(SERVICE.methods), ids=lambda method: method.name)
def test_no_text_may_hold_nul(method: MethodDescriptor) -> None:
    for path in texts(method.input_type):
        message = GetMessageClass(method.input_type)()
        with_nul(message, path)
        named = ".".join(field.name for field in path)
        at_fault = {
            ".".join(element.field_name for element in violation.proto.field.elements)
            for violation in protovalidate.collect_violations(message)
            if violation.proto.field is not None
        }
        assert named in at_fault, f"{method.input_type.name}.{named} takes NUL"
