"""Watching: history as it was, then what happens, within what the caller may see."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import aclosing, suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from placet.approval.v1 import approval_pb2, approval_service_pb2
from placet.event.v1 import event_pb2
from placet_approval.store.tables import LOG
from placet_approval.store.view import VIEW, ViewStore
from placet_logtail import LeaseStore
from placet_rpc.errors import OutOfRange, Unavailable
from placet_storage import Database

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from services.approval.tests.conftest import Platform

    from placet.approval.v1.approval_service_pb2_grpc import ApprovalServiceStub

pytestmark = pytest.mark.integration

CALLER, ALICE, BOB, MALLORY = "ci@example.com", "alice@example.com", "bob@example.com", "mallory@example.com"
HOME, ABROAD = "home", "abroad"
PENDING, APPROVED = event_pb2.STATE_PENDING, event_pb2.STATE_APPROVED


async def decide(platform: Platform, approval_id: str) -> approval_service_pb2.SubmitDecisionResponse:
    return await (await platform.as_(ALICE)).SubmitDecision(platform.deciding(approval_id))


# Watching.

Seen = tuple[str, str, str]


async def watch(
    stub: ApprovalServiceStub, from_index: int | None, **wanted: Any
) -> AsyncGenerator[approval_service_pb2.WatchApprovalsResponse]:
    """The responses of a watch."""
    request = approval_service_pb2.WatchApprovalsRequest(
        filter=approval_service_pb2.ApprovalFilter(**wanted), from_log_index=from_index
    )
    call = stub.WatchApprovals(request)
    try:
        async for response in call:
            yield response
    finally:
        call.cancel()


async def seen_until(
    stub: ApprovalServiceStub, last: str, from_index: int | None = 0, **wanted: Any
) -> list[approval_service_pb2.WatchApprovalsResponse]:
    """The changes that a watch tells, up to the first event of a kind."""
    found = []
    async with asyncio.timeout(15), aclosing(watch(stub, from_index, **wanted)) as responses:
        async for response in responses:
            if response.HasField("entry"):
                found.append(response)
                if response.entry.entry.event.WhichOneof("body") == last:
                    return found
    raise AssertionError("the watch ended")


def kinds(found: list[approval_service_pb2.WatchApprovalsResponse]) -> list[str | None]:
    return [one.entry.entry.event.WhichOneof("body") for one in found]


STORY = ["received", "processed", "tier_opened", "asked", "voted", "decided", "closed"]


async def test_a_watch_sends_history_as_it_was_and_then_new_events(platform: Platform) -> None:
    approval_id = await platform.request(labels={"team": "red"})
    watching = asyncio.create_task(seen_until(await platform.as_(CALLER), "closed"))
    await decide(platform, approval_id)

    found = await watching

    assert kinds(found) == STORY
    assert [one.approval.last_number for one in found] == list(range(1, 8))
    assert [one.approval.state for one in found] == [PENDING] * 5 + [APPROVED] * 2
    assert all(dict(one.approval.labels) == {"team": "red"} for one in found)
    assert [one.next_log_index for one in found] == [one.entry.index + 1 for one in found]


async def test_history_from_the_view_is_as_it_was_too(bare_platform: Platform) -> None:
    platform = bare_platform
    first = await platform.serve()
    approval_id = await platform.request(labels={"team": "red"})
    await decide(platform, approval_id)
    await first.aclose()
    # A replica that began after it all keeps none of it in memory.
    await platform.serve(replica="later")

    found = await seen_until(await platform.as_(CALLER), "closed")

    assert kinds(found) == STORY
    assert [one.approval.last_number for one in found] == list(range(1, 8))
    assert [one.approval.waiting_for_approval for one in found] == [False] * 3 + [True] * 2 + [False] * 2
    assert all(dict(one.approval.labels) == {"team": "red"} for one in found)


async def test_a_watch_resumes_without_gap_or_repetition(platform: Platform) -> None:
    approval_id = await platform.request()
    caller = await platform.as_(CALLER)
    first = await seen_until(caller, "tier_opened")
    await decide(platform, approval_id)

    rest = await seen_until(caller, "closed", first[-1].next_log_index)

    assert kinds(first) + kinds(rest) == STORY


async def test_a_watch_from_now_sends_no_earlier_events(bare_platform: Platform) -> None:
    platform = bare_platform
    first = await platform.serve()
    before = await platform.request()
    await first.aclose()
    # On a replica that has not read anything yet.
    await platform.serve(replica="later")
    caller = await platform.as_(CALLER)
    found = []
    async with asyncio.timeout(15), aclosing(watch(caller, None)) as responses:
        # Its first word says that it has caught up.
        assert not (await anext(responses)).HasField("entry")
        await decide(platform, before)
        async for response in responses:
            if response.HasField("entry"):
                found.append(response)
            if len(found) == 3:
                break

    assert kinds(found) == ["voted", "decided", "closed"]


async def test_a_watch_from_now_is_refused_while_it_is_unknown_where_now_is(bare_platform: Platform) -> None:
    platform = bare_platform
    first = await platform.serve()
    await platform.request()
    end = len(await platform.audit.events(HOME))
    await first.aclose()
    await platform.audit.stop()
    await platform.serve(replica="later")
    caller = await platform.as_(CALLER)

    with pytest.raises(Unavailable) as refused:
        await anext(watch(caller, None))
    assert refused.value.reason == "NOT_YET_READ"

    await platform.audit.start()

    async def first_word() -> int:
        with suppress(Unavailable):
            async with aclosing(watch(caller, None)) as responses:
                response = await anext(responses)
                assert not response.HasField("entry")
                return response.next_log_index
        return -1

    async def is_now() -> bool:
        return await first_word() == end

    await platform.until(is_now)


async def test_a_watch_from_beyond_the_end_is_refused_and_from_the_end_waits(platform: Platform) -> None:
    await platform.request()
    end = len(await platform.audit.events(HOME))
    caller = await platform.as_(CALLER)

    with pytest.raises(OutOfRange) as refused:
        await anext(watch(caller, end + 1))
    async with asyncio.timeout(15), aclosing(watch(caller, end)) as responses:
        assert (await anext(responses)).next_log_index == end

    assert refused.value.reason == "BEYOND_END"


async def test_a_watch_sends_signs_of_life_with_the_index_to_resume_from(platform: Platform) -> None:
    await platform.request()
    end = len(await platform.audit.events(HOME))
    signs = []
    async with asyncio.timeout(15), aclosing(watch(await platform.as_(MALLORY), None)) as responses:
        async for response in responses:
            signs.append(response)
            if len(signs) == 3:
                break

    assert all(not sign.HasField("entry") and not sign.HasField("approval") for sign in signs)
    assert [sign.next_log_index for sign in signs] == [end] * 3


async def test_a_watch_shows_what_its_reader_may_see(platform: Platform) -> None:
    others = await platform.request(by=MALLORY, required_approver=BOB)
    own = await platform.request()
    await platform.request(tenant=ABROAD)
    await decide(platform, own)

    for subject, roles, expected in (
        (CALLER, ("requester",), {own}),
        (ALICE, ("approver",), {own}),
        ("auditor@example.com", ("auditor",), {own, others}),
    ):
        found = await seen_until(await platform.as_(subject, *roles), "closed")
        assert {one.approval.approval_id for one in found} == expected
    # People see a request from the moment they are asked.
    assert kinds(await seen_until(await platform.as_(ALICE, "approver"), "closed")) == STORY[3:]


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        ({"policy": "escalating"}, {"escalating"}),
        ({"subject_id": "order-1"}, {"simple"}),
        ({"states": [APPROVED]}, {"simple", "escalating"}),
    ],
)
async def test_a_watch_sends_what_matches_its_filter(
    platform: Platform, wanted: dict[str, Any], told: set[str]
) -> None:
    for fields in ({"subject_id": "order-1"}, {"policy": "escalating"}):
        await decide(platform, await platform.request(**fields))
    caller, found, caught_up = await platform.as_(CALLER), list[approval_pb2.Approval](), False
    async with asyncio.timeout(15), aclosing(watch(caller, 0, **wanted)) as responses:
        async for response in responses:
            caught_up = not response.HasField("entry")
            if caught_up:
                break
            found.append(response.approval)

    assert {one.policy for one in found} == told
    if "states" in wanted:
        assert {one.state for one in found} == {APPROVED}


async def test_a_watch_of_my_own_work_sends_what_waits_for_me(platform: Platform) -> None:
    approval_id = await platform.request()
    await decide(platform, approval_id)
    alice = await platform.as_(ALICE, "approver")

    found = []
    async with asyncio.timeout(15), aclosing(watch(alice, 0, waiting_for_me=True)) as responses:
        async for response in responses:
            if not response.HasField("entry"):
                break
            found.append(response)

    assert kinds(found) == ["asked"]


@pytest.mark.usefixtures("long_leases")
async def test_a_watch_behind_a_view_that_stands_still_waits(
    bare_platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    platform = bare_platform
    first = await platform.serve()
    await decide(platform, await platform.request())
    await first.aclose()
    database = await Database.open(platform.database_url, migrations="placet_approval")
    view = ViewStore(database)
    # Whoever writes the view hangs; and what a watch needs that resumes on this replica is only there.
    await LeaseStore(database, LOG).hold([(VIEW, HOME)], "dead", datetime.now(UTC), timedelta(hours=1))
    await platform.serve(replica="later")
    async with aclosing(watch(await platform.as_(CALLER), None)) as responses:
        # Its first word says that it has caught up.
        await anext(responses)
    reads = Counter[str]()
    for name in ("events_from", "next_index"):
        monkeypatch.setattr(ViewStore, name, counted(getattr(ViewStore, name), reads))
    await view.drop()

    caller, signs = await platform.as_(CALLER), Counter[int]()
    with suppress(TimeoutError):
        async with asyncio.timeout(2), aclosing(watch(caller, 0)) as responses:
            async for response in responses:
                signs[response.next_log_index] += 1
    await database.close()

    # One look for each sign of life, at 0.3 s; and a few between them at where the view stands, at 0.2 s.
    assert signs.keys() == {0}
    assert signs[0] <= reads["events_from"] <= 8
    assert reads["next_index"] <= 40


def counted(method: Callable[..., Any], calls: Counter[str]) -> Callable[..., Any]:
    """A method that counts how often it is called. Any: whatever it takes and answers."""

    async def call(*args: Any) -> Any:
        calls[method.__name__] += 1
        return await method(*args)

    return call
