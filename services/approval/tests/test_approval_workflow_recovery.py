"""Workflows that were terminated or lost are restarted."""

from __future__ import annotations

import asyncio
import uuid
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from placet.approval.v1 import approval_pb2, approval_service_pb2
from placet.event.v1 import event_pb2
from placet_approval.intake.workflow_start import WorkflowStarter
from placet_approval.recovery import workflows as recovery
from placet_approval.store.tables import command
from placet_rpc.errors import FailedPrecondition, PermissionDenied, Unavailable

if TYPE_CHECKING:
    from services.approval.tests.conftest import Platform

pytestmark = pytest.mark.integration

CALLER, ALICE, BOB = "ci@example.com", "alice@example.com", "bob@example.com"
HOME = "home"
EFFECTIVE = approval_pb2.COMMAND_STATUS_EFFECTIVE
ACCEPTED = approval_pb2.COMMAND_STATUS_ACCEPTED


async def decide(platform: Platform, approval_id: str, **fields: Any) -> Any:
    """One decision by one call."""
    return (await (await platform.as_(ALICE)).SubmitDecision(platform.deciding(approval_id, **fields))).result


async def kinds(platform: Platform, approval_id: str) -> list[str | None]:
    """A request's events in the log."""
    path = await platform.audit.events(HOME, approval_id)
    return [stored.entry.event.WhichOneof("body") for stored in path]


async def runs(platform: Platform, *approval_ids: str) -> bool:
    return await platform.workflows.running(approval_ids) == set(approval_ids)


async def effective(platform: Platform, approval_id: str, command_id: str) -> None:
    """Waits until a decision, sent again, has taken effect."""

    async def is_effective() -> bool:
        answer = await decide(platform, approval_id, command_id=command_id)
        return bool(answer.status == EFFECTIVE)

    await platform.until(is_effective)


STORY = ["received", "processed", "tier_opened", "asked", "voted", "decided", "closed"]


async def test_a_decision_restarts_its_workflow_and_takes_effect_once(platform: Platform) -> None:
    approval_id, command_id = await platform.request(), str(uuid.uuid4())
    platform.workflows.terminate(approval_id)

    answer = await decide(platform, approval_id, command_id=command_id)

    assert (answer.status, answer.state) == (EFFECTIVE, event_pb2.STATE_APPROVED)
    assert await decide(platform, approval_id, command_id=command_id) == answer
    assert await kinds(platform, approval_id) == STORY


async def test_a_decision_by_somebody_not_asked_restarts_nothing(platform: Platform) -> None:
    approval_id = await platform.request()
    platform.workflows.terminate(approval_id)

    with pytest.raises(PermissionDenied):
        await (await platform.as_(BOB)).SubmitDecision(platform.deciding(approval_id))

    assert not await runs(platform, approval_id)


async def test_a_closed_requests_workflow_is_not_restarted(platform: Platform) -> None:
    approval_id = await platform.request()
    await decide(platform, approval_id)
    platform.workflows.terminate(approval_id)

    with pytest.raises(FailedPrecondition):
        await decide(platform, approval_id)

    assert not await runs(platform, approval_id)


