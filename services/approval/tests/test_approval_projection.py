"""The view follows the log: rebuilt at will, by one projector after another, read by every replica."""

from __future__ import annotations

import asyncio
import time
import uuid
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from placet.approval.v1 import approval_service_pb2
from placet.event.v1 import event_pb2
from placet_approval.adapters.audit_log import AuditLog
from placet_approval.projection.fold import LogFold, fold_path
from placet_approval.projection.projections import Projection
from placet_approval.store.policies import PolicyStore
from placet_approval.store.requests import RequestStore
from placet_approval.store.tables import LOG, VIEW_TABLES
from placet_approval.store.view import VIEW, ViewStore
from placet_domain.policy_files import load
from placet_logtail import Batch, LeaseStore
from placet_rpc import deadlines
from placet_rpc.errors import FailedPrecondition, Unavailable
from placet_storage import Database
from placet_testing.attestation import KEYS

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from services.approval.tests.conftest import OpenPlatform, Platform

    from placet_domain.state import ApprovalState

pytestmark = pytest.mark.integration

CALLER, ALICE, BOB = "ci@example.com", "alice@example.com", "bob@example.com"
HOME, ABROAD = "home", "abroad"


@pytest.fixture
async def views_of_either(either_platform: Platform) -> AsyncIterator[ViewStore]:
    database = await Database.open(either_platform.database_url, migrations="placet_approval")
    yield ViewStore(database)
    await database.close()


async def rows(url: str) -> dict[str, list[Any]]:  # Any: rows, whose columns differ from table to table
    """Everything that the view holds."""

    def read(connection: sa.Connection) -> dict[str, list[Any]]:
        return {
            table.name: sorted(tuple(row) for row in connection.execute(sa.select(table)))
            for table in (*VIEW_TABLES, LOG.cursor)
        }

    database = await Database.open(url, migrations="placet_approval")
    found = await database.query(read)
    await database.close()
    return found


async def story(platform: Platform) -> list[str]:
    """Requests that went every way, in two tenants."""
    approved, cancelled, pending, abroad = [
        await platform.request(tenant=tenant, labels={"team": tenant})
        for tenant in (HOME, HOME, HOME, ABROAD)
    ]
    alice = await platform.as_(ALICE)
    await alice.SubmitDecision(platform.deciding(approved))
    with pytest.raises(FailedPrecondition):
        await alice.SubmitDecision(platform.deciding(approved))
    caller = await platform.as_(CALLER)
    await caller.CancelApproval(
        approval_service_pb2.CancelApprovalRequest(approval_id=cancelled, command_id=str(uuid.uuid4()))
    )
    return [approved, cancelled, pending, abroad]


async def in_view(platform: Platform) -> bool:
    """True if the view has read the whole log."""
    held = await rows(platform.database_url)
    cursors = {tenant: following for _, tenant, following in held["log_cursor"]}
    ends = {tenant: len(await platform.audit.events(tenant)) for tenant in cursors}
    return bool(cursors) and cursors == ends


async def test_a_view_that_is_dropped_is_rebuilt_from_the_log_as_it_was(
    either_platform: Platform, views_of_either: ViewStore
) -> None:
    platform = either_platform
    await story(platform)
    await platform.until(lambda: in_view(platform))
    before = await rows(platform.database_url)
    assert len(before["view"]) == 4

    await views_of_either.drop()

    # Nobody asks, and nothing happens that would wake the projector.
    await asyncio.sleep(0)
    await platform.until(lambda: has_cursors(platform, before))
    assert await rows(platform.database_url) == before


async def has_cursors(platform: Platform, before: dict[str, list[Any]]) -> bool:
    return (await rows(platform.database_url))["log_cursor"] == before["log_cursor"]


async def test_a_service_that_starts_on_an_empty_view_builds_it(
    open_platform: OpenPlatform, database_url: str
) -> None:
    platform = await open_platform(database_url)
    replica = await platform.serve()
    await story(platform)
    await platform.until(lambda: in_view(platform))
    before = await rows(database_url)
    await replica.aclose()
    database = await Database.open(database_url, migrations="placet_approval")
    await ViewStore(database).drop()
    await database.close()

    await platform.serve()

    await platform.until(lambda: has_cursors(platform, before))
    assert await rows(database_url) == before


async def states(platform: Platform, tenant: str) -> dict[str, ApprovalState | None]:
    """Each request by the log itself."""
    paths: dict[str, list[event_pb2.LogEntry]] = {}
    for stored in await platform.audit.events(tenant):
        if stored.entry.approval_id:
            paths.setdefault(stored.entry.approval_id, []).append(stored)
    return {approval_id: fold_path(path, KEYS) for approval_id, path in paths.items()}


