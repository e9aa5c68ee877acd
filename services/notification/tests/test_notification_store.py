"""Promises of the store, on each database."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from placet_logtail import Batch
from placet_notification.domain import Delivery, Kind, Payload, State, Status, notification_id
from placet_notification.store import METADATA, Lease, Store
from placet_rpc.errors import AlreadyExists, NotFound
from placet_storage import Database
from placet_testing.databases import schema_differences

NOW = datetime(2026, 5, 6, 7, 8, 9, 123456, tzinfo=UTC)


def lease(name: str = "first", begins: datetime = NOW, seconds: float = 10) -> Lease:
    return Lease(name, begins=begins, ends=begins + timedelta(seconds=seconds))


async def claimed(store: Store, tenant: str, key: str, payload: Payload) -> Delivery:
    return (await store.claim(tenant, key, payload, lease())).delivery


async def overtaken(store: Store, payload: Payload) -> Delivery:
    """The claim of the attempt `first`, whose lease ran out before the attempt `second` began."""
    first = await claimed(store, "default", "key", payload)
    await store.claim("default", "key", payload, lease("second", begins=NOW + timedelta(seconds=20)))
    return first


async def test_the_migrations_make_the_tables_of_the_code(database: Database, database_url: str) -> None:
    assert schema_differences(database_url, METADATA) == []


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"due": None, "subject_id": "", "tier": 2**32 - 1, "reason": "Größe 🙂\nzweite Zeile"},
        {"kind": Kind.OUTCOME, "state": State.REJECTED, "tier": 0, "approver": "bob@example.com"},
    ],
)
async def test_a_notification_is_read_back_as_it_was_told(
    store: Store, make_payload: Callable[..., Payload], changes: dict[str, object]
) -> None:
    payload = make_payload(**changes)
    delivery = await claimed(store, "default", "key", payload)
    stored = await store.get("default", delivery.notification.id)
    assert stored == delivery
    assert stored.notification.payload == payload
    assert stored.notification.create_time == NOW
    assert (stored.status, stored.attempts, stored.detail) == (Status.PENDING, 1, "")


async def test_one_key_is_one_delivery(store: Store, make_payload: Callable[..., Payload]) -> None:
    first = await store.claim("default", "key", make_payload(), lease("first"))
    second = await store.claim("default", "key", make_payload(), lease("second"))
    assert (first.granted, first.created) == (True, True)
    assert (second.granted, second.created) == (False, False)
    assert second.delivery == first.delivery


async def test_the_same_key_with_another_payload_is_an_error(
    store: Store, make_payload: Callable[..., Payload]
) -> None:
    await claimed(store, "default", "key", make_payload())
    with pytest.raises(AlreadyExists) as caught:
        await claimed(store, "default", "key", make_payload(title="Release payment 4712"))
    assert caught.value.reason == "ID_REUSED"
    assert caught.value.metadata == {"idempotency_key": "key"}


async def test_only_one_of_many_at_once_gets_the_lease(
    store: Store, make_payload: Callable[..., Payload]
) -> None:
    claims = await asyncio.gather(
        *(store.claim("default", "key", make_payload(), lease(str(number))) for number in range(20))
    )
    assert sum(claim.granted for claim in claims) == 1
    assert sum(claim.created for claim in claims) == 1


async def test_a_lease_that_was_never_released_ends_by_itself(
    store: Store, make_payload: Callable[..., Payload]
) -> None:
    await store.claim("default", "key", make_payload(), lease("crashed", seconds=10))
    early = lease("second", begins=NOW + timedelta(seconds=9.9))
    late = lease("third", begins=NOW + timedelta(seconds=10))
    assert not (await store.claim("default", "key", make_payload(), early)).granted
    third = await store.claim("default", "key", make_payload(), late)
    assert (third.granted, third.delivery.attempts) == (True, 2)


async def test_a_wrong_clock_keeps_no_lease(store: Store, make_payload: Callable[..., Payload]) -> None:
    await store.claim("default", "key", make_payload(), lease("ahead", begins=NOW + timedelta(days=40)))
    await store.claim("default", "near", make_payload(), lease("ahead", begins=NOW + timedelta(seconds=9)))

    right = await store.claim("default", "key", make_payload(), lease("right"))
    second = await store.claim("default", "key", make_payload(), lease("second"))
    near = await store.claim("default", "near", make_payload(), lease("right"))

    assert (right.granted, second.granted, near.granted) == (True, False, False)


async def test_a_failed_attempt_releases_the_lease(
    store: Store, make_payload: Callable[..., Payload]
) -> None:
    id = (await claimed(store, "default", "key", make_payload())).notification.id
    failed = await store.not_taken("default", id, lease=lease(), detail="451 later")
    assert (failed.status, failed.detail) == (Status.PENDING, "451 later")
    again = await store.claim("default", "key", make_payload(), lease("second"))
    assert (again.granted, again.delivery.attempts) == (True, 2)


async def test_an_attempt_that_lost_its_lease_changes_nothing_by_failing(
    store: Store, make_payload: Callable[..., Payload]
) -> None:
    id = (await overtaken(store, make_payload())).notification.id
    await store.not_taken("default", id, lease=lease("first"), detail="late news")
    late = await store.refused("default", id, lease=lease("first"), detail="550 late news")
    assert (late.status, late.detail) == (Status.PENDING, "")
    third = lease("third", begins=NOW + timedelta(seconds=21))
    assert not (await store.claim("default", "key", make_payload(), third)).granted


async def test_what_the_channel_took_is_delivered_whoever_holds_the_lease(
    store: Store, make_payload: Callable[..., Payload]
) -> None:
    first = await overtaken(store, make_payload())
    id = first.notification.id
    delivered = await store.delivered("default", first, now=NOW)
    assert (delivered.status, delivered.attempts, delivered.deliver_time) == (Status.DELIVERED, 2, NOW)
    assert await store.get("default", id) == delivered
    again = await store.delivered("default", first, now=NOW + timedelta(seconds=9))
    assert again == delivered
    refused = await store.refused("default", id, lease=lease("second"), detail="550 no")
    assert refused == delivered


async def test_a_final_refusal_stays_whatever_an_overtaken_attempt_reports(
    store: Store, make_payload: Callable[..., Payload]
) -> None:
    # Its caller has been told, and the log says so.
    first = await overtaken(store, make_payload())
    id = first.notification.id
    refused = await store.refused("default", id, lease=lease("second"), detail="550 no")
    assert refused.status is Status.FAILED
    assert await store.delivered("default", first, now=NOW) == refused
    assert await store.get("default", id) == refused


async def test_cursors_have_no_gaps_whatever_happens_at_once(
    store: Store, make_payload: Callable[..., Payload]
) -> None:
    payloads = [make_payload(title=str(number % 15)) for number in range(40)]
    # Some share a key and payload, some a key with another payload, which fails.
    results = await asyncio.gather(
        *(
            store.claim("default", str(number % 20), payload, lease(str(number)))
            for number, payload in enumerate(payloads)
        ),
        return_exceptions=True,
    )
    assert any(isinstance(result, AlreadyExists) for result in results)
    page = await store.read("default", 1)
    assert [notification.cursor for notification in page.items] == list(range(1, 21))
    assert (page.next, page.end) == (21, 21)


async def test_tenants_see_nothing_of_each_other(store: Store, make_payload: Callable[..., Payload]) -> None:
    ours = await claimed(store, "default", "key", make_payload())
    theirs = await claimed(store, "other", "key", make_payload(title="another, with the same key"))
    assert ours.notification.cursor == theirs.notification.cursor == 1
    assert ours.notification.id != theirs.notification.id
    for tenant, own, foreign in (("default", ours, theirs), ("other", theirs, ours)):
        assert await store.get(tenant, own.notification.id) == own
        with pytest.raises(NotFound) as caught:
            await store.get(tenant, foreign.notification.id)
        assert caught.value.reason == "UNKNOWN_DELIVERY"
        with pytest.raises(NotFound):
            await store.delivered(tenant, foreign, now=NOW)
        assert await store.newest(tenant, approval_id=None, before=None, limit=10) == [own]
        assert await store.read(tenant, 0) == Batch([own.notification], 2, 2)
    assert await store.ends(["default", "other", "nobody"]) == {"default": 2, "other": 2, "nobody": 1}


async def test_deliveries_are_listed_newest_first_in_pages(
    store: Store, make_payload: Callable[..., Payload]
) -> None:
    other = "0d5ad5c6-7a4e-5c53-8b1f-1f6bd0d2a002"
    for number in range(6):
        changes = {"approval_id": other} if number % 2 else {}
        await claimed(store, "default", str(number), make_payload(**changes))
    first = await store.newest("default", approval_id=None, before=None, limit=4)
    rest = await store.newest("default", approval_id=None, before=3, limit=4)
    of_one = await store.newest("default", approval_id=other, before=None, limit=4)
    assert [delivery.notification.cursor for delivery in first] == [6, 5, 4, 3]
    assert [delivery.notification.cursor for delivery in rest] == [2, 1]
    assert [delivery.notification.cursor for delivery in of_one] == [6, 4, 2]


async def test_a_stream_can_be_read_for_one_recipient(
    store: Store, make_payload: Callable[..., Payload]
) -> None:
    for number, who in enumerate(["alice@example.com", "bob@example.com", "alice@example.com"]):
        await claimed(store, "default", str(number), make_payload(recipient=who))
    page = await store.read("default", 2, "alice@example.com")
    assert ([notification.cursor for notification in page.items], page.next, page.end) == ([3], 4, 4)


async def test_a_tenant_without_notifications_has_an_empty_stream(store: Store) -> None:
    assert await store.read("nobody", 1) == Batch([], 1, 1)


def test_ids_differ_by_tenant_and_key_and_by_nothing_else() -> None:
    assert notification_id("a", "key") == notification_id("a", "key")
    assert len({notification_id("a", "bc"), notification_id("ab", "c"), notification_id("a", "b")}) == 3


async def test_the_digest_covers_every_field_of_the_payload(
    store: Store, make_payload: Callable[..., Payload]
) -> None:
    base = make_payload()
    others = [
        replace(base, kind=Kind.OUTCOME, state=State.APPROVED),
        replace(base, approval_id="0d5ad5c6-7a4e-5c53-8b1f-1f6bd0d2a002"),
        replace(base, content_digest=bytes(32)),
        replace(base, recipient="bob@example.com"),
        replace(base, title="other"),
        replace(base, subject_id="other"),
        replace(base, reason="other"),
        replace(base, tier=2),
        replace(base, due=None),
        replace(base, state=State.APPROVED),
        replace(base, approver="bob@example.com"),
    ]
    await claimed(store, "default", "key", base)
    for other in others:
        with pytest.raises(AlreadyExists):
            await claimed(store, "default", "key", other)
