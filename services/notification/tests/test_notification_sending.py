"""One mail for one key, whatever happens meanwhile."""

import asyncio
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest

from placet_notification import sending
from placet_notification.channels import (
    ChannelUnavailable,
    DeliveryChannel,
    FetchContent,
    LogChannel,
    RecipientRefused,
)
from placet_notification.domain import (
    Channel,
    Content,
    Delivery,
    Kind,
    Notification,
    Payload,
    State,
    Status,
    notification_id,
)
from placet_notification.sending import Sender
from placet_notification.store import Claim, Lease, Store
from placet_rpc.errors import AlreadyExists, FailedPrecondition, ResourceExhausted, Unavailable
from placet_storage import DatabaseUnavailable

# Of conftest, which tests cannot import by name.
Contents = Any
MakePayload = Callable[..., Payload]


@dataclass
class Mailbox:
    """An e-mail channel in memory. `verdicts` are raised one after the other; then it takes everything."""

    verdicts: list[Exception] = field(default_factory=list)
    taken: list[tuple[Notification, Content | None]] = field(default_factory=list)
    attempts: int = 0
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    gate: asyncio.Event | None = None
    # What the last attempt was given, in seconds.
    within: float = 0.0

    async def deliver(
        self, tenant: str, notification: Notification, content: FetchContent, *, within: float
    ) -> None:
        """See DeliveryChannel."""
        shown = await content()
        self.attempts += 1
        self.within = within
        self.begun.set()
        if self.gate is not None:
            await self.gate.wait()
        if self.verdicts:
            raise self.verdicts.pop(0)
        self.taken.append((notification, shown))


def make_sender(store: Store, mailbox: Mailbox, contents: Contents, **options: Any) -> Sender:
    channels: dict[Channel, DeliveryChannel] = {Channel.EMAIL: mailbox, Channel.LOG: LogChannel()}
    return Sender(store, channels, contents, lambda tenant: None, **options)


@pytest.fixture
def mailbox() -> Mailbox:
    return Mailbox()


@pytest.fixture
def sender(sqlite_store: Store, mailbox: Mailbox, contents: Contents) -> Sender:
    return make_sender(sqlite_store, mailbox, contents)


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


async def test_many_at_once_are_one_mail(
    store: Store, mailbox: Mailbox, contents: Contents, make_payload: MakePayload
) -> None:
    # Two replicas on one database, on each kind.
    mailbox.gate = asyncio.Event()
    replicas = [make_sender(store, mailbox, contents) for _ in range(2)]
    calls = [
        asyncio.create_task(replicas[number % 2].send("default", "key", make_payload(), within=20))
        for number in range(10)
    ]
    await asyncio.wait_for(mailbox.begun.wait(), 10)
    mailbox.gate.set()
    deliveries = await asyncio.gather(*calls)
    assert len(mailbox.taken) == mailbox.attempts == 1
    assert len(set(deliveries)) == 1


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


async def test_a_hurried_call_is_answered_in_time_and_the_next_one_gets_the_result_at_once(
    sender: Sender, mailbox: Mailbox, make_payload: MakePayload
) -> None:
    mailbox.gate = asyncio.Event()
    with pytest.raises(Unavailable, match="still under way"):
        await sender.send("default", "key", make_payload(), within=0.05)
    again = asyncio.create_task(sender.send("default", "key", make_payload(), within=60))
    mailbox.gate.set()
    # Long before the lease ends.
    delivery = await asyncio.wait_for(again, 5)
    assert (delivery.status, delivery.attempts) == (Status.DELIVERED, 1)
    assert len(mailbox.taken) == 1