async def test_lost_workflows_are_restarted_in_batches_without_a_command(
    bare_platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    platform = bare_platform
    monkeypatch.setattr(recovery, "BATCH_SIZE", 2)
    await platform.serve(workflow_recovery_interval=0.05)
    open_ones = [await platform.request() for _ in range(5)]
    closed = await platform.request()
    await decide(platform, closed)
    for approval_id in (*open_ones[1:], closed):
        platform.workflows.terminate(approval_id)

    await platform.until(lambda: runs(platform, *open_ones))

    assert not await runs(platform, closed)
    starts = platform.workflows.starts
    assert [starts[approval_id] for approval_id in (*open_ones, closed)] == [1, 2, 2, 2, 2, 1]
    # Each where it stood.
    assert {tuple(await kinds(platform, one)) for one in open_ones} == {tuple(STORY[:4])}


async def test_a_pending_command_goes_with_the_restart_of_its_workflow(bare_platform: Platform) -> None:
    platform = bare_platform
    await platform.serve(command_budget=0.1, workflow_recovery_interval=0.1)
    approval_id, command_id = await platform.request(), str(uuid.uuid4())
    platform.workflows.working = False
    assert (await decide(platform, approval_id, command_id=command_id)).status == ACCEPTED

    platform.workflows.terminate(approval_id)
    await platform.until(lambda: runs(platform, approval_id))
    # It came with the start itself, so that no crash comes between them and no timer goes before it.
    assert len(platform.workflows.commands) == 1
    await platform.workflows.work()

    await effective(platform, approval_id, command_id)
    assert await kinds(platform, approval_id) == STORY


async def test_a_pending_cancellation_before_the_first_step_goes_with_the_restart(
    bare_platform: Platform,
) -> None:
    platform = bare_platform
    await platform.serve(command_budget=0.1, intake_recovery_interval=0.1)
    platform.workflows.working = False
    caller = await platform.as_(CALLER)
    approval_id = (await caller.RequestApproval(platform.asking())).approval_id
    cancel = approval_service_pb2.CancelApprovalRequest(approval_id=approval_id, command_id=str(uuid.uuid4()))
    assert (await caller.CancelApproval(cancel)).result.status == ACCEPTED

    platform.workflows.terminate(approval_id)
    await platform.until(lambda: runs(platform, approval_id))
    await platform.workflows.work()

    async def is_cancelled() -> bool:
        return bool((await caller.CancelApproval(cancel)).result.status == EFFECTIVE)

    await platform.until(is_cancelled)


async def test_a_command_whose_workflow_is_terminated_while_its_sender_waits_is_processed(
    bare_platform: Platform,
) -> None:
    platform = bare_platform
    await platform.serve(command_budget=1.0, workflow_recovery_interval=0.05)
    approval_id, command_id = await platform.request(), str(uuid.uuid4())
    platform.workflows.working = False
    sending = asyncio.create_task(decide(platform, approval_id, command_id=command_id))

    async def sent() -> bool:
        return len(platform.workflows.commands) == 1

    await platform.until(sent)
    platform.workflows.terminate(approval_id)
    await platform.until(lambda: runs(platform, approval_id))
    assert (await sending).status == ACCEPTED
    await platform.workflows.work()

    await effective(platform, approval_id, command_id)
    assert await kinds(platform, approval_id) == STORY


async def test_a_pending_command_is_forgotten_once_its_request_is_closed(
    bare_platform: Platform, sqlite_url: str
) -> None:
    platform = bare_platform
    await platform.serve(command_budget=0.1, workflow_recovery_interval=0.1)
    approval_id, command_id = await platform.request(), str(uuid.uuid4())
    platform.workflows.working = False
    assert (await decide(platform, approval_id, command_id=command_id)).status == ACCEPTED
    await platform.workflows.work()
    await effective(platform, approval_id, command_id)
    engine = sa.create_engine(sqlite_url)

    async def is_forgotten() -> bool:
        with engine.connect() as connection:
            return connection.scalar(sa.select(sa.func.count()).select_from(command)) == 0

    await platform.until(is_forgotten)
    engine.dispose()


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ValueError("its policy cannot be read"), "the workflow of request {} cannot be restarted"),
        (Unavailable("one of Temporal's shards is away"), "requests without a workflow wait on"),
    ],
)
async def test_a_workflow_that_cannot_be_restarted_delays_no_other(
    bare_platform: Platform,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
    said: str,
) -> None:
    platform = bare_platform
    await platform.serve(workflow_recovery_interval=0.05)
    broken, sound = await platform.request(), await platform.request()
    start = WorkflowStarter.start

    async def started(starter: WorkflowStarter, request: Any, path: Any, **is_new: bool) -> None:
        if request.approval_id == broken:
            raise error
        await start(starter, request, path, **is_new)

    monkeypatch.setattr(WorkflowStarter, "start", started)
    for approval_id in (broken, sound):
        platform.workflows.terminate(approval_id)

    await platform.until(lambda: runs(platform, sound))

    assert said.format(broken) in caplog.text


async def test_a_request_that_was_terminated_before_its_first_step_is_begun_again(platform: Platform) -> None:
    platform.workflows.working = False
    caller, message = await platform.as_(CALLER), platform.asking()
    accepted = await caller.RequestApproval(message)
    platform.workflows.terminate(accepted.approval_id)
    platform.workflows.working = True

    assert await caller.RequestApproval(message) == accepted

    async def waiting() -> bool:
        get = approval_service_pb2.GetApprovalRequest(approval_id=accepted.approval_id)
        return (await caller.GetApproval(get)).approval.waiting_for_approval

    await platform.until(waiting)


async def test_a_command_that_was_stored_and_never_signalled_reaches_its_running_workflow(
    bare_platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    platform = bare_platform
    await platform.serve(command_budget=0.1, workflow_recovery_interval=0.1, recovery_age=0.001)
    approval_id, command_id = await platform.request(), str(uuid.uuid4())
    platform.workflows.away = True
    with pytest.raises(Unavailable):
        await decide(platform, approval_id, command_id=command_id)
    platform.workflows.away = False

    # Its sender never comes back.
    async def is_decided() -> bool:
        return (await platform.get(approval_id)).state == event_pb2.STATE_APPROVED

    await platform.until(is_decided)
    assert await kinds(platform, approval_id) == STORY
