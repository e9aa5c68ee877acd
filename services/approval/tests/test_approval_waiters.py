"""Waiters get every event, whichever replica wrote it; and effects of commands in these events."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from placet.approval.v1 import approval_service_pb2
from placet.event.v1 import event_pb2
from placet_approval.adapters.audit_log import AuditLog
from placet_approval.commands.handler import is_effective
from placet_approval.projection.fold import AppliedEvent
from placet_domain.commands import DecisionCommand
from placet_domain.events import Actor, ActorKind, Verdict
from placet_domain.state import ApprovalState, CommandResult
from placet_logtail import Listener
from placet_rpc.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from services.approval.tests.conftest import Platform

pytestmark = pytest.mark.integration

CALLER, ALICE = "ci@example.com", "alice@example.com"


@pytest.fixture
def tails() -> list[AuditLog]:
    """The log of each replica, in the order in which they began to follow it."""
    return []


@pytest.fixture
def cut(tails: list[AuditLog], monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """While it is set, the tail of the second replica breaks off."""
    tail, is_cut = AuditLog.tail, asyncio.Event()

    async def followed(log: AuditLog, tenant: str, start: int) -> AsyncGenerator[Any, None]:
        if log not in tails:
            tails.append(log)
        async for response in tail(log, tenant, start):
            if is_cut.is_set() and log is tails[1]:
                raise Unavailable("cut off")
            yield response

    monkeypatch.setattr(AuditLog, "tail", followed)
    return is_cut


async def two_replicas(platform: Platform, tails: list[AuditLog]) -> tuple[str, str]:
    """A request that waits, and the address of the first of two replicas; the second is the one called."""
    await platform.serve(replica="first", sign_of_life=600)
    approval_id, first = await platform.request(), platform.address
    await platform.serve(replica="second", sign_of_life=600)
    assert (await platform.get(approval_id)).waiting_for_approval
    await platform.until(lambda: has(tails, 2))
    return approval_id, first


async def test_waiters_get_what_another_replica_wrote_while_the_tail_was_broken(
    bare_platform: Platform, tails: list[AuditLog], cut: asyncio.Event
) -> None:
    platform = bare_platform
    approval_id, first = await two_replicas(platform, tails)
    caller = await platform.as_(CALLER)
    cut.set()
    awaiting = approval_service_pb2.AwaitOutcomeRequest(approval_id=approval_id)
    waiting = asyncio.ensure_future(caller.AwaitOutcome(awaiting, timeout=600))
    platform.address = first
    await (await platform.as_(ALICE)).SubmitDecision(platform.deciding(approval_id))
    assert (await platform.get(approval_id)).state == event_pb2.STATE_APPROVED
    cut.clear()

    # Sooner than its time is over, which is a minute.
    async with asyncio.timeout(15):
        assert (await waiting).approval.state == event_pb2.STATE_APPROVED


async def test_watchers_get_what_another_replica_wrote_while_the_tail_was_broken(
    bare_platform: Platform, tails: list[AuditLog], cut: asyncio.Event
) -> None:
    platform = bare_platform
    approval_id, first = await two_replicas(platform, tails)
    end = (await platform.get(approval_id)).path[-1].index + 1
    watching = approval_service_pb2.WatchApprovalsRequest(from_log_index=end)
    watch = (await platform.as_(CALLER)).WatchApprovals(watching, timeout=600)
    responses = aiter(watch)
    # It has caught up, and waits from now on.
    assert (await anext(responses)).next_log_index == end
    cut.set()
    platform.address = first
    await (await platform.as_(ALICE)).SubmitDecision(platform.deciding(approval_id))
    assert (await platform.get(approval_id)).state == event_pb2.STATE_APPROVED
    cut.clear()

    # Sooner than a watch's sign_of_life, which is ten minutes.
    async with asyncio.timeout(15):
        assert (await anext(responses)).entry.index == end
    watch.cancel()


async def has(found: list[Any], number: int) -> bool:
    return len(found) == number


VOTE = DecisionCommand(id="d", actor=Actor(kind=ActorKind.PERSON, name=ALICE), verdict=Verdict.APPROVE)


def test_one_append_is_one_effect_though_the_tail_splits_it() -> None:
    digest = VOTE.digest()
    part, whole = (CommandResult(digest=digest, log_index=4, is_complete=one) for one in (False, True))

    # A piece is none, because it would tell a state that nobody left.
    assert not is_effective(ApprovalState(), VOTE)
    assert not is_effective(ApprovalState(commands={"d": part}), VOTE)
    assert is_effective(ApprovalState(commands={"d": whole}), VOTE)


async def test_a_waiter_woken_before_it_waits_does_not_wait() -> None:
    listener = Listener[AppliedEvent]()
    listener.wake()

    async with asyncio.timeout(15):
        assert await listener.next(600) == []
