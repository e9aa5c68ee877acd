"""Erasure in this service's own tables, files and memory, also after crashes."""

from __future__ import annotations

import asyncio
import random
import sqlite3
import uuid
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from placet.approval.v1 import approval_pb2, approval_service_pb2
from placet.audit.v1 import audit_service_pb2
from placet.audit.v1.audit_service_pb2_grpc import AuditServiceStub
from placet.event.v1 import event_pb2
from placet_approval.adapters.audit_log import AuditLog
from placet_approval.store.erasure_store import erase_in
from placet_approval.store.pending_commands import PendingCommands
from placet_approval.store.tables import LOG, VIEW_TABLES, metadata
from placet_approval.store.view import ViewStore
from placet_domain.commands import DecisionCommand
from placet_domain.events import Actor, ActorKind, Event, Notified, Verdict
from placet_logtail import Batch
from placet_rpc.client import channel
from placet_rpc.errors import Unavailable
from placet_rpc.tokens.mint import SigningKey, mint
from placet_storage import Database
from placet_testing.attestation import attested_command
from placet_testing.tokens import StaticToken

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from services.approval.tests.conftest import OpenPlatform, Platform

pytestmark = pytest.mark.integration
OPERATOR, HOME, ABROAD = "op@example.com", "home", "abroad"
Rows = dict[str, list[Any]]  # Any: rows, whose columns differ from table to table


def marked(number: int, chance: random.Random) -> dict[str, Any]:
    """A request of which each text holds its own mark."""
    body = f"content-{number:03}-".encode() * chance.choice((1, 30, 3000))
    return {
        "title": f"title-{number:03}-" * chance.choice((1, 8)),
        "labels": {f"label-{number:03}-": f"mark-{number:03}-" * chance.choice((1, 10))},
        "policy": "escalating",
        "required_approver": f"asked-{number:03}-@example.com",
        "manager_approver": f"manager-{number:03}-@example.com",
        "content": approval_pb2.Content(body=body, media_type="text/plain"),
    }


def words_of(number: int) -> list[bytes]:
    words = ("content", "title", "label", "mark", "asked", "manager", "reason", "requester")
    return [f"{word}-{number:03}-".encode() for word in words]


async def closed(platform: Platform, number: int, tenant: str = HOME, seed: int = 0) -> str:
    """A marked request, decided by who was asked."""
    fields = marked(number, random.Random(f"{seed}/{number}"))
    caller = await platform.as_(f"requester-{number:03}-@example.com", tenant=tenant)
    accepted = await caller.RequestApproval(platform.asking(**fields))
    await platform.until(lambda: is_shown(platform, accepted.approval_id, tenant, waiting=True))
    decision = platform.deciding(
        accepted.approval_id,
        content_digest=accepted.content_digest,
        reason=f"reason-{number:03}-" * 20,
        verdict=event_pb2.VERDICT_REJECT if number % 2 else event_pb2.VERDICT_APPROVE,
    )
    await (await platform.as_(fields["required_approver"], tenant=tenant)).SubmitDecision(decision)
    return accepted.approval_id


async def get(platform: Platform, approval_id: str, tenant: str = HOME) -> approval_pb2.Approval:
    stub = await platform.as_(OPERATOR, "operator", tenant=tenant)
    return (await stub.GetApproval(approval_service_pb2.GetApprovalRequest(approval_id=approval_id))).approval


async def is_shown(platform: Platform, approval_id: str, tenant: str = HOME, *, waiting: bool) -> bool:
    return (await get(platform, approval_id, tenant)).waiting_for_approval is waiting


async def is_erased(platform: Platform, approval_id: str, tenant: str = HOME) -> bool:
    return (await get(platform, approval_id, tenant)).HasField("erasure")


