"""The contract's rules for a request's fields, judged before a handler sees it."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Iterable

import protovalidate
from google.protobuf.message import DecodeError, Message

from placet_rpc.access import ContractError, Method
from placet_rpc.errors import RPC_DOMAIN, FieldViolation, InvalidArgument
from placet_rpc.interceptors.base import Context, Interceptor, Stream, Unary, closing


class Validation(Interceptor):
    """Turns the request's bytes into a message that keeps the contract's rules, and the answer into bytes."""

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
        encode = method.encode

        async def call(request: bytes, context: Context) -> bytes:
            return encode(await inner(self._valid(method, request), context))

        return call

    def stream(self, method: Method, inner: Stream) -> Stream:
        """See Interceptor."""
        encode = method.encode

        async def call(request: bytes, context: Context) -> AsyncGenerator[bytes, None]:
            async with closing(inner(self._valid(method, request), context)) as answers:
                async for answer in answers:
                    yield encode(answer)

        return call

    def _valid(self, method: Method, request: bytes) -> Message:
        try:
            message = method.decode(request)
        except DecodeError:
            raise InvalidArgument(
                "the request's bytes are not the contract's message", reason="UNDECODABLE", domain=RPC_DOMAIN
            ) from None
        violations = self._violations(message)
        if violations:
            raise _invalid_argument([_field_violation(violation) for violation in violations])
        return message


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
