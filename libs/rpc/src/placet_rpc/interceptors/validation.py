"""Validation of requests by the contract's rules, and normalization of their ids."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable, Iterable
from typing import cast

import protovalidate
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import DecodeError, Message

from buf.validate import validate_pb2
from placet_rpc.access import ContractError, Method
from placet_rpc.errors import RPC_DOMAIN, FieldViolation, InvalidArgument
from placet_rpc.interceptors.base import Context, Interceptor, Stream, Unary, closing


class Validation(Interceptor):
    """Decodes and validates the request, and encodes the answer.

    A UUID in upper case is the same id as in lower case (RFC 9562, section 4): handlers see lower case in
    every field that the contract declares a UUID.
    """

    name = "validation"

    def __init__(self) -> None:
        """Rules are compiled once per message."""
        self._violations = protovalidate.Validator().collect_violations

    def prepare(self, methods: Iterable[Method]) -> None:
        """Compiles all rules, so that a wrong one stops the start and no caller waits for it."""
        for method in methods:
            try:
                self._violations(method.decode(b""))
            except protovalidate.CompilationError as error:
                raise ContractError(f"{method.name}: a rule of its request is wrong: {error}") from error

    def unary(self, method: Method, inner: Unary) -> Unary:
        """See Interceptor."""
        decode, encode = self._decoder(method), method.encode

        async def call(request: bytes, context: Context) -> bytes:
            return encode(await inner(decode(request), context))

        return call

    def stream(self, method: Method, inner: Stream) -> Stream:
        """See Interceptor."""
        decode, encode = self._decoder(method), method.encode

        async def call(request: bytes, context: Context) -> AsyncGenerator[bytes, None]:
            async with closing(inner(decode(request), context)) as answers:
                async for answer in answers:
                    yield encode(answer)

        return call

    def _decoder(self, method: Method) -> Callable[[bytes], Message]:
        """Bytes to a valid message with normalized ids. The function raises InvalidArgument."""
        ids = _Ids(cast(Descriptor, method.decode(b"").DESCRIPTOR))

        def decode(request: bytes) -> Message:
            try:
                message = method.decode(request)
            except DecodeError:
                raise InvalidArgument(
                    "the request's bytes are not the contract's message",
                    violations=[FieldViolation("", "must be the bytes of the contract's message")],
                    reason="UNDECODABLE",
                    domain=RPC_DOMAIN,
                ) from None
            violations = self._violations(message)
            if violations:
                raise _invalid_argument([_field_violation(violation) for violation in violations])
            ids.normalize(message)
            return message

        return decode


class _Ids:
    """The fields that the contract declares UUIDs, of a message and of its parts."""

    def __init__(self, message: Descriptor, above: frozenset[str] = frozenset()) -> None:
        """`above`: the messages that contain this one; one within itself is not looked into again."""
        above |= {message.full_name}
        strings = [field for field in message.fields if field.type == FieldDescriptor.TYPE_STRING]
        self._single = [field.name for field in strings if _rules(field).uuid]
        self._repeated = [field.name for field in strings if _rules(field, items=True).uuid]
        parts = {
            field.name: _Ids(field.message_type, above)
            for field in message.fields
            if field.message_type is not None
            and not field.message_type.GetOptions().map_entry
            and field.message_type.full_name not in above
        }
        self._parts = {name: ids for name, ids in parts.items() if ids}
        self._lists = {field.name for field in message.fields if field.is_repeated}

    def __bool__(self) -> bool:
        """True if there is any such field."""
        return bool(self._single or self._repeated or self._parts)

    def normalize(self, message: Message) -> None:
        """Changes the ids in `message` to lower case."""
        for name in self._single:
            value = getattr(message, name)
            if value != value.lower():
                setattr(message, name, value.lower())
        for name in self._repeated:
            values = getattr(message, name)
            if any(value != value.lower() for value in values):
                values[:] = [value.lower() for value in values]
        for name, ids in self._parts.items():
            for part in getattr(message, name) if name in self._lists else [getattr(message, name)]:
                ids.normalize(part)


def _rules(field: FieldDescriptor, *, items: bool = False) -> validate_pb2.StringRules:
    rules = field.GetOptions().Extensions[validate_pb2.field]
    return rules.repeated.items.string if items else rules.string


def _field_violation(violation: protovalidate.Violation) -> FieldViolation:
    """One broken rule; without a field when the rule is about the whole message."""
    broken = violation.proto
    path = ""
    for element in broken.field.elements if broken.field else ():
        if element.field_name:
            path += f".{element.field_name}" if path else element.field_name
        if element.subscript is not None:
            path += f"[{json.dumps(element.subscript.value)}]"
    description = broken.message or broken.rule_id or "is not valid"
    return FieldViolation(path, f"key {description}" if broken.for_key else description)


def _invalid_argument(violations: list[FieldViolation]) -> InvalidArgument:
    first = "; ".join(f"{item.field}: {item.description}".removeprefix(": ") for item in violations[:3])
    more = f"; and {len(violations) - 3} more" if len(violations) > 3 else ""
    return InvalidArgument(
        first + more, violations=violations, reason="CONSTRAINT_VIOLATED", domain=RPC_DOMAIN
    )