async def erase(platform: Platform, approval_id: str, tenant: str = HOME) -> int:
    """Erases; the index of the entry that says so."""
    stub = await platform.as_(OPERATOR, "operator", tenant=tenant)
    request = approval_service_pb2.EraseApprovalRequest(
        approval_id=approval_id, reason="she asked for it", before_retention=True
    )
    return (await stub.EraseApproval(request)).log_index


async def erase_in_log(platform: Platform, approval_id: str) -> None:
    """As a replica does that is killed before it hears the answer."""
    token = StaticToken(mint(SigningKey.load(platform.keys.private_key), OPERATOR, HOME, ["operator"], 60))
    request = audit_service_pb2.EraseEventsRequest(
        approval_id=approval_id, reason="she asked", before_retention=True
    )
    async with channel(platform.audit.address, token) as opened:
        await AuditServiceStub(opened).EraseEvents(request)


async def opened(url: str, work: Callable[[Database], Awaitable[Any]]) -> Any:
    """The result of `work` on the service's database. Any: of whatever type."""
    database = await Database.open(url, migrations="placet_approval")
    try:
        return await work(database)
    finally:
        await database.close()


async def rows(url: str, tables: Any = (*VIEW_TABLES, LOG.cursor)) -> Rows:
    """All that some tables hold. Any: tables."""

    def read(connection: sa.Connection) -> Rows:
        return {
            table.name: sorted(map(tuple, connection.execute(sa.select(table)).all())) for table in tables
        }

    found: Rows = await opened(url, lambda database: database.query(read))
    return found


async def everything(url: str) -> bytes:
    """All that the database says, as bytes and texts."""
    found = await rows(url, metadata.tables.values())
    cells = [cell for table in found.values() for row in table for cell in row]
    return b"\n".join(cell if isinstance(cell, bytes) else str(cell).encode() for cell in cells)


def in_files(folder: Path) -> bytes:
    """All that lies in a folder's databases, deleted or not, with what goes with them."""
    return b"\n".join(file.read_bytes() for file in sorted(folder.glob("*.db*")))


async def settled(platform: Platform, log_index: int, tenant: str = HOME) -> None:
    """Waits until the view has read so far."""
    stub = await platform.as_(OPERATOR, "operator", tenant=tenant)
    request = approval_service_pb2.ListApprovalsRequest(min_log_index=log_index)

    async def is_read() -> bool:
        try:
            await stub.ListApprovals(request, timeout=2)
        except Unavailable:
            return False
        return True

    await platform.until(is_read)


# Nothing is left.


@pytest.mark.parametrize("seed", range(2))
async def test_no_erased_value_is_left_anywhere_in_the_files(platform: Platform, seed: int) -> None:
    requested = [
        (number, tenant, await closed(platform, number, tenant, seed))
        for number, tenant in enumerate([HOME, HOME, HOME, ABROAD] * 4)
    ]
    before = in_files(platform.folder)
    assert [word for number, _, _ in requested for word in words_of(number) if word not in before] == []
    gone = random.Random(seed).sample(requested, 8)
    for _, tenant, approval_id in gone:
        await settled(platform, await erase(platform, approval_id, tenant), tenant)

    await platform.audit.stop()
    for name in ("test", "audit"):
        with closing(sqlite3.connect(platform.folder / f"{name}.db")) as connection:
            # Copies that SQLite left in pages while it rewrote rows; docs/operations.md tells operators so.
            connection.execute("VACUUM")
    left = in_files(platform.folder)
    for number, *_ in requested:
        found = [word for word in words_of(number) if word in left]
        assert found == ([] if number in {one[0] for one in gone} else words_of(number))


