"""An entry that cannot be used is reported and passed over; it stops no tenant's view."""

from __future__ import annotations

import uuid
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from placet.approval.v1 import approval_service_pb2
from placet.audit.v1 import audit_service_pb2
from placet.event.v1 import event_pb2
from placet_approval.adapters.notifications import Notifications
from placet_approval.projection import fold
from placet_approval.store.tables import LOG
from placet_approval.store.view import VIEW, ViewStore
from placet_mapping import from_proto
from placet_rpc.client import serving
from placet_rpc.identity import acting_for
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


async def forge(platform: Platform, approval_id: str, expected_next: int, *events: event_pb2.Event) -> None:
    """Appends events of a request without the grammar's check, as who owns the database could."""
    with pytest.MonkeyPatch.context() as unchecked:
        unchecked.setattr("placet_audit.domain._followed", lambda path, drafts, keys: (path, None))
        request = audit_service_pb2.AppendEventsRequest(
            approval_id=approval_id, expected_next=expected_next, events=events
        )
        with acting_for(HOME):
            async with platform.workflows.audit_stub() as stub:
                assert (await stub.AppendEvents(request)).appended


def forged_outcome() -> list[event_pb2.Event]:
    """An approval by bob, who was not asked, without a vote."""
    decided, closed = event_pb2.Event(cause_id="forged"), event_pb2.Event(cause_id="forged")
    for event in (decided, closed):
        event.time.GetCurrentTime()
        event.actor.kind, event.actor.name.value = event_pb2.ACTOR_KIND_PERSON, "bob@example.com"
    decided.decided.source, decided.decided.tier = event_pb2.SOURCE_HUMAN, 1
    decided.decided.decision_type = event_pb2.DECISION_TYPE_HUMAN
    decided.decided.state = closed.closed.state = event_pb2.STATE_APPROVED
    return [decided, closed]


async def test_an_outcome_that_the_grammar_does_not_allow_marks_its_request_and_has_no_effect(
    platform: Platform,
) -> None:
    forged = await platform.request()
    number = (await platform.get(forged)).last_number
    await forge(platform, forged, number + 1, *forged_outcome())
    usual = await platform.request()
    await platform.until(lambda: is_read(platform))

    shown = await platform.get(forged)
    assert (shown.state, shown.waiting_for_approval) == (event_pb2.STATE_PENDING, True)
    assert "decided has no grounds" in shown.log_fault
    assert [bool(one.fault) for one in shown.path[-2:]] == [True, True]
    caller = await platform.as_(CALLER)
    listed = (await caller.ListApprovals(approval_service_pb2.ListApprovalsRequest())).approvals
    assert {one.approval_id: bool(one.log_fault) for one in listed} == {forged: True, usual: False}
    skipped = (await consumers(platform))[VIEW].skipped
    assert len(skipped) == 2
    # The person who was asked decides it all the same, and so the other request.
    for approval_id in (forged, usual):
        await platform.decide(approval_id)
        assert (await platform.get(approval_id)).state == event_pb2.STATE_APPROVED
    assert (await platform.get(forged)).log_fault
    assert (await platform.get(forged)).outcome.approver == ALICE


async def test_a_view_that_skips_is_said_by_health_and_operators_are_told_of_each_entry_once(
    bare_platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    platform, told = bare_platform, dict[str, tuple[str, str]]()

    async def send(_: Any, tenant: str, key: str, recipient: str, *, title: str, **_words: str) -> None:
        told[key] = (recipient, title)

    monkeypatch.setattr(Notifications, "send_alarm", send)
    monkeypatch.setattr("placet_approval.__main__.CHECK_SECONDS", 0.05)
    replicas = [await platform.serve(replica=name, alarm_recipients="op@example.com") for name in "ab"]
    await platform.request()
    assert await serving(platform.address, VIEW)

    await forge(platform, str(uuid.uuid4()), 1, forged_outcome()[1])
    await platform.until(lambda: is_unhealthy(platform))
    assert await serving(platform.address)
    for replica in replicas:
        await replica.aclose()
    await platform.serve(replica="c", alarm_recipients="op@example.com")
    await platform.until(lambda: is_unhealthy(platform))
    expected = "The view of home does not follow the log at entry 4"
    assert list(told.values()) == [("op@example.com", expected)]


async def is_unhealthy(platform: Platform) -> bool:
    """True if the view's health says that it does not follow the log."""
    return not await serving(platform.address, VIEW)


async def test_a_request_without_received_stops_no_view(platform: Platform) -> None:
    await platform.request()
    await forge(platform, str(uuid.uuid4()), 1, forged_outcome()[1])
    usual = await platform.request()
    assert (await platform.decide(usual)).state == event_pb2.STATE_APPROVED
    skipped = (await consumers(platform))[VIEW].skipped
    assert ["received" in one.reason for one in skipped] == [True]


async def test_a_view_that_is_rebuilt_marks_the_same(platform: Platform) -> None:
    forged = await platform.request()
    number = (await platform.get(forged)).last_number
    await forge(platform, forged, number + 1, *forged_outcome())
    await platform.until(lambda: is_read(platform))
    before = await platform.get(forged)
    database = await Database.open(platform.database_url, migrations="placet_approval")
    await ViewStore(database).drop()
    await database.close()

    async def is_rebuilt() -> bool:
        return await is_read(platform) and len(await held(platform, LOG.skipped)) == 2

    await platform.until(is_rebuilt)
    assert await platform.get(forged) == before


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
