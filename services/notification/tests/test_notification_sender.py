"""One mail for one key, whatever happens meanwhile."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from placet_notification.channels import (
    ChannelUnavailable,
    RecipientRefused,
)
from placet_notification.domain import (
    Channel,
    Kind,
    Payload,
    State,
    Status,
    notification_id,
)
from placet_notification.sender import Sender
from placet_notification.store import Store
from placet_rpc.errors import AlreadyExists, FailedPrecondition, ResourceExhausted, Unavailable

# Of conftest, which tests cannot import by name.
Mailbox = Any
MakeSender = Callable[..., Sender]
Contents = Any
MakePayload = Callable[..., Payload]


@pytest.fixture
def sender(sqlite_store: Store, make_sender: MakeSender) -> Sender:
    return make_sender(sqlite_store)


async def test_a_delivery_says_what_became_of_it(
    sender: Sender, mailbox: Mailbox, make_payload: MakePayload
) -> None:
    delivery = await sender.send("default", "key", make_payload(), within=10)
    assert (delivery.status, delivery.attempts, delivery.detail) == (Status.DELIVERED, 1, "")
    assert delivery.deliver_time is not None
    [(notification, content)] = mailbox.taken
    assert notification == delivery.notification
    assert content is not None
    assert content.text == "Pay 4,711 EUR to Example Ltd.\n"


async def test_the_same_key_gives_the_first_answer_and_no_second_mail(
    sender: Sender, mailbox: Mailbox, make_payload: MakePayload
) -> None:
    first = await sender.send("default", "key", make_payload(), within=10)
    again = await sender.send("default", "key", make_payload(), within=10)
    assert again == first
    assert len(mailbox.taken) == 1


async def test_the_same_key_with_another_payload_is_an_error(
    sender: Sender, mailbox: Mailbox, make_payload: MakePayload
) -> None:
    await sender.send("default", "key", make_payload(), within=10)
    with pytest.raises(AlreadyExists):
        await sender.send("default", "key", make_payload(recipient="bob@example.com"), within=10)
    assert len(mailbox.taken) == 1


async def test_the_same_key_of_another_tenant_is_another_mail(
    sender: Sender, mailbox: Mailbox, make_payload: MakePayload
) -> None:
    await sender.send("default", "key", make_payload(), within=10)
    await sender.send("other", "key", make_payload(), within=10)
    assert len(mailbox.taken) == 2


async def test_a_call_that_waits_for_another_ones_attempt_gives_up_in_time(
    sender: Sender, mailbox: Mailbox, make_payload: MakePayload
) -> None:
    mailbox.gate = asyncio.Event()
    first = asyncio.create_task(sender.send("default", "key", make_payload(), within=20))
    await asyncio.wait_for(mailbox.begun.wait(), 10)
    with pytest.raises(Unavailable, match="under way") as caught:
        await sender.send("default", "key", make_payload(), within=0.3)
    assert caught.value.reason == "CHANNEL_UNAVAILABLE"
    mailbox.gate.set()
    assert (await first).status is Status.DELIVERED


async def test_an_attempt_that_failed_after_its_caller_left_does_not_hold_up_the_next(
    sender: Sender, mailbox: Mailbox, make_payload: MakePayload
) -> None:
    mailbox.gate, mailbox.verdicts = asyncio.Event(), [ChannelUnavailable("451 later")]
    with pytest.raises(Unavailable, match="still under way"):
        await sender.send("default", "key", make_payload(), within=0.05)
    mailbox.gate.set()
    await sender.close()
    delivery = await asyncio.wait_for(sender.send("default", "key", make_payload(), within=60), 5)
    assert (delivery.status, delivery.attempts) == (Status.DELIVERED, 2)


async def test_another_payload_does_not_join_the_attempt_of_the_first(
    sender: Sender, mailbox: Mailbox, make_payload: MakePayload
) -> None:
    mailbox.gate = asyncio.Event()
    first = asyncio.create_task(sender.send("default", "key", make_payload(), within=60))
    await asyncio.wait_for(mailbox.begun.wait(), 10)
    with pytest.raises(AlreadyExists):
        await sender.send("default", "key", make_payload(title="another"), within=60)
    mailbox.gate.set()
    assert (await first).status is Status.DELIVERED


async def test_one_attempt_too_many_is_refused_and_one_that_is_under_way_can_still_be_joined(
    sqlite_store: Store, mailbox: Mailbox, make_sender: MakeSender, make_payload: MakePayload
) -> None:
    # Attempts outlive their callers, so callers do not bound them.
    mailbox.gate = asyncio.Event()
    sender = make_sender(sqlite_store, max_attempts=2)
    for number in range(2):
        with pytest.raises(Unavailable, match="still under way"):
            await sender.send("default", str(number), make_payload(), within=0.01)
    with pytest.raises(ResourceExhausted, match="later"):
        await sender.send("default", "2", make_payload(), within=10)
    joined = asyncio.create_task(sender.send("default", "0", make_payload(), within=60))
    mailbox.gate.set()
    assert (await joined).attempts == 1
    await sender.close()
    assert (await sender.send("default", "2", make_payload(), within=10)).attempts == 1


async def test_what_did_not_go_is_tried_again_by_the_next_call(
    sender: Sender, mailbox: Mailbox, sqlite_store: Store, make_payload: MakePayload
) -> None:
    mailbox.verdicts = [ChannelUnavailable("451 later")]
    with pytest.raises(Unavailable) as caught:
        await sender.send("default", "key", make_payload(), within=10)
    assert (caught.value.reason, caught.value.metadata) == ("CHANNEL_UNAVAILABLE", {"channel": "email"})
    waiting = await sqlite_store.get("default", notification_id("default", "key"))
    assert (waiting.status, waiting.attempts, waiting.detail) == (Status.PENDING, 1, "451 later")
    delivery = await sender.send("default", "key", make_payload(), within=10)
    assert (delivery.status, delivery.attempts, delivery.detail) == (Status.DELIVERED, 2, "451 later")


async def test_an_attempt_that_fails_by_a_mistake_of_ours_does_not_hold_up_the_next(
    sender: Sender, mailbox: Mailbox, sqlite_store: Store, make_payload: MakePayload
) -> None:
    mailbox.verdicts = [ValueError("a mistake")]
    with pytest.raises(ValueError, match="a mistake"):
        await sender.send("default", "key", make_payload(), within=10)
    waiting = await sqlite_store.get("default", notification_id("default", "key"))
    assert (waiting.status, waiting.attempts) == (Status.PENDING, 1)
    assert "log" in waiting.detail
    delivery = await asyncio.wait_for(sender.send("default", "key", make_payload(), within=60), 5)
    assert (delivery.status, delivery.attempts) == (Status.DELIVERED, 2)


async def test_a_recipient_that_is_refused_for_good_is_not_tried_again(
    sender: Sender, mailbox: Mailbox, make_payload: MakePayload
) -> None:
    mailbox.verdicts = [RecipientRefused(550, "no such mailbox")]
    for _ in range(2):
        with pytest.raises(FailedPrecondition, match="no such mailbox") as caught:
            await sender.send("default", "key", make_payload(), within=10)
        assert caught.value.reason == "RECIPIENT_REFUSED"
        id = notification_id("default", "key")
        assert caught.value.metadata == {"channel": "email", "code": "550", "notification_id": id}
    assert mailbox.attempts == 1


async def test_nobody_is_asked_without_seeing_what_is_to_be_decided(
    sender: Sender, mailbox: Mailbox, contents: Contents, make_payload: MakePayload
) -> None:
    content, contents.content = contents.content, None
    payload = make_payload()
    with pytest.raises(Unavailable) as caught:
        await sender.send("default", "key", payload, within=10)
    assert caught.value.reason == "CONTENT_UNAVAILABLE"
    assert caught.value.metadata == {"approval_id": payload.approval_id}
    assert mailbox.attempts == 0
    contents.content = content
    assert (await sender.send("default", "key", payload, within=10)).attempts == 2
    assert contents.asked[0] == ("default", payload.approval_id, payload.content_digest)


async def test_an_outcome_is_told_without_the_content(
    sender: Sender, mailbox: Mailbox, contents: Contents, make_payload: MakePayload
) -> None:
    contents.content = None
    outcome = make_payload(kind=Kind.OUTCOME, state=State.APPROVED, approver="bob@example.com")
    assert (await sender.send("default", "key", outcome, within=10)).status is Status.DELIVERED
    assert mailbox.taken[0][1] is None


async def test_a_program_is_told_by_the_log_without_the_content(
    sender: Sender,
    mailbox: Mailbox,
    contents: Contents,
    make_payload: MakePayload,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    contents.content = None
    delivery = await sender.send("default", "key", make_payload(recipient="billing"), within=10)
    assert (delivery.channel, delivery.status) == (Channel.LOG, Status.DELIVERED)
    assert mailbox.attempts == 0
    assert "billing" in caplog.text


async def test_a_caller_that_hangs_up_does_not_undo_the_attempt(
    sender: Sender, mailbox: Mailbox, sqlite_store: Store, make_payload: MakePayload
) -> None:
    mailbox.gate = asyncio.Event()
    call = asyncio.create_task(sender.send("default", "key", make_payload(), within=10))
    await asyncio.wait_for(mailbox.begun.wait(), 10)
    call.cancel()
    await asyncio.wait([call])
    mailbox.gate.set()
    await sender.close()
    delivery = await sqlite_store.get("default", notification_id("default", "key"))
    assert delivery.status is Status.DELIVERED