async def test_two_projectors_at_once_do_each_others_view_no_harm(
    open_platform: OpenPlatform, database_url: str
) -> None:
    platform = await open_platform(database_url)
    # One name for both: each takes the lease for its own.
    await platform.serve(replica="twin")
    first = platform.address
    await platform.serve(replica="twin")

    async def one(number: int) -> str:
        caller = await platform.as_(CALLER, address=first if number % 2 else "")
        return (await caller.RequestApproval(platform.asking())).approval_id

    requested = await asyncio.gather(*(one(number) for number in range(30)))
    await asyncio.gather(*(decide(platform, approval_id) for approval_id in requested[:10]))

    await platform.until(lambda: in_view(platform))
    by_log = await states(platform, HOME)
    held = await rows(platform.database_url)
    assert {row[1] for row in held["view"]} == set(requested)
    assert [row[1] for row in held["view_event"]] == list(range(len(held["view_event"])))
    for approval_id in requested:
        state, approval = by_log[approval_id], await platform.get(approval_id)
        assert state is not None
        assert (approval.last_number, approval.log_index) == (state.last_number, state.log_index)
        assert [stored.entry.number for stored in approval.path] == list(range(1, state.last_number + 1))
        assert event_pb2.State.Name(approval.state) == f"STATE_{state.state}"


async def decide(platform: Platform, approval_id: str) -> None:
    await platform.until(lambda: waits(platform, approval_id))
    await (await platform.as_(ALICE)).SubmitDecision(platform.deciding(approval_id))


async def waits(platform: Platform, approval_id: str) -> bool:
    return (await platform.get(approval_id)).waiting_for_approval


async def test_another_process_leads_at_once_after_a_projector_stops(bare_platform: Platform) -> None:
    platform = bare_platform
    leader = await platform.serve(replica="first")
    await platform.request()
    await platform.serve(replica="second")
    caller = await platform.as_(CALLER)
    await caller.ListApprovals(approval_service_pb2.ListApprovalsRequest())

    await leader.aclose()

    # Well within the lease, which would last for 4 s.
    approval_id = (await caller.RequestApproval(platform.asking())).approval_id
    await platform.until(lambda: waits(platform, approval_id), within=3)


async def foreign_lease(platform: Platform, tenant: str, duration: timedelta) -> None:
    """As a projector leaves it that was killed, or that hangs."""
    database = await Database.open(platform.database_url, migrations="placet_approval")
    held = await LeaseStore(database, LOG).hold([(VIEW, tenant)], "dead", datetime.now(UTC), duration)
    await database.close()
    assert held


async def test_another_process_leads_after_the_lease_of_a_dead_projector(
    bare_platform: Platform, long_leases: timedelta
) -> None:
    platform = bare_platform
    await foreign_lease(platform, HOME, long_leases)
    await platform.serve()
    caller = await platform.as_(CALLER)
    accepted = await caller.RequestApproval(platform.asking())
    # Before that the log itself is asked for what the view does not have.
    assert (await platform.get(accepted.approval_id)).approval_id == accepted.approval_id
    assert (await rows(platform.database_url))["view"] == []

    await foreign_lease(platform, HOME, timedelta(0))

    request = approval_service_pb2.GetApprovalRequest(
        approval_id=accepted.approval_id, min_log_index=accepted.log_index
    )
    approval = (await caller.GetApproval(request)).approval

    assert approval.log_index >= accepted.log_index
    assert len((await rows(platform.database_url))["view"]) == 1


async def test_a_replica_that_does_not_lead_shows_what_was_written_by_it(bare_platform: Platform) -> None:
    platform = bare_platform
    await platform.serve(replica="leader")
    await (await platform.as_(CALLER)).ListApprovals(approval_service_pb2.ListApprovalsRequest())
    await platform.request()
    await platform.serve(replica="follower")
    caller, alice = await platform.as_(CALLER), await platform.as_(ALICE)

    for _ in range(5):
        accepted = await caller.RequestApproval(platform.asking(labels={"team": "red"}))
        listing = approval_service_pb2.ListApprovalsRequest(page_size=1, min_log_index=accepted.log_index)
        newest = (await caller.ListApprovals(listing)).approvals
        assert [(one.approval_id, dict(one.labels)) for one in newest] == [
            (accepted.approval_id, {"team": "red"})
        ]
        await platform.until(lambda waiting=accepted.approval_id: waits(platform, waiting))  # type: ignore[misc]  # mypy infers no lambda with a default
        answer = await alice.SubmitDecision(platform.deciding(accepted.approval_id))
        # EFFECTIVE promises that the next read shows it, also without an index.
        assert (await platform.get(accepted.approval_id)).log_index >= answer.result.log_index