async def test_a_hurried_call_is_answered_in_time_by_every_replica(
    store: Store, mailbox: Mailbox, contents: Contents, make_payload: MakePayload
) -> None:
    mailbox.gate = asyncio.Event()
    hurried, other = (make_sender(store, mailbox, contents) for _ in range(2))
    with pytest.raises(Unavailable, match="still under way"):
        await hurried.send("default", "key", make_payload(), within=0.05)
    await asyncio.wait_for(mailbox.begun.wait(), 10)
    with pytest.raises(Unavailable, match="still under way"):
        await other.send("default", "key", make_payload(), within=0.05)
    again = asyncio.create_task(other.send("default", "key", make_payload(), within=60))
    mailbox.gate.set()
    delivery = await asyncio.wait_for(again, 5)
    assert (delivery.status, delivery.attempts) == (Status.DELIVERED, 1)
    assert mailbox.attempts == 1
    await asyncio.gather(hurried.close(), other.close())


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
    sqlite_store: Store, mailbox: Mailbox, contents: Contents, make_payload: MakePayload
) -> None:
    # Attempts outlive their callers, so callers do not bound them.
    mailbox.gate = asyncio.Event()
    sender = make_sender(sqlite_store, mailbox, contents, max_attempts=2)
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
        assert caught.value.metadata == {"channel": "email", "code": "550", "id": id}
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


class _Slow(Store):
    """A store whose database takes its time to answer a claim."""

    def __init__(self, store: Store, took: float) -> None:
        """`took` in seconds."""
        super().__init__(store._database)
        self.took = took

    async def claim(self, tenant: str, key: str, payload: Payload, lease: Lease) -> Claim:
        """See Store."""
        claim = await super().claim(tenant, key, payload, lease)
        await asyncio.sleep(self.took)
        return claim


async def test_an_attempt_ends_before_its_lease_does_however_long_the_claim_took(
    sqlite_store: Store, mailbox: Mailbox, contents: Contents, make_payload: MakePayload
) -> None:
    sender = make_sender(_Slow(sqlite_store, 0.5), mailbox, contents, attempt_seconds=10)
    await sender.send("default", "key", make_payload(), within=10)
    assert 0 < mailbox.within <= 9.5


async def test_an_attempt_whose_time_went_by_before_it_could_begin_sends_nothing(
    sqlite_store: Store, mailbox: Mailbox, contents: Contents, make_payload: MakePayload
) -> None:
    store = _Slow(sqlite_store, took=1)
    sender = make_sender(store, mailbox, contents, attempt_seconds=0.9)
    with pytest.raises(Unavailable) as caught:
        await sender.send("default", "key", make_payload(), within=10)
    assert caught.value.reason == "CHANNEL_UNAVAILABLE"
    assert mailbox.attempts == 0
    store.took = 0
    # Nor does it hold up the next, though its lease would last longer.
    delivery = await asyncio.wait_for(sender.send("default", "key", make_payload(), within=60), 2)
    assert (delivery.status, delivery.attempts) == (Status.DELIVERED, 2)


class _Forgetful(Store):
    """A store whose database is away for a while when the channel's answer is to be recorded."""

    refusals: int = 0

    async def delivered(self, tenant: str, delivery: Delivery, *, now: datetime) -> Delivery:
        """See Store."""
        if self.refusals:
            self.refusals -= 1
            raise DatabaseUnavailable("gone")
        return await super().delivered(tenant, delivery, now=now)


async def test_a_short_absence_of_the_database_sends_no_second_mail(
    sqlite_store: Store, mailbox: Mailbox, contents: Contents, make_payload: MakePayload
) -> None:
    store = _Forgetful(sqlite_store._database)
    store.refusals = 2
    sender = make_sender(store, mailbox, contents)
    delivery = await sender.send("default", "key", make_payload(), within=10)
    assert (delivery.status, delivery.attempts, store.refusals) == (Status.DELIVERED, 1, 0)
    assert await sender.send("default", "key", make_payload(), within=10) == delivery
    assert len(mailbox.taken) == 1


async def test_a_mail_whose_acceptance_was_not_recorded_is_sent_again_as_the_same_mail(
    sqlite_store: Store,
    mailbox: Mailbox,
    contents: Contents,
    make_payload: MakePayload,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # As after a crash between the two: at least once, and recognisable.
    monkeypatch.setattr(sending, "LEASE_MARGIN", timedelta(0))
    store = _Forgetful(sqlite_store._database)
    store.refusals = sys.maxsize
    sender = make_sender(store, mailbox, contents, attempt_seconds=1)
    with pytest.raises(DatabaseUnavailable):
        await sender.send("default", "key", make_payload(), within=10)
    store.refusals = 0
    delivery = await sender.send("default", "key", make_payload(), within=10)
    assert (delivery.status, delivery.attempts) == (Status.DELIVERED, 2)
    assert mailbox.taken[0] == mailbox.taken[1]
