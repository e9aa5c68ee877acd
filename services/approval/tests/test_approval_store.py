"""Storage of requests and view, per tenant, alike on SQLite and PostgreSQL."""

from __future__ import annotations

import asyncio
import hashlib
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from placet.approval.v1 import approval_pb2
from placet.event.v1 import event_pb2
from placet_approval.store.filters import Filter
from placet_approval.store.pending_commands import PendingCommands
from placet_approval.store.requests import BEGINNING, Content, Request, RequestStore
from placet_approval.store.tables import metadata
from placet_approval.store.view import CommandContext, ProjectedApproval, ViewStore
from placet_approval.visibility import Visibility
from placet_domain.commands import DecisionCommand
from placet_domain.events import Actor, ActorKind, Verdict
from placet_logtail import CursorMoved
from placet_rpc.errors import InvalidArgument
from placet_storage import Database
from placet_testing.attestation import attested_command
from placet_testing.databases import schema_differences

NOW = datetime(2030, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
HOME, ABROAD = "home", "abroad"
ALL_AT_HOME = Visibility(HOME, "auditor", everything=True)
ID = "0d5ad5c6-7a4e-5c53-8b1f-1f6bd0d2a001"


def request(approval_id: str = ID, tenant: str = HOME, **changes: Any) -> Request:
    values: dict[str, Any] = {
        "tenant": tenant,
        "approval_id": approval_id,
        "payload_digest": b"p" * 32,
        "received": b"\x00received",
        "processed": '{"characters": 1}',
        "policy_digest": b"d" * 32,
        "labels": {"team": "a\0ü"},
        "create_time": NOW,
    }
    return Request(**(values | changes))


def content(body: bytes = b"\x00body") -> Content:
    return Content(hashlib.sha256(body).digest(), "text/plain", body, "text\n拳")


def approval(approval_id: str, at: datetime = NOW, **changes: Any) -> approval_pb2.Approval:
    values: dict[str, Any] = {
        "approval_id": approval_id,
        "requester": "ci@example.com",
        "state": event_pb2.STATE_PENDING,
        "policy": "simple",
        "subject_id": "order-1",
        "last_number": 1,
    }
    message = approval_pb2.Approval(**(values | changes))
    message.create_time.FromDatetime(at)
    return message


def entry(index: int, approval_id: str, number: int = 1, tenant: str = HOME) -> event_pb2.LogEntry:
    inner = event_pb2.Entry(tenant=tenant, approval_id=approval_id, number=number)
    return event_pb2.LogEntry(index=index, entry=inner)


def ids(count: int) -> list[str]:
    return [str(uuid.uuid4()) for _ in range(count)]


@pytest.fixture
def pending(database: Database) -> PendingCommands:
    return PendingCommands(database, attested_command)


@pytest.fixture
def requests(database: Database) -> RequestStore:
    return RequestStore(database)


@pytest.fixture
def views(database: Database) -> ViewStore:
    return ViewStore(database)


async def show(
    views: ViewStore, *approvals: approval_pb2.Approval, tenant: str = HOME, asked: tuple[str, ...] = ()
) -> None:
    """Each in the view, with one entry."""
    start = await views.next_index(tenant)
    entries = [entry(start + place, one.approval_id, tenant=tenant) for place, one in enumerate(approvals)]
    people = dict.fromkeys(asked, True)
    changed = [(ProjectedApproval(one, people), people) for one in approvals]
    await views.write(tenant, start, entries, changed)


async def test_the_migrations_make_the_tables_that_the_code_uses(
    database: Database, database_url: str
) -> None:
    assert schema_differences(database_url, metadata) == []


async def test_a_request_is_kept_with_its_content(requests: RequestStore) -> None:
    assert await requests.insert(request(), content()) == (request(), True)

    assert await requests.get(HOME, ID) == request()
    assert await requests.content(HOME, ID, content().digest) == (content(), request())
    assert await requests.content(HOME, ID, b"x" * 32) is None
    assert await requests.labels(HOME, [ID, str(uuid.uuid4())]) == {ID: {"team": "a\0ü"}}


async def test_who_stores_a_request_second_gets_the_first(requests: RequestStore) -> None:
    await requests.insert(request(), content())

    stored = await requests.insert(request(payload_digest=b"q" * 32), content(b"other"))

    assert stored == (request(), False)
    assert await requests.content(HOME, ID, content(b"other").digest) is None


async def test_of_many_at_once_one_is_stored(requests: RequestStore) -> None:
    rivals = [request(payload_digest=bytes([number]) * 32) for number in range(20)]

    stored = await asyncio.gather(*(requests.insert(one, content()) for one in rivals))

    assert len({one.payload_digest for one, _ in stored}) == 1
    assert sum(is_new for _, is_new in stored) == 1
    assert await requests.get(HOME, ID) == stored[0][0]


async def test_open_requests_are_found_oldest_first_across_tenants(
    requests: RequestStore, views: ViewStore
) -> None:
    wanted = ids(4)
    for hours, approval_id in enumerate(wanted):
        at = NOW + timedelta(hours=hours)
        tenant = ABROAD if hours % 2 else HOME
        await requests.insert(request(approval_id, tenant, create_time=at), content())
        await show(views, approval(approval_id, at, last_number=4), tenant=tenant)
    decided, begun = ids(2)
    await requests.insert(request(decided), content())
    await show(views, approval(decided, state=event_pb2.STATE_APPROVED, last_number=7))
    await requests.insert(request(begun), content())
    await show(views, approval(begun, last_number=1))

    first = await requests.open(BEGINNING, NOW + timedelta(hours=3), 2)
    place = (first[-1].create_time, first[-1].approval_id)
    rest = await requests.open(place, NOW + timedelta(hours=3), 2)

    assert [one.approval_id for one in (*first, *rest)] == wanted[:3]


async def test_tenants_share_nothing(
    requests: RequestStore, views: ViewStore, pending: PendingCommands
) -> None:
    await requests.insert(request(), content())
    await requests.insert(request(tenant=ABROAD, payload_digest=b"q" * 32), content(b"other"))
    await show(views, approval(ID))
    await show(views, approval(ID, subject_id="abroad's"), tenant=ABROAD)
    await pending.claim(HOME, ID, deciding("c"), NOW)

    assert set(await requests.tenants()) == {HOME, ABROAD}
    assert await requests.content(ABROAD, ID, content().digest) is None
    assert await views.command_context(ABROAD, ID) == CommandContext(
        [entry(0, ID, tenant=ABROAD)], exists=True
    )
    assert await pending.of_request(ABROAD, ID) == []
    found = await views.get(ABROAD, ID)
    assert isinstance(found, ProjectedApproval)
    assert found.approval.subject_id == "abroad's"
    page, _ = await views.page(ALL_AT_HOME, Filter(), 10, "")
    assert [one.subject_id for one in page] == ["order-1"]
    events, _ = await views.events_from(ABROAD, 0, 10)
    assert [one.entry.tenant for one in events] == [ABROAD]


def deciding(command_id: str, reason: str = "fine") -> DecisionCommand:
    actor = Actor(kind=ActorKind.PERSON, name="alice@example.com", authenticated_by="jwt:placet")
    return DecisionCommand(id=command_id, actor=actor, verdict=Verdict.APPROVE, reason=reason)


async def test_a_command_meets_its_request_in_the_view(requests: RequestStore, views: ViewStore) -> None:
    assert await views.command_context(HOME, ID) == CommandContext([], exists=False)
    await requests.insert(request(), content())
    assert await views.command_context(HOME, ID) == CommandContext([], exists=True)
    await show(views, approval(ID))
    assert await views.command_context(HOME, ID) == CommandContext([entry(0, ID)], exists=True)


async def test_a_request_that_the_view_does_not_know_yet_is_shown_as_it_was_accepted(
    requests: RequestStore, views: ViewStore
) -> None:
    assert await views.get(HOME, ID) is None
    await requests.insert(request(), content())
    assert await views.get(HOME, ID) == request()
    await show(views, approval(ID), asked=("alice@example.com",))
    assert await views.get(HOME, ID) == ProjectedApproval(approval(ID), {"alice@example.com": True})


async def test_interrupted_requests_are_those_with_at_most_received_in_the_view(
    requests: RequestStore, views: ViewStore
) -> None:
    unlogged, received, under_way, young = ids(4)
    for age, one in enumerate((unlogged, received, under_way)):
        await requests.insert(request(one, create_time=NOW - timedelta(seconds=9 - age)), content())
    await requests.insert(request(young), content())
    await show(views, approval(received), approval(under_way, last_number=2))

    found = await requests.interrupted(BEGINNING, NOW, 10)

    assert [one.approval_id for one in found] == [unlogged, received]


async def test_interrupted_requests_continue_from_a_place(requests: RequestStore) -> None:
    wanted = sorted(ids(5))
    for one in wanted:
        await requests.insert(request(one), content())
    after, found = BEGINNING, []

    while page := await requests.interrupted(after, NOW + timedelta(seconds=1), 2):
        found += [one.approval_id for one in page]
        after = (page[-1].create_time, page[-1].approval_id)

    assert found == wanted


async def test_a_view_is_written_with_its_cursor_or_not_at_all(views: ViewStore) -> None:
    await show(views, approval(ID))
    assert await views.next_index(HOME) == 1

    for wrong in (0, 2):
        with pytest.raises(CursorMoved):
            await views.write(HOME, wrong, [entry(wrong, ID, 2)], [(ProjectedApproval(approval(ID), {}), {})])

    assert await views.next_index(HOME) == 1
    assert [one.entry.number for one in await views.path(HOME, ID)] == [1]


async def test_of_two_projectors_at_one_place_one_writes(views: ViewStore) -> None:
    async def project(title: str) -> str:
        shown = ProjectedApproval(approval(ID, title=title), {})
        await views.write(HOME, 0, [entry(0, ID)], [(shown, {})])
        return title

    results = await asyncio.gather(project("a"), project("b"), return_exceptions=True)

    (winner,) = (one for one in results if isinstance(one, str))
    assert sum(isinstance(one, CursorMoved) for one in results) == 1
    found = await views.get(HOME, ID)
    assert isinstance(found, ProjectedApproval)
    assert found.approval.title == winner


async def test_entries_of_the_tenant_itself_move_the_cursor_only(views: ViewStore) -> None:
    await views.write(HOME, 0, [entry(0, "", 0), entry(1, "", 0)], [])

    assert await views.next_index(HOME) == 2
    assert await views.events_from(HOME, 0, 10) == ([], 2)


async def test_a_dropped_view_is_empty_and_may_be_written_again(views: ViewStore) -> None:
    await show(views, approval(ID), asked=("alice@example.com",))

    await views.drop()

    assert (await views.next_index(HOME), await views.get(HOME, ID), await views.path(HOME, ID)) == (
        0,
        None,
        [],
    )
    await show(views, approval(ID), asked=("alice@example.com",))
    found = await views.get(HOME, ID)
    assert isinstance(found, ProjectedApproval)
    assert found.asked == {"alice@example.com": True}


async def test_pages_are_newest_first_without_gaps_and_repetitions(views: ViewStore) -> None:
    # Some share a moment, so that the id must tell them apart.
    moments = [NOW + timedelta(microseconds=number // 3) for number in range(10)]
    approvals = [approval(one, at) for one, at in zip(ids(10), moments, strict=True)]
    await show(views, *approvals)
    token, found, sizes = "", list[str](), list[int]()

    while True:
        page, token = await views.page(ALL_AT_HOME, Filter(), 4, token)
        found += [one.approval_id for one in page]
        sizes.append(len(page))
        if not token:
            break

    newest_first = sorted(
        approvals, key=lambda one: (one.create_time.ToNanoseconds(), one.approval_id), reverse=True
    )
    assert found == [one.approval_id for one in newest_first]
    assert sizes == [4, 4, 2]


async def test_a_full_last_page_has_no_next(views: ViewStore) -> None:
    await show(views, *map(approval, ids(2)))

    _, token = await views.page(ALL_AT_HOME, Filter(), 2, "")

    assert token == ""


async def test_a_request_that_comes_while_somebody_pages_moves_nothing(views: ViewStore) -> None:
    first, second = ids(2)
    await show(views, approval(first), approval(second, NOW + timedelta(seconds=1)))
    _, token = await views.page(ALL_AT_HOME, Filter(), 1, "")
    await show(views, approval(ids(1)[0], NOW + timedelta(seconds=2)))

    page, _ = await views.page(ALL_AT_HOME, Filter(), 1, token)

    assert [one.approval_id for one in page] == [first]


@pytest.mark.parametrize(
    "token",
    ["x", "====", "bm90IGEgdG9rZW4=", "MjAzMHw=", "OTk5OS0xMi0zMVQyMzo1OTo1OS0yMzowMHww", "\udcff"],
    ids=["not base64", "padding", "no place", "no id", "out of range", "no text"],
)
async def test_a_token_of_somebody_elses_making_is_refused(views: ViewStore, token: str) -> None:
    with pytest.raises(InvalidArgument) as raised:
        await views.page(ALL_AT_HOME, Filter(), 10, token)

    assert [violation.field for violation in raised.value.violations] == ["page_token"]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (Filter(), {"own", "asked", "closed", "other"}),
        (Filter(states=("STATE_APPROVED",)), {"closed"}),
        (Filter(states=("STATE_APPROVED", "STATE_PENDING")), {"own", "asked", "closed", "other"}),
        (Filter(policy="document"), {"other"}),
        (Filter(subject_id="order-2"), {"asked"}),
        (Filter(waiting_for="alice@example.com"), {"asked"}),
        (Filter(policy="document", subject_id="order-2"), set()),
    ],
)
async def test_filters_hold_together(views: ViewStore, wanted: Filter, found: set[str]) -> None:
    await show(views, approval("own"), approval("other", policy="document"))
    await show(views, approval("asked", subject_id="order-2"), asked=("alice@example.com",))
    await show(views, approval("closed", state=event_pb2.STATE_APPROVED), asked=("alice@example.com",))

    page, _ = await views.page(ALL_AT_HOME, wanted, 10, "")

    assert {one.approval_id for one in page} == found


@pytest.mark.parametrize(
    ("subject", "found"),
    [
        ("ci@example.com", {"own"}),
        ("alice@example.com", {"asked"}),
        ("mallory@example.com", set()),
    ],
)
async def test_a_page_holds_what_its_reader_may_see(views: ViewStore, subject: str, found: set[str]) -> None:
    await show(views, approval("own"))
    await show(views, approval("asked", requester="bob@example.com"), asked=("alice@example.com",))

    page, _ = await views.page(Visibility(HOME, subject, everything=False), Filter(), 10, "")

    assert {one.approval_id for one in page} == found
