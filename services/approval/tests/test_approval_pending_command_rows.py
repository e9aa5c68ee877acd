"""Rows of pending commands, on both databases: claimed once, bounded for each sender, gone when processed."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from placet_approval.store.pending_commands import MOST_PENDING, PendingCommands
from placet_approval.store.requests import Content, Request, RequestStore
from placet_domain.commands import DecisionCommand
from placet_domain.events import Actor, ActorKind, Verdict
from placet_rpc.errors import AlreadyExists, ResourceExhausted
from placet_storage import Database

HOME, ID = "home", "0d5ad5c6-7a4e-5c53-8b1f-1f6bd0d2a001"
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture
def pending(database: Database) -> PendingCommands:
    return PendingCommands(database)


@pytest.fixture
def requests(database: Database) -> RequestStore:
    return RequestStore(database)


def deciding(command_id: str, reason: str = "fine") -> DecisionCommand:
    actor = Actor(kind=ActorKind.PERSON, name="alice@example.com", authenticated_by="jwt:placet")
    return DecisionCommand(id=command_id, actor=actor, verdict=Verdict.APPROVE, reason=reason)


async def test_a_command_is_claimed_once_and_pending_until_it_is_processed(pending: PendingCommands) -> None:
    assert await pending.claim(HOME, ID, deciding("c"), NOW)
    assert not await pending.claim(HOME, ID, deciding("c"), NOW + timedelta(seconds=1))
    assert await pending.claim(HOME, ID, deciding("d"), NOW + timedelta(seconds=2))

    assert await pending.of_request(HOME, ID) == [deciding("c"), deciding("d")]
    assert await pending.has(HOME, ID, "c")

    await pending.claim(HOME, ID, deciding("e"), NOW + timedelta(seconds=3), processed={"c"})

    assert await pending.of_request(HOME, ID) == [deciding("d"), deciding("e")]
    assert not await pending.has(HOME, ID, "c")


async def test_an_id_with_another_payload_is_refused_while_it_is_pending(pending: PendingCommands) -> None:
    await pending.claim(HOME, ID, deciding("c"), NOW)

    with pytest.raises(AlreadyExists) as raised:
        await pending.claim(HOME, ID, deciding("c", "other"), NOW)

    assert raised.value.reason == "ID_REUSED"


async def test_a_command_that_is_not_processed_is_claimed_again_at_intervals_that_double(
    pending: PendingCommands,
) -> None:
    seconds = [
        second
        for second in range(40)
        if await pending.claim(HOME, ID, deciding("c"), NOW + timedelta(seconds=second))
    ]

    assert seconds == [0, 2, 6, 14, 30]


async def test_a_claim_that_is_released_can_be_taken_at_once(pending: PendingCommands) -> None:
    await pending.claim(HOME, ID, deciding("c"), NOW)

    await pending.release(HOME, ID, "c")

    assert await pending.claim(HOME, ID, deciding("c"), NOW)


async def test_one_sender_has_a_bounded_number_of_pending_commands_however_many_come_at_once(
    pending: PendingCommands, requests: RequestStore
) -> None:
    await requests.insert(
        Request(HOME, ID, b"p", b"received", "{}", b"d", {}, NOW), Content(b"c", "text/plain", b"x", "x")
    )

    results = await asyncio.gather(
        *(pending.claim(HOME, ID, deciding(f"c{number}"), NOW) for number in range(60)),
        return_exceptions=True,
    )

    refused = [one for one in results if isinstance(one, ResourceExhausted)]
    assert (results.count(True), len(refused)) == (MOST_PENDING, 60 - MOST_PENDING)
    assert {one.reason for one in refused} == {"TOO_MANY_COMMANDS"}
    bob = Actor(kind=ActorKind.PERSON, name="bob@example.com", authenticated_by="jwt:placet")
    assert await pending.claim(HOME, ID, deciding("of bob").model_copy(update={"actor": bob}), NOW)


async def test_a_clock_that_was_set_back_holds_up_no_command(pending: PendingCommands) -> None:
    await pending.claim(HOME, ID, deciding("c"), NOW + timedelta(hours=1))

    assert await pending.claim(HOME, ID, deciding("c"), NOW)


async def test_requests_with_an_overdue_command_are_found(pending: PendingCommands) -> None:
    await pending.claim(HOME, ID, deciding("c"), NOW)

    assert await pending.overdue([ID], NOW + timedelta(seconds=1)) == {(HOME, ID)}
    assert await pending.overdue([ID], NOW) == set()
    await pending.forget(HOME, ID, ["c"])
    assert await pending.overdue([ID], NOW + timedelta(seconds=1)) == set()
