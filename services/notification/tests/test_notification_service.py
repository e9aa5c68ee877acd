"""NotificationService as its callers see it: over gRPC, with tokens, on a real mail server."""

import asyncio
import uuid
from typing import Any

import pytest

from placet.approval.v1 import approval_service_pb2
from placet.event.v1 import event_pb2
from placet.notification.v1 import notification_pb2 as pb
from placet.notification.v1 import notification_service_pb2 as service_pb
from placet_rpc.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    Unavailable,
)
from placet_rpc.identity import acting_for

pytestmark = pytest.mark.integration

# Types of conftest, which tests cannot import by name.
Stack = Any
APPROVAL = "0d5ad5c6-7a4e-5c53-8b1f-1f6bd0d2a001"


async def test_who_is_asked_gets_a_mail_and_the_delivery_says_so(stack: Stack) -> None:
    delivery = await stack.send(stack.asked())
    assert delivery.status == pb.DELIVERY_STATUS_DELIVERED
    assert (delivery.channel, delivery.attempts, delivery.detail) == (pb.CHANNEL_EMAIL, 1, "")
    assert delivery.HasField("deliver_time")
    told = delivery.notification
    assert (told.cursor, told.kind, told.approval_id) == (1, pb.NOTIFICATION_KIND_ASKED, APPROVAL)
    assert told.due_time.ToJsonString() == "2030-01-02T03:04:05.678Z"
    [mail] = stack.office.mails
    assert mail["Subject"] == "Decision needed: Release payment 4711"
    assert mail["Message-ID"] == f"<{told.notification_id}@example.com>"
    # The bytes that the digest covers, not what was extracted from them.
    assert "> Pay 4,711 EUR to Example Ltd." in mail.get_content()
    assert stack.neighbours.asked == [("notification", "default", APPROVAL)]


async def test_the_same_key_again_gives_the_first_answer(stack: Stack) -> None:
    request = stack.asked()
    first, *others = await asyncio.gather(*(stack.send(request) for _ in range(8)))
    assert all(other == first for other in others)
    assert len(stack.office.mails) == 1


async def test_the_same_key_with_another_payload_is_an_error(stack: Stack) -> None:
    await stack.send(stack.asked("key"))
    with pytest.raises(AlreadyExists) as caught:
        await stack.send(stack.asked("key", title="Release payment 4712"))
    assert (caught.value.reason, caught.value.domain) == ("ID_REUSED", "notification.placet")


async def test_a_mail_server_that_is_away_is_unavailable_and_the_same_call_converges(stack: Stack) -> None:
    stack.office.rcpt_answer = "451 try later"
    with pytest.raises(Unavailable) as caught:
        await stack.send(stack.asked("key"))
    assert caught.value.reason == "CHANNEL_UNAVAILABLE"
    stack.office.rcpt_answer = "250 OK"
    delivery = await stack.send(stack.asked("key"))
    assert (delivery.attempts, delivery.detail) == (2, "451 try later")


async def test_a_recipient_that_is_refused_for_good_fails(stack: Stack) -> None:
    stack.office.rcpt_answer = "550 no such mailbox"
    with pytest.raises(FailedPrecondition) as caught:
        await stack.send(stack.asked("key"))
    assert (caught.value.reason, caught.value.metadata["code"]) == ("RECIPIENT_REFUSED", "550")
    operator = await stack.stub("ops@example.com", "operator")
    [delivery] = (await operator.ListDeliveries(service_pb.ListDeliveriesRequest())).deliveries
    assert (delivery.status, delivery.detail) == (pb.DELIVERY_STATUS_FAILED, "550 no such mailbox")


async def test_content_that_cannot_be_had_or_is_not_what_its_digest_says_is_not_shown(stack: Stack) -> None:
    stack.neighbours.missing = True
    with pytest.raises(Unavailable) as caught:
        await stack.send(stack.asked("key"))
    assert caught.value.reason == "CONTENT_UNAVAILABLE"
    stack.neighbours.missing = False
    stack.neighbours.body = b"Pay 9,999 EUR to Eve.\n"
    with pytest.raises(Unavailable, match="other content than the digest names") as caught:
        await stack.send(stack.asked("key"))
    assert caught.value.reason == "CONTENT_UNAVAILABLE"
    assert stack.office.mails == []


