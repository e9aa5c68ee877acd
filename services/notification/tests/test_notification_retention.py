"""Recipient and message are erased by age; that they were delivered is not."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy import make_url

from placet_notification.channels import RecipientRefused
from placet_notification.domain import Delivery, Payload, Status, code_of
from placet_notification.store import METADATA, Lease, Store, deliveries
from placet_rpc.errors import AlreadyExists
from placet_storage import Database, purge_expired

MakePayload = Callable[..., Payload]
OLD = datetime(2026, 5, 6, 7, 8, 9, tzinfo=UTC)
NEW = OLD + timedelta(days=100)
BETWEEN = OLD + timedelta(days=50)
WORDS = ("alice@example.com", "Release payment 4711", "because-of-this", "bob@example.com")


def lease(begins: datetime = OLD) -> Lease:
    return Lease(begins.isoformat(), begins=begins, ends=begins + timedelta(seconds=10))


@pytest.fixture
def payload(make_payload: MakePayload) -> Payload:
    return make_payload(
        recipient=WORDS[0], title=WORDS[1], reason=WORDS[2], approver=WORDS[3], subject_id="order-1"
    )


async def told(store: Store, payload: Payload, key: str = "key", when: datetime = OLD) -> Delivery:
    """A delivery that the channel took."""
    delivery = (await store.claim("default", key, payload, lease(when))).delivery
    return await store.delivered("default", delivery, now=when)


async def cells(database: Database) -> str:
    """The words of all deliveries."""

    def read(connection: sa.Connection) -> str:
        return str(connection.execute(sa.select(METADATA.tables["delivery"])).all())

    return await database.query(read)


async def test_what_is_old_is_purged_and_what_is_not_stays(
    store: Store, payload: Payload, database: Database
) -> None:
    old = await told(store, payload)
    new = await told(store, payload, "other", NEW)

    assert await store.purge(BETWEEN) == 1
    assert await store.purge(BETWEEN) == 0

    stored = await store.get("default", old.notification.id)
    empty = replace(payload, recipient="", title="", reason="", approver="")
    assert stored == replace(old, notification=replace(old.notification, payload=empty))
    assert await store.get("default", new.notification.id) == new
    await store.purge(NEW + timedelta(days=1))
    said = await cells(database)
    assert [word for word in WORDS if word in said] == []
    assert "order-1" in said


async def test_nobody_is_told_again_what_was_purged(store: Store, payload: Payload) -> None:
    await told(store, payload)
    await store.purge(NEW)

    again = await store.claim("default", "key", payload, lease(NEW))

    assert (again.granted, again.created) == (False, False)
    assert again.delivery.status is Status.DELIVERED
    with pytest.raises(AlreadyExists):
        await store.claim("default", "key", replace(payload, title="Another"), lease(NEW))


async def test_what_was_not_told_yet_is_told_in_the_callers_words_and_they_are_not_kept(
    store: Store, payload: Payload, database: Database
) -> None:
    first = (await store.claim("default", "key", payload, lease())).delivery
    await store.not_taken("default", first.notification.id, lease=lease(), detail=f"no way to {WORDS[0]}")
    await store.purge(NEW)

    again = await store.claim("default", "key", payload, lease(NEW))
    assert (again.granted, again.delivery.notification.payload) == (True, payload)
    refusal = RecipientRefused(550, f"{WORDS[0]} is unknown")
    refused = await store.refused("default", first.notification.id, lease=lease(NEW), detail=str(refusal))

    assert (refused.status, refused.detail) == (Status.FAILED, "550")
    said = await cells(database)
    assert [word for word in WORDS if word in said] == []


async def test_all_that_is_old_is_purged_some_at_a_time(
    store: Store, payload: Payload, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliveries, "_OLDEST", deliveries._OLDEST.limit(2))
    for number in range(5):
        await told(store, payload, str(number))
    await purge_expired(store.purge, timedelta(0))
    assert WORDS[0] not in await cells(database)


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Database]:
    database = await Database.open(url, migrations="placet_notification")
    yield database
    await database.close()


async def test_what_was_purged_is_gone_from_the_file(sqlite_url: str, payload: Payload) -> None:
    async with opened(sqlite_url) as database:
        store = Store(database)
        for number in range(60):
            when = OLD if number % 2 else NEW
            words = replace(
                payload, title=f"title-{number:02}-" * 20, recipient=f"to-{number:02}-@example.com"
            )
            await told(store, words, str(number), when)
        await store.purge(BETWEEN)
        raw = contents(sqlite_url)
    for number in range(60):
        for word in (f"title-{number:02}-", f"to-{number:02}-"):
            assert (word.encode() in raw) is (number % 2 == 0), word


def contents(url: str) -> bytes:
    path = Path(make_url(url).database or "")
    return b"".join(file.read_bytes() for file in path.parent.glob(f"{path.name}*"))


def test_a_complaints_code_is_its_number_alone() -> None:
    assert [code_of(one) for one in ("550 no such user", "no way to 550", "", "x@example.com")] == [
        "550",
        "",
        "",
        "",
    ]
