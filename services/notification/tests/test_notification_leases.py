"""One mail for one key, whoever else sends, is slow, away, killed or stopped."""

import asyncio
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest

from placet_notification import sender as sender_module
from placet_notification.domain import (
    Delivery,
    Payload,
    Status,
)
from placet_notification.sender import Sender
from placet_notification.store import Claim, Lease, Store
from placet_rpc.calls import Calls
from placet_rpc.errors import Unavailable
from placet_storage import DatabaseUnavailable

# Of conftest, which tests cannot import by name.
Mailbox = Any
MakeSender = Callable[..., Sender]
MakePayload = Callable[..., Payload]


async def test_many_at_once_are_one_mail(
    store: Store, mailbox: Mailbox, make_sender: MakeSender, make_payload: MakePayload
) -> None:
    # Two replicas on one database, on each kind.
    mailbox.gate = asyncio.Event()
    replicas = [make_sender(store) for _ in range(2)]
    calls = [
        asyncio.create_task(replicas[number % 2].send("default", "key", make_payload(), within=20))
        for number in range(10)
    ]
    await asyncio.wait_for(mailbox.begun.wait(), 10)
    mailbox.gate.set()
    deliveries = await asyncio.gather(*calls)
    assert len(mailbox.taken) == mailbox.attempts == 1
    assert len(set(deliveries)) == 1


@pytest.mark.parametrize("replicas", [1, 2])
async def test_a_hurried_call_is_answered_in_time_and_the_next_one_gets_the_result_at_once(
    store: Store, mailbox: Mailbox, make_sender: MakeSender, make_payload: MakePayload, replicas: int
) -> None:
    mailbox.gate = asyncio.Event()
    senders = [make_sender(store) for _ in range(replicas)]
    hurried, other = senders[0], senders[-1]
    with pytest.raises(Unavailable, match="still under way"):
        await hurried.send("default", "key", make_payload(), within=0.05)
    await asyncio.wait_for(mailbox.begun.wait(), 10)
    with pytest.raises(Unavailable, match="still under way"):
        await other.send("default", "key", make_payload(), within=0.05)
    again = asyncio.create_task(other.send("default", "key", make_payload(), within=60))
    mailbox.gate.set()
    # Long before the lease ends.
    delivery = await asyncio.wait_for(again, 5)
    assert (delivery.status, delivery.attempts) == (Status.DELIVERED, 1)
    assert mailbox.attempts == 1
    await asyncio.gather(hurried.close(), other.close())


@dataclass
class _Waiting(Store):
    """A store that tells when somebody waits for another one's lease to end."""

    store: Store
    waited: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        super().__init__(self.store._database)

    async def take_lease(self, tenant: str, key: str, payload: Payload, lease: Lease) -> Claim:
        """See Store."""
        self.waited.set()
        return await super().take_lease(tenant, key, payload, lease)


@pytest.mark.parametrize("by", ["the server's stop", "the sender's own"])
async def test_a_stop_does_not_wait_for_another_replicas_attempt(
    sqlite_store: Store, mailbox: Mailbox, make_sender: MakeSender, make_payload: MakePayload, by: str
) -> None:
    # An attempt that began only then could be cut in the midst of its mail.
    mailbox.gate = asyncio.Event()
    busy = make_sender(sqlite_store)
    first = asyncio.create_task(busy.send("default", "key", make_payload(), within=60))
    await asyncio.wait_for(mailbox.begun.wait(), 10)
    store, calls = _Waiting(sqlite_store), Calls(1)
    stopped = make_sender(store)
    with calls.track("SendNotification", streaming=False, remaining=None):
        waiting = asyncio.create_task(stopped.send("default", "key", make_payload(), within=60))
    await asyncio.wait_for(store.waited.wait(), 10)
    if by == "the server's stop":
        calls.stopping.set()
    else:
        await asyncio.wait_for(stopped.close(), 5)
    with pytest.raises(Unavailable, match="stopping"):
        await asyncio.wait_for(waiting, 5)
    mailbox.gate.set()
    assert (await first).status is Status.DELIVERED
    assert mailbox.attempts == 1


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
    sqlite_store: Store, mailbox: Mailbox, make_sender: MakeSender, make_payload: MakePayload
) -> None:
    sender = make_sender(_Slow(sqlite_store, 0.5), attempt_seconds=10)
    await sender.send("default", "key", make_payload(), within=10)
    assert 0 < mailbox.within <= 9.5


async def test_an_attempt_whose_time_went_by_before_it_could_begin_sends_nothing(
    sqlite_store: Store, mailbox: Mailbox, make_sender: MakeSender, make_payload: MakePayload
) -> None:
    store = _Slow(sqlite_store, took=1)
    sender = make_sender(store, attempt_seconds=0.9)
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
    sqlite_store: Store, mailbox: Mailbox, make_sender: MakeSender, make_payload: MakePayload
) -> None:
    store = _Forgetful(sqlite_store._database)
    store.refusals = 2
    sender = make_sender(store)
    delivery = await sender.send("default", "key", make_payload(), within=10)
    assert (delivery.status, delivery.attempts, store.refusals) == (Status.DELIVERED, 1, 0)
    assert await sender.send("default", "key", make_payload(), within=10) == delivery
    assert len(mailbox.taken) == 1


async def test_a_mail_whose_acceptance_was_not_recorded_is_sent_again_as_the_same_mail(
    sqlite_store: Store,
    mailbox: Mailbox,
    make_sender: MakeSender,
    make_payload: MakePayload,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # As after a crash between the two: at least once, and recognisable.
    monkeypatch.setattr(sender_module, "LEASE_MARGIN", timedelta(0))
    store = _Forgetful(sqlite_store._database)
    store.refusals = sys.maxsize
    sender = make_sender(store, attempt_seconds=1)
    with pytest.raises(DatabaseUnavailable):
        await sender.send("default", "key", make_payload(), within=10)
    store.refusals = 0
    delivery = await sender.send("default", "key", make_payload(), within=10)
    assert (delivery.status, delivery.attempts) == (Status.DELIVERED, 2)
    assert mailbox.taken[0] == mailbox.taken[1]