async def test_who_is_asked_is_warned_of_what_may_deceive(stack: Stack) -> None:
    invisible = approval_service_pb2.TextWarning(
        field="text",
        kind=approval_service_pb2.TEXT_WARNING_KIND_INVISIBLE,
        message="U+200B ZERO WIDTH SPACE at line 1, column 4",
        count=2,
    )
    of_a_later_contract = approval_service_pb2.TextWarning.FromString(
        b"\n\x04text\x10\x63\x1a\x06U+0041 \x01"
    )
    stack.neighbours.warnings = [invisible, of_a_later_contract]
    await stack.send(stack.asked("key"))
    [mail] = stack.office.mails
    said = " ".join(str(mail.get_content()).split())
    assert "Careful: this may look like something else than it is." in said
    assert (
        "- The content holds characters that are not shown, 2 in all: U+200B ZERO WIDTH SPACE at line 1,"
        " column 4 - The content may deceive: U+0041 "
    ) in said


async def test_a_slow_mail_server_is_told_while_there_is_time_and_the_same_call_gets_the_one_mail(
    stack: Stack,
) -> None:
    taken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    stack.office.before_answer = lambda server: taken
    with pytest.raises(Unavailable, match="still under way") as caught:
        await stack.send(stack.asked("key"), timeout=1)
    assert (caught.value.reason, caught.value.metadata["channel"]) == ("CHANNEL_UNAVAILABLE", "email")
    again = asyncio.create_task(stack.send(stack.asked("key"), timeout=20))
    taken.set_result(None)
    delivery = await again
    assert (delivery.status, delivery.attempts) == (pb.DELIVERY_STATUS_DELIVERED, 1)
    assert len(stack.office.mails) == 1


