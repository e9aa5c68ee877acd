"""An entry that cannot be used is reported and passed over; it stops no tenant's view."""

from __future__ import annotations

import uuid
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from placet.approval.v1 import approval_service_pb2
from placet.event.v1 import event_pb2
from placet_approval.projection import fold
from placet_approval.store.tables import LOG
from placet_approval.store.view import VIEW, ViewStore
from placet_mapping import from_proto
from placet_storage import Database, DatabaseUnavailable

if TYPE_CHECKING:
    from services.approval.tests.conftest import Platform

pytestmark = pytest.mark.integration

CALLER, ALICE, HOME = "ci@example.com", "alice@example.com", "home"


async def is_read(platform: Platform) -> bool:
    """True if the view has read the whole log."""
    found = await held(platform, LOG.cursor)
    return found == [(VIEW, HOME, len(await platform.audit.events(HOME)))]


async def held(platform: Platform, table: sa.Table) -> list[tuple[Any, ...]]:
    """A table's rows. Any: of whatever columns it has."""
    database = await Database.open(platform.database_url, migrations="placet_approval")
    try:
        return await database.query(lambda opened: [tuple(row) for row in opened.execute(sa.select(table))])
    finally:
        await database.close()


async def consumers(platform: Platform) -> dict[str, approval_service_pb2.LogConsumer]:
    """The consumers of the log as an operator sees them, by name."""
    operator = await platform.as_("op@example.com", "operator")
    answer = await operator.GetLogConsumers(approval_service_pb2.GetLogConsumersRequest())
    return {one.name: one for one in answer.consumers}


async def test_an_entry_that_cannot_be_folded_is_kept_and_reported_and_stops_nothing(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    mapped = from_proto

    def unless_asked(stored: Any, dto: Any) -> Any:
        if stored.entry.event.HasField("asked"):
            raise ValueError("an event of an unheard-of kind")
        return mapped(stored, dto)

    monkeypatch.setattr(fold, "from_proto", unless_asked)
    caller = await platform.as_(CALLER)
    strange = (await caller.RequestApproval(platform.asking())).approval_id
    await platform.until(lambda: held(platform, LOG.skipped))
    await platform.until(lambda: is_read(platform))

    approval = await platform.get(strange)
    assert [one.entry.event.WhichOneof("body") for one in approval.path][-1] == "asked"
    assert (approval.last_number, approval.waiting_for_approval) == (4, False)
    assert await held(platform, LOG.skipped) == [
        (VIEW, HOME, 3, "ValueError: an event of an unheard-of kind")
    ]
    monkeypatch.undo()
    usual = await platform.request()
    await (await platform.as_(ALICE)).SubmitDecision(platform.deciding(usual))
    # Later entries of that request are folded, as far as possible.
    await (await platform.as_(CALLER)).CancelApproval(
        approval_service_pb2.CancelApprovalRequest(approval_id=strange, command_id=str(uuid.uuid4()))
    )
    assert (await platform.get(strange)).state == event_pb2.STATE_CANCELLED


async def test_an_entry_that_cannot_be_written_is_skipped_after_some_attempts(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, attempts = ViewStore.write, Counter[int]()

    async def write_or_fail(
        self: ViewStore, tenant: str, expected: int, entries: Any, changed: Any, unusable: Any = None
    ) -> None:
        if any(one.index == 2 for one in entries):
            attempts[len(entries)] += 1
            raise ValueError("no such column")
        await write(self, tenant, expected, entries, changed, unusable)

    monkeypatch.setattr(ViewStore, "write", write_or_fail)
    caller = await platform.as_(CALLER)
    accepted = (await caller.RequestApproval(platform.asking())).approval_id
    await platform.until(lambda: held(platform, LOG.skipped))
    await platform.until(lambda: is_read(platform))

    view = (await consumers(platform))[VIEW]
    assert [(one.log_index, one.reason) for one in view.skipped] == [(2, "ValueError: no such column")]
    assert (view.error, view.leading) == ("", True)
    # By itself, and before that perhaps with those that came with it.
    assert 3 <= attempts.total() <= 4
    assert (await platform.get(accepted)).waiting_for_approval


async def test_a_consumer_that_cannot_follow_the_log_says_why(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    await platform.request()

    async def fail(*_given: Any) -> None:
        raise DatabaseUnavailable("the disk is full")

    monkeypatch.setattr(ViewStore, "write", fail)
    await (await platform.as_(CALLER)).RequestApproval(platform.asking())

    async def stuck() -> bool:
        return (await consumers(platform))[VIEW].error == "the disk is full"

    await platform.until(stuck)
