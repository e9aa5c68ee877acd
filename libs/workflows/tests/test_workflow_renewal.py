"""Going on as new, on the real server (the time-skipping one is not atomic there): nothing is forgotten,
and what arrives meanwhile counts once."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from temporalio.client import WorkflowExecutionStatus
from temporalio.testing import WorkflowEnvironment

from placet_domain.commands import Command
from placet_domain.events import ErrorReason, Refused, Source, State, Verdict
from placet_testing.fake_services import Services
from placet_testing.simulation import ALICE, BOB, REQUESTER, decision
from placet_testing.workflow_environment import (
    PATIENCE,
    PAUSE,
    ApprovalEnvironment,
    Request,
    running_environment,
)
from placet_workflows.activity_types import Status

pytestmark = pytest.mark.integration

SOON = timedelta(seconds=1)


async def renewed(request: Request, times: int = 1) -> None:
    """Waits until the workflow went on as new so often."""
    first = request.handle.first_execution_run_id
    seen = {first}
    async with asyncio.timeout(PATIENCE):
        while len(seen) <= times:
            seen.add((await request.handle.describe()).run_id)
            await asyncio.sleep(PAUSE)


async def test_a_request_goes_on_as_new_and_is_decided_then(live: ApprovalEnvironment) -> None:
    request = await live.request("simple", renew_after=SOON)
    await request.reaches("asked")
    await renewed(request, times=2)
    await request.send(decision(ALICE))
    outcome = await request.outcome()
    assert (outcome.source, outcome.approver, outcome.tier) == (Source.HUMAN, ALICE, 1)
    assert request.path == [
        "received",
        "processed",
        "tier_opened",
        "asked",
        "notified",
        "voted",
        "decided",
        "closed",
    ]
    assert [notice.recipient for notice in live.services.notified] == [ALICE, REQUESTER]


async def test_commands_that_were_processed_before_stay_processed(live: ApprovalEnvironment) -> None:
    request = await live.request("escalating", renew_after=SOON)
    await request.reaches("asked")
    refused = decision(BOB)
    await request.send(refused)
    await request.reaches("refused")
    await renewed(request)
    await request.send(refused)
    await request.send(decision(ALICE, Verdict.REJECT, reason="no"))
    assert (await request.outcome()).state is State.REJECTED
    assert request.path.count("refused") == 1


async def test_a_tiers_clock_goes_on_from_where_it_was(live: ApprovalEnvironment) -> None:
    request = await live.request("escalating", renew_after=SOON, clock_scale=4800)
    outcome = await request.outcome()
    assert outcome.source is Source.AI_FALLBACK
    # A clock that began anew with each renewal would never have run out.
    assert request.waited(1) >= timedelta(seconds=1.5)
    assert request.waited(2) >= timedelta(seconds=3)
    assert request.path.count("asked") == 2
    assert [notice.tier for notice in live.services.notified][:2] == [1, 2]


async def test_the_status_survives(live: ApprovalEnvironment) -> None:
    request = await live.request("escalating", renew_after=SOON)
    await request.reaches("asked")
    await renewed(request)
    status = await request.handle.query("get_status", result_type=Status)
    assert (status.tier, status.waiting_for_approval) == (1, True)
    # A notice that took longer is an event too.
    assert status.last_number in (4, 5)
    await request.handle.terminate()


async def test_a_request_that_is_closing_does_not_go_on_as_new(live: ApprovalEnvironment) -> None:
    request = await live.request("simple", renew_after=timedelta(seconds=3))
    await request.reaches("asked")
    await request.send(decision(ALICE))
    await request.outcome()
    assert (await request.handle.describe()).status is WorkflowExecutionStatus.COMPLETED


@pytest.mark.parametrize("pause", [0.005, 0.02, 0.05])
async def test_a_decision_during_going_on_as_new_counts_once(
    real_server: WorkflowEnvironment, pause: float
) -> None:
    """Commands in a steady stream, each of them refused, while the runs change; then the vote."""
    async with running_environment(real_server, Services()) as environment:
        request = await environment.request("escalating", renew_after=timedelta(milliseconds=300))
        await request.reaches("asked")
        sent: list[Command] = []
        renewing = asyncio.create_task(renewed(request, times=3))
        while not renewing.done():
            sent.append(decision(BOB))
            await request.send(sent[-1])
            await asyncio.sleep(pause)
        await renewing
        vote = decision(ALICE)
        # The first may complete the workflow before the others arrive.
        await asyncio.gather(*(request.send(vote) for _ in range(3)), return_exceptions=True)
        outcome = await request.outcome()
    assert outcome.approver == ALICE
    caused = [event.cause_id for event in request.events if event.command_digest]
    assert caused == [*(command.id for command in sent), *[vote.id] * 3]
    assert {refused.reason for refused in request.all_of(Refused)} == {ErrorReason.NOT_ASKED}
