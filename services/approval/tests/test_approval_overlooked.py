"""What an erasure does not reach at once is erased all the same: where an older projector passed over it, and
what is noted after it."""

from __future__ import annotations

import asyncio
import uuid
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from placet.approval.v1 import approval_pb2, approval_service_pb2
from placet.audit.v1 import event_pb2
from placet_approval.noting import Notes
from placet_approval.overlooked import Overlooked
from placet_approval.tables import metadata, view_erasure
from placet_storage import Database
from placet_workflows.commands import Command
from placet_workflows.events import Actor, ActorKind

if TYPE_CHECKING:
    from services.approval.tests.conftest import Platform

HOME, ALICE, OPERATOR = "home", "alice@example.com", "op@example.com"
WORDS = (b"Release the payment", b"looks right", ALICE.encode(), b"red-team", b"ci@example.com")
# What is kept of a tenant, whoever reads the log: how far; and whose turn it is to write.
LEFT_OUT = ("view_cursor", "lease", "alembic_version")

Rows = dict[str, list[Any]]  # Any: rows, whose columns differ from table to table


async def erase(platform: Platform, approval_id: str) -> int:
    stub = await platform.as_(OPERATOR, "operator")
    asked = approval_service_pb2.EraseApprovalRequest(
        approval_id=approval_id, reason="she asked for it", before_retention=True
    )
    return (await stub.EraseApproval(asked)).log_index


async def get(platform: Platform, approval_id: str) -> approval_pb2.Approval:
    stub = await platform.as_(OPERATOR, "operator")
    return (await stub.GetApproval(approval_service_pb2.GetApprovalRequest(id=approval_id))).approval


async def is_erased(platform: Platform, approval_id: str) -> bool:
    return (await get(platform, approval_id)).HasField("erasure")


def read(connection: sa.Connection) -> Rows:
    return {
        table.name: sorted(map(tuple, connection.execute(sa.select(table)).all()))
        for table in metadata.tables.values()
        if table.name not in LEFT_OUT
    }


def pass_over(connection: sa.Connection, before: Rows) -> None:
    """Leaves a database as a projector does that knows of no erasures: as it was, and read all the same."""
    for table in metadata.tables.values():
        if table.name not in LEFT_OUT:
            connection.execute(sa.delete(table))
            for row in before[table.name]:
                connection.execute(sa.insert(table).values(row))


def words_in(rows: Rows) -> set[bytes]:
    cells = [cell for table in rows.values() for row in table for cell in row]
    held = b"\n".join(cell if isinstance(cell, bytes) else str(cell).encode() for cell in cells)
    return {word for word in WORDS if word in held}


async def test_who_erases_again_gets_done_what_an_older_projector_passed_over(
    either_platform: Platform,
) -> None:
    platform = either_platform
    approval_id = await platform.request(labels={"team": "red-team"})
    decision = platform.deciding(approval_id, reason="looks right")
    await (await platform.as_(ALICE)).SubmitDecision(decision)
    database = await Database.open(platform.database_url, migrations="placet_approval")
    try:
        before = await database.query(read)
        assert words_in(before) == set(WORDS)
        first = await erase(platform, approval_id)
        await platform.until(lambda: is_erased(platform, approval_id))
        erased = await database.query(read)
        await database.transact(pass_over, before)
        assert not await is_erased(platform, approval_id)

        # Two at once: it is done once.
        assert await asyncio.gather(*(erase(platform, approval_id) for _ in range(2))) == [first, first]

        assert await database.query(read) == erased
        assert words_in(erased) == set()
        assert await is_erased(platform, approval_id)
    finally:
        await database.close()


@pytest.mark.parametrize("read_up_to", [None, 0], ids=["nothing", "less"])
async def test_what_the_view_has_not_read_is_left_to_its_projector(
    database: Database, read_up_to: int | None
) -> None:
    if read_up_to is not None:
        cursor = sa.insert(metadata.tables["view_cursor"]).values(tenant=HOME, next_index=read_up_to)
        await database.transact(lambda connection: connection.execute(cursor).close())
    event = event_pb2.Event(erased=event_pb2.Erased(approval_id="a"))
    erasure = event_pb2.LogEntry(index=7, entry=event_pb2.Entry(event=event))

    await Overlooked(database).erase(HOME, erasure)

    assert (await database.query(read))[view_erasure.name] == []


def is_marked(connection: sa.Connection) -> bool:
    """Whether something in a SQLite file is to be shredded."""
    return bool(connection.exec_driver_sql("PRAGMA user_version").scalar_one())


@pytest.mark.parametrize("erasing", [True, False], ids=["erased", "only closed"])
async def test_what_was_noted_after_an_erasure_is_shredded_when_it_is_forgotten(
    platform: Platform, erasing: bool
) -> None:
    approval_id = await platform.request()
    await (await platform.as_(ALICE)).SubmitDecision(platform.deciding(approval_id))
    actor = Actor(kind=ActorKind.PERSON, name="ci@example.com")
    late = Command(type="cancel", id=str(uuid.uuid4()), actor=actor, reason="too late")
    database = await Database.open(platform.database_url, migrations="placet_approval")
    notes, now = Notes(database), datetime.now(UTC)
    try:
        if erasing:
            await erase(platform, approval_id)
            await platform.until(lambda: is_erased(platform, approval_id))
            assert await database.shred()
        await notes.add(HOME, approval_id, late, now)
        assert not await database.query(is_marked)

        await notes.forget_closed(now + timedelta(seconds=1))

        assert await notes.commands(HOME, approval_id) == []
        assert await database.query(is_marked) is erasing
    finally:
        await database.close()
