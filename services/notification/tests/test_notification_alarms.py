"""An alarm is told to operators by ApprovalService alone, and is about no request."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from email import message_from_bytes, policy

import pytest

from placet.notification.v1 import notification_pb2 as pb
from placet_notification.domain import Kind, Notification, Payload, checked
from placet_notification.mail import compose
from placet_notification.servicer import check_kind
from placet_rpc.errors import InvalidArgument, PermissionDenied
from placet_rpc.identity import PROGRAMS, Principal

MakePayload = Callable[..., Payload]

ALARM = {"kind": Kind.ALARM, "approval_id": "", "content_digest": b"", "state": None, "tier": 0, "due": None}


def test_an_alarm_reads_as_one(make_payload: MakePayload) -> None:
    payload = make_payload(
        **ALARM,
        title="People do not respond: policy document",
        reason="12 of 20 (60%).",
        recipient="op@example.com",
    )
    notification = Notification("9d1", 1, datetime(2026, 1, 2, tzinfo=UTC), checked(payload))

    mail = message_from_bytes(
        compose(notification, sender="placet@example.com", content=None), policy=policy.default
    )

    assert mail["Subject"] == "Placet: People do not respond: policy document"
    assert mail["X-Placet-Approval-Id"] is None
    assert mail["References"] is None
    assert mail.get_content().splitlines() == [
        "People do not respond: policy document.",
        "",
        "12 of 20 (60%).",
        "",
        "To see the numbers:",
        "",
        "placet stats",
    ]


@pytest.mark.parametrize(
    "wrong",
    [
        ALARM | {"approval_id": "0d5ad5c6-7a4e-5c53-8b1f-1f6bd0d2a002"},
        ALARM | {"content_digest": bytes(32)},
        {"approval_id": ""},
        {"content_digest": b""},
    ],
)
def test_only_an_alarm_is_about_no_request(make_payload: MakePayload, wrong: dict[str, object]) -> None:
    with pytest.raises(InvalidArgument):
        checked(make_payload(**wrong))


@pytest.mark.parametrize("program", sorted(PROGRAMS))
@pytest.mark.parametrize("kind", pb.NotificationKind.values()[1:])
def test_each_kind_is_sent_by_the_programs_that_the_contract_names(
    program: str, kind: pb.NotificationKind.ValueType
) -> None:
    caller = Principal(program, "default", frozenset({"program"}), "jwt:x")
    sender = "approval" if kind == pb.NOTIFICATION_KIND_ALARM else "worker-default"
    if program == sender:
        check_kind(caller, kind)
        return
    with pytest.raises(PermissionDenied) as refused:
        check_kind(caller, kind)
    assert refused.value.reason == "KIND_REFUSED"
    assert refused.value.metadata["program"] == program
