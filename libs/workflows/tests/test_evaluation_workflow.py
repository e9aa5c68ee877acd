"""EvaluationWorkflow on the time-skipping server, with an activity that does as it is told."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import timedelta

import pytest
from temporalio import activity
from temporalio.exceptions import ApplicationError
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from placet_testing.workflow_environment import sandbox
from placet_workflows.evaluation import (
    EvaluationInput,
    EvaluationProgress,
    EvaluationReport,
    EvaluationWorkflow,
    VersionReport,
    VersionTally,
    evaluation_id,
)
from placet_workflows.names import Activity, TaskQueue

ASKED = EvaluationInput(tenant="acme", policy="document")
REPORT = EvaluationReport(
    tenant="acme",
    policy="document",
    log_size=70,
    versions=(VersionReport(model="rules/1", approved=12, rejected=11, auc=0.75, low=0.5, high=0.9),),
    minimum=10,
    confidence_level=0.95,
)


async def evaluate(
    environment: WorkflowEnvironment, job: Callable[[EvaluationInput], EvaluationReport]
) -> EvaluationReport:
    @activity.defn(name=Activity.EVALUATE_MODEL)
    async def evaluate_model(asked: EvaluationInput) -> EvaluationReport:
        return job(asked)

    worker = Worker(
        environment.client,
        task_queue=TaskQueue.ML,
        workflows=[EvaluationWorkflow],
        activities=[evaluate_model],
        workflow_runner=sandbox(),
    )
    async with worker:
        return await environment.client.execute_workflow(
            EvaluationWorkflow.run, ASKED, id=f"evaluation/{uuid.uuid4()}", task_queue=TaskQueue.ML
        )


@pytest.mark.integration
async def test_an_evaluation_ends_with_the_report_of_its_job(skipping_server: WorkflowEnvironment) -> None:
    asked: list[EvaluationInput] = []

    def job(step: EvaluationInput) -> EvaluationReport:
        asked.append(step)
        return REPORT

    assert await evaluate(skipping_server, job) == REPORT
    assert asked == [ASKED]


@pytest.mark.integration
async def test_an_evaluation_outlives_hours_without_a_log(skipping_server: WorkflowEnvironment) -> None:
    began = await skipping_server.get_current_time()
    attempts = 0

    def job(_step: EvaluationInput) -> EvaluationReport:
        nonlocal attempts
        attempts += 1
        if attempts < 100:
            # As a log does that is away for good: nothing here is ever given up.
            raise ApplicationError("the log does not answer", next_retry_delay=timedelta(minutes=5))
        return REPORT

    assert await evaluate(skipping_server, job) == REPORT
    assert await skipping_server.get_current_time() - began > timedelta(hours=8)


@pytest.mark.integration
async def test_an_attempt_has_hours_and_is_missed_within_seconds(
    skipping_server: WorkflowEnvironment,
) -> None:
    limits: list[tuple[timedelta | None, timedelta | None]] = []

    def job(_step: EvaluationInput) -> EvaluationReport:
        info = activity.info()
        limits.append((info.start_to_close_timeout, info.heartbeat_timeout))
        return REPORT

    await evaluate(skipping_server, job)

    assert limits == [(timedelta(hours=4), timedelta(seconds=10))]


def test_what_is_counted_survives_the_way_through_a_heartbeat() -> None:
    progress = EvaluationProgress(
        log_size=9, next_index=7, versions=(VersionTally(model="m", scores={0: (1, 0), 1000: (2, 3)}),)
    )

    assert EvaluationProgress.model_validate(progress.model_dump(mode="json")) == progress


@pytest.mark.parametrize(("tenant", "policy"), [("acme", "document"), ("other", "simple"), ("acme", "")])
def test_each_tenant_and_policy_has_its_own_evaluation(tenant: str, policy: str) -> None:
    others = {("acme", "simple"), ("other", "document"), ("other", "")}

    assert evaluation_id(tenant, policy) not in {evaluation_id(*other) for other in others}
