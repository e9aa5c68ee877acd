"""Invalid requests: every violation is named by field at once, and nothing is kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from placet.approval.v1 import approval_pb2
from placet_approval.store.tables import request
from placet_rpc.errors import (
    InvalidArgument,
)
from placet_storage import Database

if TYPE_CHECKING:
    from services.approval.tests.conftest import Platform

pytestmark = pytest.mark.integration

CALLER, ALICE = "ci@example.com", "alice@example.com"
HOME, ABROAD = "home", "abroad"


PDF = "application/pdf"


def assigned(slot: str, *people: str, groups: Sequence[str] = ()) -> approval_pb2.Assignment:
    return approval_pb2.Assignment(slot=slot, people=people, groups=groups)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"request_id": "4711"}, "request_id"),
        ({"request_id": ""}, "request_id"),
        ({"request_id": " "}, "request_id"),
        ({"title": ""}, "title"),
        ({"title": "   "}, "title"),
        ({"title": "\u200b\u2060"}, "title"),
        ({"subject_id": "\u2800"}, "subject_id"),
        ({"policy": "\u00a0"}, "policy"),
        ({"labels": {"a": "\u200b"}}, 'labels["a"]'),
        ({"labels": {" ": "a"}}, 'labels[" "]'),
        ({"title": "a" * 201}, "title"),
        ({"title": "one\ntwo"}, "title"),
        ({"title": "nul\0"}, "title"),
        ({"subject_id": "nul\0"}, "subject_id"),
        ({"policy": "nul\0"}, "policy"),
        ({"labels": {"a": "nul\0"}}, 'labels["a"]'),
        ({"labels": {"nul\0": "a"}}, 'labels["nul\\u0000"]'),
        ({"labels": {str(number): "" for number in range(21)}}, "labels"),
        ({"policy": "unheard-of"}, "policy"),
        ({"required_approver": ""}, "assignments"),
        ({"required_approver": "alice"}, "assignments[0].people[0]"),
        ({"required_approver": "jürgen@example.com"}, "assignments[0].people[0]"),
        ({"required_approver": "alice@example.com\0"}, "assignments[0].people[0]"),
        ({"required_approver": CALLER}, "assignments[0].people[0]"),
        (
            {"assignments": [assigned("required_approver", ALICE), assigned("nobody", ALICE)]},
            "assignments[1].slot",
        ),
        ({"assignments": [assigned("required_approver")]}, "assignments[0].people"),
        ({"assignments": [assigned("required_approver", ALICE)] * 2}, "assignments[1].slot"),
        ({"assignments": [assigned("required_approver", ALICE, groups=["ops"])]}, "assignments[0].groups"),
        ({"policy": "escalating", "manager_approver": ""}, "assignments"),
        ({"deadline_time": Timestamp(seconds=1)}, "deadline_time"),
        ({"deadline_time": Timestamp(seconds=10**15)}, "deadline_time"),
        ({"deadline_time": Timestamp(seconds=4 * 10**9, nanos=-1)}, "deadline_time"),
        ({"approval": None}, "payload"),
        ({"content": None}, "content"),
        ({"content": approval_pb2.Content(body=b"", media_type="text/plain")}, "content.body"),
        ({"content": approval_pb2.Content(body=b"x" * (1 << 20) + b"x", media_type=PDF)}, "content.body"),
        ({"content": approval_pb2.Content(body=b"x", media_type="image/png")}, "content.media_type"),
        ({"content": approval_pb2.Content(body=b"a\0", media_type="text/plain")}, "content.body"),
        ({"content": approval_pb2.Content(body=b"\xff", media_type="text/markdown")}, "content.body"),
        ({"content": approval_pb2.Content(body=b"x", media_type=PDF)}, "content.body"),
        ({"content": approval_pb2.Content(body=b" \n\t\r\n", media_type="text/plain")}, "content.body"),
        ({"content": approval_pb2.Content(body="\u200b".encode(), media_type="text/x-diff")}, "content.body"),
        (
            {"content": approval_pb2.Content(body="a;b".encode("utf-16"), media_type="text/plain")},
            "content.body",
        ),
    ],
)
async def test_what_is_wrong_with_a_request_is_said_by_field(
    platform: Platform, store: Database, changes: dict[str, Any], field: str
) -> None:
    caller = await platform.as_(CALLER)

    with pytest.raises(InvalidArgument) as raised:
        await caller.RequestApproval(platform.asking(**changes))

    assert {violation.field for violation in raised.value.violations} == {field}
    rows = await store.query(lambda connection: connection.execute(request.select()).all())
    assert rows == []


@pytest.mark.parametrize(
    ("person", "advice"),
    [("bob@müller.example", "xn--"), ("p\u0430m@example.com", "ASCII"), ("bob", "like name@")],
)
async def test_an_address_that_is_none_is_refused_with_advice(
    platform: Platform, person: str, advice: str
) -> None:
    with pytest.raises(InvalidArgument) as raised:
        await (await platform.as_(CALLER)).RequestApproval(platform.asking(required_approver=person))

    assert [advice in violation.description for violation in raised.value.violations] == [True]