async def test_slow_content_is_waited_for_beyond_a_hurried_call(stack: Stack) -> None:
    stack.neighbours.gate = asyncio.Event()
    with pytest.raises(Unavailable, match="still under way"):
        await stack.send(stack.asked("key"), timeout=1)
    stack.neighbours.gate.set()
    delivery = await stack.send(stack.asked("key"))
    assert (delivery.status, delivery.attempts) == (pb.DELIVERY_STATUS_DELIVERED, 1)
    assert len(stack.neighbours.asked) == len(stack.office.mails) == 1


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"kind": pb.NOTIFICATION_KIND_OUTCOME}, "state"),
        ({"state": event_pb2.STATE_APPROVED}, "state"),
        ({"recipient": "a\r\nBcc: eve@example.com"}, "recipient"),
        ({"approval_id": "no id"}, "approval_id"),
    ],
)
async def test_a_wrong_request_is_refused_by_field(stack: Stack, changes: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        await stack.send(stack.asked(**changes))
    assert [violation.field for violation in caught.value.violations] == [field]


async def test_a_due_time_that_does_not_exist_is_refused(stack: Stack) -> None:
    request = stack.asked()
    request.due_time.seconds = 2**60
    with pytest.raises(InvalidArgument):
        await stack.send(request)


async def test_deliveries_are_listed_in_pages_and_looked_up(stack: Stack) -> None:
    sent = [await stack.send(stack.asked(recipient=f"program-{number}")) for number in range(5)]
    operator = await stack.stub("ops@example.com", "operator")
    listed: list[pb.Delivery] = []
    token, pages = "", 0
    while not pages or token:
        request = service_pb.ListDeliveriesRequest(
            page_size=2,
            page_token=token,
            filter=service_pb.DeliveryFilter(approval_id=APPROVAL),
        )
        answer = await operator.ListDeliveries(request)
        listed += answer.deliveries
        token, pages = answer.next_page_token, pages + 1
    assert (listed, pages) == (sent[::-1], 3)
    one = await operator.GetDelivery(
        service_pb.GetDeliveryRequest(notification_id=sent[2].notification.notification_id)
    )
    assert one.delivery == sent[2]
    with pytest.raises(NotFound) as caught:
        await operator.GetDelivery(service_pb.GetDeliveryRequest(notification_id=str(uuid.uuid4())))
    assert caught.value.reason == "UNKNOWN_DELIVERY"


async def test_a_page_token_from_elsewhere_is_refused(stack: Stack) -> None:
    for number in range(3):
        await stack.send(stack.asked(recipient=f"program-{number}"))
    operator = await stack.stub("ops@example.com", "operator")
    page = await operator.ListDeliveries(service_pb.ListDeliveriesRequest(page_size=1))
    for token, approval_id in ((page.next_page_token, APPROVAL), ("forged", ""), ("!", "")):
        with pytest.raises(InvalidArgument) as caught:
            await operator.ListDeliveries(
                service_pb.ListDeliveriesRequest(
                    page_token=token, filter=service_pb.DeliveryFilter(approval_id=approval_id)
                )
            )
        assert caught.value.violations[0].field == "page_token"


async def test_tenants_see_nothing_of_each_other(stack: Stack) -> None:
    delivery = await stack.send(stack.asked(), tenant="other")
    ours = await stack.stub("ops@example.com", "operator")
    theirs = await stack.stub("ops@example.com", "operator", tenant="other")
    assert not (await ours.ListDeliveries(service_pb.ListDeliveriesRequest())).deliveries
    assert len((await theirs.ListDeliveries(service_pb.ListDeliveriesRequest())).deliveries) == 1
    with pytest.raises(NotFound):
        await ours.GetDelivery(
            service_pb.GetDeliveryRequest(notification_id=delivery.notification.notification_id)
        )
    assert stack.neighbours.asked[0][1] == "other"


async def test_each_sees_the_part_of_the_stream_that_concerns_them(stack: Stack) -> None:
    for recipient in ("alice@example.com", "bob@example.com", "program"):
        await stack.send(stack.asked(recipient=recipient))
    expected = {
        ("alice@example.com", "approver"): [1],
        ("bob@example.com", "requester"): [2],
        ("program", "requester"): [3],
        ("carol@example.com", "approver"): [],
        ("ops@example.com", "operator"): [1, 2, 3],
        ("audit@example.com", "operator"): [1, 2, 3],
    }
    for (subject, role), cursors in expected.items():
        subscriber = await stack.stub(subject, role)
        with acting_for("default"):
            call = subscriber.Subscribe(service_pb.SubscribeRequest(from_cursor=0))
        seen = []
        async with asyncio.timeout(10):
            async for response in call:
                if not response.HasField("notification"):
                    assert response.next_cursor == 4
                    break
                seen.append(response.notification.cursor)
        call.cancel()
        assert seen == cursors, subject


async def test_a_subscriber_is_told_at_once(stack: Stack) -> None:
    subscriber = await stack.stub("alice@example.com", "approver")
    call = subscriber.Subscribe(service_pb.SubscribeRequest(from_cursor=0))
    async with asyncio.timeout(10):
        assert not (await anext(aiter(call))).HasField("notification")
        await stack.send(stack.asked())
        assert (await anext(aiter(call))).notification.title == "Release payment 4711"
    call.cancel()


async def test_no_program_takes_a_key_before_the_one_that_it_was_minted_for(stack: Stack) -> None:
    key, thief = f"{APPROVAL}/outcome", await stack.stub("approval")
    alarm = service_pb.SendNotificationRequest(
        idempotency_key=key, kind=pb.NOTIFICATION_KIND_ALARM, recipient="ops@example.com", title="Alarm"
    )
    with acting_for("default"):
        await thief.SendNotification(alarm)
        with pytest.raises(PermissionDenied):
            await thief.SendNotification(stack.asked(key))
    outcome = stack.asked(key, kind=pb.NOTIFICATION_KIND_OUTCOME, state=event_pb2.STATE_APPROVED)
    first = await stack.send(outcome)
    assert await stack.send(outcome) == first
    assert first.notification.kind == pb.NOTIFICATION_KIND_OUTCOME


async def test_who_may_not_is_refused_and_the_refusal_is_recorded(stack: Stack) -> None:
    approver = await stack.stub("alice@example.com", "approver")
    with pytest.raises(PermissionDenied):
        await approver.SendNotification(stack.asked())
    tenant, event = await asyncio.wait_for(stack.neighbours.refusals.get(), 10)
    assert tenant == "default"
    assert event.actor.name.value == "alice@example.com"
    assert event.access_refused.method == "/placet.notification.v1.NotificationService/SendNotification"
    assert event.access_refused.approval_id == APPROVAL
    assert stack.office.mails == []
