"""Rows of pending commands, on both databases: claimed once, bounded for each sender, gone when processed."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from placet.event.v1 import event_pb2
from placet_approval.store.pending_commands import MOST_PENDING, OverdueCommand, PendingCommands
from placet_approval.store.requests import BEGINNING, Content, Request, RequestStore
from placet_approval.store.tables import view
from placet_domain.commands import DecisionCommand
from placet_domain.events import Actor, ActorKind, Verdict
from placet_rpc.errors import AlreadyExists, ResourceExhausted, Unavailable
from placet_storage import Database
from placet_testing.attestation import attested_command

HOME, ID = "home", "0d5ad5c6-7a4e-5c53-8b1f-1f6bd0d2a001"
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture
def pending(database: Database) -> PendingCommands:
    return PendingCommands(database, attested_command)


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

    assert [one.id for one in await pending.of_request(HOME, ID)] == ["c", "d"]
    assert await pending.has(HOME, ID, "c")

    await pending.claim(HOME, ID, deciding("e"), NOW + timedelta(seconds=3), processed={"c"})

    assert [one.id for one in await pending.of_request(HOME, ID)] == ["d", "e"]
    assert not await pending.has(HOME, ID, "c")


async def test_a_command_is_attested_once_however_often_it_is_sent(pending: PendingCommands) -> None:
    first = await pending.claim(HOME, ID, deciding("c"), NOW)
    again = await pending.claim(HOME, ID, deciding("c"), NOW + timedelta(seconds=2))

    assert first is not None
    assert first.attestation is not None
    assert again == first
    assert await pending.of_request(HOME, ID) == [first]
    assert await pending.unsignalled(HOME, ID, "c") == first
    # As recovery takes it up, also where its row was deleted meanwhile.
    await pending.forget(HOME, ID, ["c"])
    assert await pending.claim(HOME, ID, first, NOW) == first


async def test_an_id_with_another_payload_is_refused_while_it_is_pending(pending: PendingCommands) -> None:
    await pending.claim(HOME, ID, deciding("c"), NOW)

    with pytest.raises(AlreadyExists) as raised:
        await pending.claim(HOME, ID, deciding("c", "other"), NOW)

    assert raised.value.reason == "ID_REUSED"


async def test_a_command_that_is_not_processed_is_claimed_again_at_intervals_that_double(
    pending: PendingCommands,
) -> None:
    seconds = []
    for second in range(40):
        if await pending.claim(HOME, ID, deciding("c"), NOW + timedelta(seconds=second)):
            seconds.append(second)
            async with pending.signalling(HOME, ID, "c"):
                pass

    assert seconds == [0, 2, 6, 14, 30]


async def test_a_claim_whose_process_died_before_the_signal_is_known_as_such(
    pending: PendingCommands,
) -> None:
    await pending.claim(HOME, ID, deciding("c"), NOW)
    assert await pending.unsignalled(HOME, ID, "c")

    assert await pending.claim(HOME, ID, deciding("c"), NOW + timedelta(seconds=2))
    async with pending.signalling(HOME, ID, "c"):
        pass

    assert not await pending.unsignalled(HOME, ID, "c")
    assert not await pending.claim(HOME, ID, deciding("c"), NOW + timedelta(seconds=3))


async def test_a_claim_whose_signal_failed_can_be_taken_at_once(pending: PendingCommands) -> None:
    await pending.claim(HOME, ID, deciding("c"), NOW)

    with pytest.raises(Unavailable):
        async with pending.signalling(HOME, ID, "c"):
            raise Unavailable("away")

    assert await pending.unsignalled(HOME, ID, "c")
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
    assert (60 - len(refused), len(refused)) == (MOST_PENDING, 60 - MOST_PENDING)
    assert {one.reason for one in refused} == {"TOO_MANY_COMMANDS"}
    bob = Actor(kind=ActorKind.PERSON, name="bob@example.com", authenticated_by="jwt:placet")
    assert await pending.claim(HOME, ID, deciding("of bob").model_copy(update={"actor": bob}), NOW)


async def test_a_clock_that_was_set_back_holds_up_no_command(pending: PendingCommands) -> None:
    await pending.claim(HOME, ID, deciding("c"), NOW + timedelta(hours=1))

    assert await pending.claim(HOME, ID, deciding("c"), NOW)


async def viewed(database: Database, approval_id: str, state: event_pb2.State.ValueType) -> None:
    """Writes a request in this state to the view."""
    row = {"tenant": HOME, "approval_id": approval_id, "state": event_pb2.State.Name(state), "last_number": 4}
    others = {"requester": "ci@example.com", "policy": "simple", "subject_id": "", "approval": b""}
    insert = sa.insert(view).values(**row, **others, create_time=NOW)
    await database.transact(lambda connection: connection.execute(insert).close())


async def test_a_command_is_overdue_when_it_can_be_claimed(
    database: Database, pending: PendingCommands
) -> None:
    await viewed(database, ID, event_pb2.STATE_PENDING)
    before = NOW + timedelta(days=1)
    seconds = []
    for second in range(-5, 40):
        now = NOW + timedelta(seconds=second)
        found = await pending.overdue(BEGINNING, before, now, 10)
        if await pending.claim(HOME, ID, deciding("c"), now):
            seconds.append(second)
            assert found == ([OverdueCommand(HOME, ID, NOW - timedelta(seconds=5))] if second > -5 else [])
            if second > 2:
                async with pending.signalling(HOME, ID, "c"):
                    pass
        else:
            assert found == []
        # A clock that is far ahead claims it, and dies.
        ahead = now + timedelta(days=40)
        if second == 20:
            assert await pending.claim(HOME, ID, deciding("c"), ahead)

    assert seconds == [-5, -3, -1, 1, 3, 5, 9, 17, 21]


async def test_overdue_commands_are_found_oldest_first_from_a_place_on_while_their_request_is_open(
    database: Database, pending: PendingCommands
) -> None:
    others = [f"0d5ad5c6-7a4e-5c53-8b1f-1f6bd0d2a00{number}" for number in range(2, 5)]
    for number, approval_id in enumerate([ID, *others]):
        await pending.claim(HOME, approval_id, deciding("c"), NOW + timedelta(seconds=number))
    for approval_id in (ID, others[0]):
        await viewed(database, approval_id, event_pb2.STATE_PENDING)
    await viewed(database, others[1], event_pb2.STATE_APPROVED)
    now = NOW + timedelta(minutes=1)

    found = await pending.overdue(BEGINNING, now, now, 10)

    assert [one.approval_id for one in found] == [ID, others[0]]
    assert await pending.overdue(BEGINNING, now, now, 1) == found[:1]
    assert await pending.overdue((found[0].create_time, ID), now, now, 10) == found[1:]
    assert await pending.overdue(BEGINNING, found[1].create_time, now, 10) == found[:1]
    await pending.forget(HOME, ID, ["c"])
    assert await pending.overdue(BEGINNING, now, now, 10) == found[1:]
