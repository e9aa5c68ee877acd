"""Start and status of evaluations of risk scores."""

from __future__ import annotations

from dataclasses import dataclass

from temporalio.api.enums.v1 import PendingActivityState
from temporalio.api.workflow.v1 import PendingActivityInfo
from temporalio.client import Client, WorkflowHandle
from temporalio.common import WorkflowIDConflictPolicy

from placet_workflows.evaluation import (
    EvaluationInput,
    EvaluationProgress,
    EvaluationReport,
    EvaluationWorkflow,
    evaluation_id,
)
from placet_workflows.names import TaskQueue


@dataclass(frozen=True)
class EvaluationStatus:
    """Status of an evaluation that has not ended."""

    progress: EvaluationProgress
    # False: it waits, for a worker or for its next attempt.
    running: bool
    # From 1; more when an attempt failed or its worker died.
    attempt: int
    # Error of the attempt before; empty when none failed.
    last_failure: str


async def start_evaluation(
    client: Client, asked: EvaluationInput
) -> WorkflowHandle[EvaluationWorkflow, EvaluationReport]:
    """Starts an evaluation, or joins the one of the same tenant and policy that runs; its `result()` is
    the report. Raises temporalio.service.RPCError when Temporal does not answer."""
    return await client.start_workflow(
        EvaluationWorkflow.run,
        asked,
        id=evaluation_id(asked.tenant, asked.policy),
        task_queue=TaskQueue.ML,
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
    )


async def evaluation_status(client: Client, workflow_id: str) -> EvaluationStatus | None:
    """The status by the last heartbeat, which is some seconds old. None when the evaluation has
    ended or its first step is not scheduled yet. Raises temporalio.service.RPCError when Temporal does not
    answer or knows no such workflow."""
    description = await client.get_workflow_handle(workflow_id).describe()
    pending = description.raw_description.pending_activities
    return await _status(client, pending[0]) if pending else None


async def _status(client: Client, pending: PendingActivityInfo) -> EvaluationStatus:
    progress = EvaluationProgress()
    if pending.heartbeat_details.payloads:
        (progress,) = await client.data_converter.decode(
            pending.heartbeat_details.payloads, [EvaluationProgress]
        )
    last_failure = ""
    if pending.HasField("last_failure"):
        last_failure = str(await client.data_converter.decode_failure(pending.last_failure))
    return EvaluationStatus(
        progress=progress,
        running=pending.state == PendingActivityState.PENDING_ACTIVITY_STATE_STARTED,
        attempt=pending.attempt,
        last_failure=last_failure,
    )
