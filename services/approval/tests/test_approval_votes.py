"""Tiers in the view: the people who were asked, their votes, and those who are still awaited."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from placet.approval.v1 import approval_pb2, approval_service_pb2
from placet.event.v1 import event_pb2

if TYPE_CHECKING:
    from pathlib import Path

    from services.approval.tests.conftest import Platform

pytestmark = pytest.mark.integration

ALICE, BOB = "alice@example.com", "bob@example.com"
BOTH = """
name = "both"
version = 1
description = "Two people approve."
[[tiers]]
name = "pair"
asks = ["required_approver", { person = "bob@example.com" }]
quorum = 2
decision_type = "human"
timeout = "2 h"
[fallback]
by = "reject"
reason = "nobody responded"
rejection = "not approved"
"""
MINE = approval_service_pb2.ApprovalFilter(waiting_for_me=True)


async def asked_both(platform: Platform, folder: Path) -> str:
    (folder / "both.toml").write_text(BOTH)
    await platform.serve(policy_folder=folder)
    return await platform.request(policy="both")


async def vote(platform: Platform, person: str, approval_id: str) -> None:
    await (await platform.as_(person)).SubmitDecision(platform.deciding(approval_id))


async def waits_for(platform: Platform, person: str) -> list[str]:
    request = approval_service_pb2.ListApprovalsRequest(filter=MINE)
    answer = await (await platform.as_(person, "approver")).ListApprovals(request)
    return [one.approval_id for one in answer.approvals]


def votes(tier: approval_pb2.TierStatus) -> list[tuple[str, int]]:
    return [(one.person, one.verdict) for one in tier.votes]


async def test_a_tier_shows_its_votes_while_it_waits_and_after_it(
    bare_platform: Platform, tmp_path: Path
) -> None:
    approval_id = await asked_both(bare_platform, tmp_path)
    approved = event_pb2.VERDICT_APPROVE

    await vote(bare_platform, ALICE, approval_id)
    waiting = await bare_platform.get(approval_id)
    assert (waiting.current_tier.approvals, votes(waiting.current_tier)) == (1, [(ALICE, approved)])
    assert waiting.current_tier.votes[0].vote_time.ToDatetime() >= waiting.current_tier.open_time.ToDatetime()
    assert not waiting.earlier_tiers

    await vote(bare_platform, BOB, approval_id)
    (tier,) = (await bare_platform.get(approval_id)).earlier_tiers
    assert (list(tier.people), tier.approvals) == ([ALICE, BOB], 2)
    assert votes(tier) == [(ALICE, approved), (BOB, approved)]


async def test_a_request_no_longer_waits_for_who_has_voted(bare_platform: Platform, tmp_path: Path) -> None:
    approval_id = await asked_both(bare_platform, tmp_path)
    assert await waits_for(bare_platform, ALICE) == [approval_id]

    await vote(bare_platform, ALICE, approval_id)

    assert (await waits_for(bare_platform, ALICE), await waits_for(bare_platform, BOB)) == ([], [approval_id])


async def test_a_watch_of_my_own_work_ends_with_my_vote(bare_platform: Platform, tmp_path: Path) -> None:
    approval_id = await asked_both(bare_platform, tmp_path)
    await vote(bare_platform, ALICE, approval_id)

    for person, last in ((ALICE, "asked"), (BOB, "voted")):
        approver = await bare_platform.as_(person, "approver")
        request = approval_service_pb2.WatchApprovalsRequest(filter=MINE, from_log_index=0)
        call, kinds = approver.WatchApprovals(request), []
        async with asyncio.timeout(15):
            async for response in call:
                if not response.HasField("entry"):
                    break
                kinds.append(response.entry.entry.event.WhichOneof("body"))
        call.cancel()
        assert kinds[-1] == last