async def test_no_erased_value_is_left_in_the_tables(either_platform: Platform) -> None:
    platform = either_platform
    gone, kept, abroad = [
        await closed(platform, number, tenant) for number, tenant in enumerate((HOME, HOME, ABROAD))
    ]
    asked = Actor(kind=ActorKind.PERSON, name="asked-000-@example.com")
    command = DecisionCommand(
        id=str(uuid.uuid4()), actor=asked, verdict=Verdict.APPROVE, reason="reason-000-"
    )
    await opened(
        platform.database_url,
        lambda database: PendingCommands(database, attested_command).claim(
            HOME, gone, command, datetime.now(UTC)
        ),
    )

    await settled(platform, await erase(platform, gone))

    left = await everything(platform.database_url)
    assert [word for word in words_of(0) if word in left] == []
    for number in (1, 2):
        assert [word for word in words_of(number) if word not in left] == []
    owned = await rows(platform.database_url, [metadata.tables["request"], metadata.tables["content"]])
    assert {row[1] for row in owned["request"]} == {gone, kept, abroad}
    assert {row[1] for row in owned["content"]} == {kept, abroad}


# A view that lived through it is a view that was built after it.


async def test_a_view_that_is_built_after_an_erasure_is_the_one_that_lived_through_it(
    either_platform: Platform,
) -> None:
    platform = either_platform
    gone, twice, kept = [await closed(platform, number) for number in range(3)]
    await erase(platform, gone)
    await erase(platform, twice)
    await notify(platform, twice)
    await notify(platform, gone)
    await platform.until(lambda: has_path(platform, gone, 8))
    last = await erase(platform, twice)
    await settled(platform, last)
    lived = await rows(platform.database_url)
    assert len(lived["view_erasure"]) == 3

    await opened(platform.database_url, lambda database: ViewStore(database).drop())

    await platform.until(lambda: has_read(platform, lived))
    assert await rows(platform.database_url) == lived
    assert (await get(platform, twice)).erasure.log_index == last
    assert (await get(platform, kept)).title.startswith("title-002-")


async def notify(platform: Platform, approval_id: str) -> None:
    """The late result of a notice to the person who was asked, by event 4."""
    notified = Event(
        time=datetime.now(UTC),
        actor=Actor(kind=ActorKind.SERVICE, name="worker-default"),
        cause_id="asked-4",
        body=Notified(notification_id=str(uuid.uuid4()), delivered=True, channel="email", asked_number=4),
    )
    await platform.workflows.happen(approval_id, notified)


async def has_path(platform: Platform, approval_id: str, length: int) -> bool:
    return len((await get(platform, approval_id)).path) == length


async def has_read(platform: Platform, lived: Rows) -> bool:
    return (await rows(platform.database_url))["log_cursor"] == lived["log_cursor"]


async def test_what_follows_an_erasure_changes_nothing_of_it_on_a_replica_that_is_new(
    open_platform: OpenPlatform, database_url: str
) -> None:
    platform = await open_platform(database_url)
    replica = await platform.serve()
    approval_id = await closed(platform, 0)
    await erase(platform, approval_id)
    erased = await get(platform, approval_id)
    await replica.aclose()
    await platform.serve()

    await notify(platform, approval_id)

    await platform.until(lambda: has_path(platform, approval_id, 8))
    approval = await get(platform, approval_id)
    assert (approval.erasure, dict(approval.labels)) == (erased.erasure, {})


