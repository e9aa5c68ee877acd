"""A request whose workflow Temporal lost comes back from the log; each decision still takes effect once."""

from __future__ import annotations

import uuid
from collections import Counter
from functools import partial

import pytest
from temporalio.api.workflowservice.v1 import DeleteWorkflowExecutionRequest
from temporalio.client import WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode

from placet.approval.v1 import approval_pb2
from placet.event.v1 import event_pb2
from placet_testing.conditions import EVENTUALLY, until
from placet_testing.stack import ALICE, Stack

pytestmark = pytest.mark.integration

STORY = Counter(("received", "processed", "tier_opened", "asked", "voted", "decided", "closed"))


async def kinds(stack: Stack, approval_id: str) -> Counter[str]:
    """Count of each kind of event, without notices, whose logging may be late."""
    path = [str(event.WhichOneof("body")) for event in await stack.path(approval_id)]
    return Counter(kind for kind in path if kind != "notified")


async def run_of(stack: Stack, approval_id: str) -> str:
    """The run that Temporal has of a request's workflow; empty when it has none that runs."""
    try:
        described = await (await stack.temporal()).get_workflow_handle(approval_id).describe()
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            return ""
        raise
    runs = described.status is WorkflowExecutionStatus.RUNNING
    return described.run_id or "" if runs else ""


async def is_back(stack: Stack, approval_id: str, lost: str) -> bool:
    """True while another run continues."""
    return await run_of(stack, approval_id) not in ("", lost)


async def terminate(stack: Stack, approval_id: str) -> str:
    """Ends a run, as an operator can in Temporal's own UI; returns its id."""
    lost = await run_of(stack, approval_id)
    await (await stack.temporal()).get_workflow_handle(approval_id, run_id=lost).terminate("a test")
    return lost


async def a_waiting_request(stack: Stack) -> str:
    approval_id = await stack.request()
    await stack.waiting(approval_id)
    return approval_id


@pytest.mark.timeout(200)
async def test_9_a_decision_on_a_terminated_workflow_takes_effect_once(stack: Stack) -> None:
    approval_id, command_id = await a_waiting_request(stack), str(uuid.uuid4())
    await terminate(stack, approval_id)

    processed = await until(
        partial(stack.processed, approval_id, ALICE, command_id), "it is processed", EVENTUALLY
    )

    assert processed.word == "EFFECTIVE"
    assert (await stack.get(approval_id)).state == event_pb2.STATE_APPROVED
    assert await kinds(stack, approval_id) == STORY


@pytest.mark.timeout(300)
async def test_9_a_terminated_workflow_comes_back_by_itself_with_the_decision_that_it_never_processed(
    stack: Stack,
) -> None:
    silent, decided = await a_waiting_request(stack), await a_waiting_request(stack)
    command_id = str(uuid.uuid4())
    with stack.down("worker-default"):
        answer = await stack.decide(decided, ALICE, command_id=command_id)
        assert answer.status == approval_pb2.COMMAND_STATUS_ACCEPTED
        lost = {approval_id: await terminate(stack, approval_id) for approval_id in (silent, decided)}
        for approval_id, run in lost.items():
            await until(partial(is_back, stack, approval_id, run), "it runs again", EVENTUALLY)

    assert (await stack.outcome(decided)).approver == ALICE
    assert await kinds(stack, decided) == STORY
    assert (await stack.get(silent)).waiting_for_approval
    assert (await stack.decide(silent, ALICE)).status == approval_pb2.COMMAND_STATUS_EFFECTIVE


@pytest.mark.timeout(300)
async def test_9_a_workflow_whose_history_is_lost_comes_back_by_itself(stack: Stack) -> None:
    approval_id = await a_waiting_request(stack)
    temporal = await stack.temporal()
    lose = DeleteWorkflowExecutionRequest(namespace="default")
    lose.workflow_execution.workflow_id = approval_id
    run = await run_of(stack, approval_id)
    await temporal.workflow_service.delete_workflow_execution(lose)

    await until(partial(is_back, stack, approval_id, run), "another run goes on", EVENTUALLY)

    assert (await stack.decide(approval_id, ALICE)).status == approval_pb2.COMMAND_STATUS_EFFECTIVE
    assert await kinds(stack, approval_id) == STORY