async def test_a_read_that_cannot_be_current_in_time_says_how_far_it_is(
    bare_platform: Platform, long_leases: timedelta
) -> None:
    platform = bare_platform
    await foreign_lease(platform, HOME, long_leases)
    await platform.serve()
    caller = await platform.as_(CALLER)
    accepted = await caller.RequestApproval(platform.asking())

    with pytest.raises(Unavailable) as raised:
        await caller.GetApproval(
            approval_service_pb2.GetApprovalRequest(approval_id=accepted.approval_id, min_log_index=7),
            timeout=1,
        )

    assert raised.value.reason == "NOT_YET_READ"
    assert raised.value.metadata == {"log_index": "-1", "wanted": "7"}


class HeldViews(ViewStore):
    """Tells of each write, and holds the first."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.written: list[list[int]] = []
        self.holding, self.resume, self.done = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def write(
        self, tenant: str, expected: int, entries: Any, changed: Any, unusable: Any = None
    ) -> None:
        self.written.append([entry.index for entry in entries])
        if expected == 0:
            self.holding.set()
            await self.resume.wait()
        await super().write(tenant, expected, entries, changed, unusable)
        if entries[-1].index == 3:
            self.done.set()


class GivenLog(AuditLog):
    """A log whose tail tells of the second to fourth commit while the view is held at the first."""

    def __init__(self, views: HeldViews) -> None:
        self._views = views

    async def tail(self, tenant: str, from_index: int) -> AsyncGenerator[Batch[event_pb2.LogEntry], None]:
        for index in range(4):
            entry = event_pb2.LogEntry(index=index, entry=event_pb2.Entry(tenant=tenant))
            yield Batch([entry], index + 1, 4)
            await self._views.holding.wait()
        self._views.resume.set()
        await asyncio.Event().wait()


async def test_commits_that_come_while_the_view_is_written_are_written_together(database: Database) -> None:
    views = HeldViews(database)
    policies = PolicyStore(database, load(None))
    projection = Projection(HOME, GivenLog(views), views, RequestStore(database), policies)
    projection.tailer.lead(elected=True)
    following = asyncio.create_task(projection.tailer.run())
    async with asyncio.timeout(15):
        await views.done.wait()
        assert await projection.reached(3, 15)
    following.cancel()
    await asyncio.wait([following])

    assert views.written == [[0], [1, 2, 3]]
    assert await views.next_index(HOME) == 4


async def test_a_tail_that_breaks_goes_on_without_gap_or_repetition(platform: Platform) -> None:
    before = await platform.request()

    await platform.audit.stop()
    assert (await platform.get(before)).waiting_for_approval
    await platform.audit.start()

    after = await platform.request()
    await platform.until(lambda: in_view(platform))
    for approval_id in (before, after):
        path = (await platform.get(approval_id)).path
        assert [stored.entry.number for stored in path] == list(range(1, len(path) + 1))
        assert len(path) >= 4


async def test_a_tail_does_not_end_with_the_call_that_began_it(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The first call of a tenant: what it begins must outlive its deadline, which passes by the clock's jump.
    caller = await platform.as_(CALLER, tenant=ABROAD)
    await caller.ListApprovals(approval_service_pb2.ListApprovalsRequest())
    monkeypatch.setattr(deadlines, "time", SimpleNamespace(monotonic=lambda: time.monotonic() + 3600))

    approval_id = await platform.request(tenant=ABROAD)
    await (await platform.as_(ALICE, tenant=ABROAD)).SubmitDecision(platform.deciding(approval_id))

    assert (await platform.get(approval_id, ABROAD)).state == event_pb2.STATE_APPROVED


async def test_a_log_that_cannot_be_folded_now_holds_up_its_own_tenant_only(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    apply, tried = LogFold.apply, asyncio.Event()

    async def apply_or_fail(self: LogFold, entries: Any, before: Any = None) -> Any:
        if any(stored.entry.tenant == ABROAD for stored in entries):
            tried.set()
            raise Unavailable("not now")
        return await apply(self, entries, before)

    with monkeypatch.context() as patched:
        patched.setattr(LogFold, "apply", apply_or_fail)
        abroad = await platform.as_(CALLER, tenant=ABROAD)
        held_up = (await abroad.RequestApproval(platform.asking())).approval_id
        async with asyncio.timeout(15):
            await tried.wait()
        await platform.request()

    async def shown() -> bool:
        return (await platform.get(held_up, ABROAD)).waiting_for_approval

    await platform.until(shown)