async def test_words_that_are_read_together_with_their_erasure_are_not_written(
    open_platform: OpenPlatform, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    platform = await open_platform(database_url)
    replica = await platform.serve()
    approval_id = await closed(platform, 0)
    told = await platform.audit.events(HOME)
    await erase(platform, approval_id)
    await notify(platform, approval_id)
    await platform.until(lambda: has_path(platform, approval_id, 8))
    lived = await rows(database_url)
    await replica.aclose()
    await opened(database_url, lambda database: ViewStore(database).drop())
    entries = [*told, *(await platform.audit.events(HOME))[len(told) :]]
    assert b"title-000-" in told[0].SerializeToString()

    async def tail(log: AuditLog, tenant: str, start: int) -> AsyncGenerator[Any, None]:
        """As it came to a projector that was slow."""
        yield Batch(entries[start:], len(entries), len(entries))
        await asyncio.Event().wait()

    monkeypatch.setattr(AuditLog, "tail", tail)
    await platform.serve()

    await platform.until(lambda: has_read(platform, lived))
    assert await rows(database_url) == lived


# No crash loses it, and every replica hears of it.


async def test_an_erasure_during_downtime_is_applied_at_start(
    open_platform: OpenPlatform, database_url: str
) -> None:
    platform = await open_platform(database_url)
    replica = await platform.serve()
    approval_id = await closed(platform, 0)
    await replica.aclose()
    await erase_in_log(platform, approval_id)
    before = await everything(database_url)
    assert [word for word in words_of(0) if word not in before] == []

    await platform.serve()

    await platform.until(lambda: is_erased(platform, approval_id))
    left = await everything(database_url)
    assert [word for word in words_of(0) if word in left] == []


async def test_an_erasure_that_fails_half_way_is_done_whole(
    either_platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    platform, tried = either_platform, asyncio.Event()
    approval_id, loop = await closed(platform, 0), asyncio.get_running_loop()

    def fail(connection: sa.Connection, tenant: str, erasure: event_pb2.LogEntry) -> None:
        erase_in(connection, tenant, erasure)
        loop.call_soon_threadsafe(tried.set)
        raise RuntimeError("the process ends here")

    with monkeypatch.context() as patched:
        patched.setattr("placet_approval.store.view.erase_in", fail)
        await erase_in_log(platform, approval_id)
        async with asyncio.timeout(15):
            await tried.wait()
        left = await everything(platform.database_url)
        assert [word for word in words_of(0) if word not in left] == []

    await platform.until(lambda: is_erased(platform, approval_id))
    left = await everything(platform.database_url)
    assert [word for word in words_of(0) if word in left] == []


async def test_a_following_replica_stops_sending_erased_values(bare_platform: Platform) -> None:
    platform = bare_platform
    await platform.serve(replica="first")
    first = platform.address
    before = await closed(platform, 1)
    await platform.serve(replica="second")
    # From here on this one reads along.
    await platform.until(lambda: is_shown(platform, before, waiting=False))
    approval_id = await closed(platform, 0)
    begin = (await get(platform, approval_id)).path[0].index
    await platform.until(lambda: is_told(platform, begin, words_of(0)))

    platform.address, second = first, platform.address
    await erase(platform, approval_id)
    platform.address = second

    await platform.until(lambda: is_told(platform, begin, []))


async def is_told(platform: Platform, from_index: int, words: list[bytes]) -> bool:
    """True if a watch from the beginning has these words of the first request, and no others."""
    stub = await platform.as_(OPERATOR, "operator")
    call = stub.WatchApprovals(approval_service_pb2.WatchApprovalsRequest(from_log_index=from_index))
    said = b""
    try:
        async for response in call:
            if not response.HasField("entry"):
                break
            said += response.SerializeToString()
    finally:
        call.cancel()
    # A watch has no content.
    return bool(said) and [word for word in words_of(0) if word in said] == [
        word for word in words if not word.startswith(b"content")
    ]


async def test_no_workflow_is_started_again_for_a_request_that_was_erased(
    open_platform: OpenPlatform, sqlite_url: str
) -> None:
    platform = await open_platform(sqlite_url)
    replica = await platform.serve()
    approval_id = await closed(platform, 0)
    await settled(platform, await erase(platform, approval_id))
    await replica.aclose()
    await opened(sqlite_url, lambda database: ViewStore(database).drop())
    # As after Temporal's retention. While the view is built anew, both look for what is open.
    platform.workflows.forget(approval_id)
    starts = platform.workflows.starts.copy()
    await platform.serve(intake_recovery_interval=0.01, workflow_recovery_interval=0.01, recovery_age=0.001)
    await platform.until(lambda: is_erased(platform, approval_id))
    assert platform.workflows.starts == starts
