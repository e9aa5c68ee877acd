"""An id in upper case is the same id: in every RPC of every service, handlers see lower case."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any
from unittest.mock import Mock

import pytest
from google.protobuf.descriptor import FieldDescriptor, ServiceDescriptor
from google.protobuf.message import Message

from buf.validate import validate_pb2
from placet.approval.v1 import approval_service_pb2
from placet.audit.v1 import audit_service_pb2
from placet.decision.v1 import decision_service_pb2
from placet.event.v1 import event_pb2
from placet.notification.v1 import notification_service_pb2
from placet_rpc.access import Method, methods_of
from placet_rpc.interceptors.validation import Validation, _Ids

LOWER = "1c9e3a52-6f0b-4d52-9a39-0e5d5a1f7b11"
SERVICES: list[ServiceDescriptor] = [
    service
    for messages in (
        approval_service_pb2,
        audit_service_pb2,
        decision_service_pb2,
        notification_service_pb2,
    )
    for service in messages.DESCRIPTOR.services_by_name.values()
]


def id_fields(message: Message) -> list[str]:
    return [
        field.name
        for field in message.DESCRIPTOR.fields
        if field.type == FieldDescriptor.TYPE_STRING
        and field.GetOptions().Extensions[validate_pb2.field].string.uuid
    ]


METHODS = [
    pytest.param(method, id=method.name)
    for method in methods_of(SERVICES).values()
    if id_fields(method.decode(b""))
]


def test_every_service_has_such_ids() -> None:
    areas = {param.values[0].area for param in METHODS if isinstance(param.values[0], Method)}
    assert areas == {"approval", "audit", "decision", "notification"}


@pytest.mark.parametrize("method", METHODS)
async def test_an_upper_case_uuid_is_the_same_id(method: Method, monkeypatch: pytest.MonkeyPatch) -> None:
    request = method.decode(b"")
    for name in id_fields(request):
        setattr(request, name, LOWER.upper())
    validation = Validation()
    # The request's other rules are not this test's subject.
    monkeypatch.setattr(validation, "_violations", lambda message: [])
    seen: list[Message] = []

    async def handle(request: Message, context: Any) -> Message:
        seen.append(request)
        return request

    async def handle_stream(request: Message, context: Any) -> AsyncIterator[Message]:
        seen.append(request)
        yield request

    as_given = replace(method, encode=lambda message: message.SerializeToString())
    if method.streaming:
        await anext(validation.stream(as_given, handle_stream)(request.SerializeToString(), Mock()))
    else:
        await validation.unary(as_given, handle)(request.SerializeToString(), Mock())

    assert {getattr(seen[0], name) for name in id_fields(seen[0])} == {LOWER}


def test_what_is_no_uuid_by_the_contract_keeps_its_case() -> None:
    request = audit_service_pb2.AppendEventsRequest(
        approval_id=LOWER.upper(), events=[event_pb2.Event(cause_id=LOWER.upper())]
    )

    _Ids(audit_service_pb2.AppendEventsRequest.DESCRIPTOR).normalize(request)

    assert (request.approval_id, request.events[0].cause_id) == (LOWER, LOWER.upper())
    assert not request.events[0].HasField("actor")
