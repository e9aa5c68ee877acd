"""Constraints on every text field of ApprovalService's requests."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator

import protovalidate
import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from placet.approval.v1 import approval_service_pb2
from placet_text import says_nothing

SERVICE = approval_service_pb2.DESCRIPTOR.services_by_name["ApprovalService"]

Path = tuple[FieldDescriptor, ...]


def texts(message: Descriptor, path: Path = ()) -> Iterator[Path]:
    """The way to each text in a message, but for maps, whose texts the tests of intake try."""
    for field in message.fields:
        if field.type == FieldDescriptor.TYPE_STRING:
            yield (*path, field)
        elif field.message_type is not None and not field.is_repeated:
            yield from texts(field.message_type, (*path, field))


def with_text(message: Message, path: Path, value: str) -> None:
    for field in path[:-1]:
        message = getattr(message, field.name)
    if path[-1].is_repeated:
        getattr(message, path[-1].name).append(value)
    else:
        setattr(message, path[-1].name, value)


@pytest.mark.parametrize("method", list(SERVICE.methods), ids=lambda method: method.name)
@pytest.mark.parametrize("text", ["a\0b", "  ", "\u200b\u2060", "\u3164\t\ufe0f"], ids=ascii)
def test_no_text_may_hold_nul_or_say_nothing(method: MethodDescriptor, text: str) -> None:
    for path in texts(method.input_type):
        message = GetMessageClass(method.input_type)()
        with_text(message, path, text)
        named = ".".join(field.name for field in path)
        at_fault = {
            ".".join(element.field_name for element in violation.proto.field.elements)
            for violation in protovalidate.collect_violations(message)
            if violation.proto.field is not None
        }
        assert named in at_fault, f"{method.input_type.name}.{named} takes {text!a}"


def is_refused(text: str) -> bool:
    """True if the contract's rule says that a text says nothing."""
    violations = protovalidate.collect_violations(approval_service_pb2.AddCommentRequest(text=text))
    return "string.says_something" in {violation.proto.rule_id for violation in violations}


@pytest.mark.slow
def test_the_contract_and_the_code_agree_which_texts_say_nothing() -> None:
    # What this Python's Unicode does not know, the validator's may.
    known = [
        character
        for code in (*range(0xD800), *range(0xE000, 0x20000), *range(0xE0000, 0xE1000), 0xF0000, 0x10FFFF)
        if unicodedata.category(character := chr(code)) != "Cn" or says_nothing(character)
    ]
    assert [ascii(one) for one in known if is_refused(one) is not says_nothing(one)] == []


@pytest.mark.parametrize("text", ["?", "…", "0", "é", "e\u0301", " a\u200b", "👍", "\U0001fae9", "請"])
def test_a_text_with_a_character_that_is_shown_says_something(text: str) -> None:
    assert not is_refused(text)
    assert not says_nothing(text)
