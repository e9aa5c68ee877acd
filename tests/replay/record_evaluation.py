"""Records EvaluationWorkflow: `python tests/replay/record_evaluation.py`. See `record.py`."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from record import cleaned  # type: ignore[import-not-found]  # lies beside this script
from temporalio import activity
from temporalio.client import WorkflowHandle
from temporalio.worker import Worker

from placet_testing.workflow_environment import real_time, sandbox
from placet_workflows.evaluation import (
    EvaluationInput,
    EvaluationReport,
    EvaluationWorkflow,
    LeftOut,
    VersionReport,
    evaluation_id,
)
from placet_workflows.names import Activity, TaskQueue

HISTORIES = Path(__file__).resolve().parent / "evaluations"
ASKED = EvaluationInput(tenant="default", policy="document")
VERSION = VersionReport(model="rules/1", approved=12, rejected=11, auc=0.75, low=0.5, high=0.9)
REPORT = EvaluationReport(
    tenant="default",
    policy="document",
    log_size=70,
    versions=(VERSION,),
    left_out=LeftOut(automatic=3, other=2, unscored=1),
    minimum=10,
    confidence_level=0.95,
)


async def record() -> None:
    """One evaluation, kept while its job runs and once it is over."""
    begun, go_on = asyncio.Event(), asyncio.Event()

    @activity.defn(name=Activity.EVALUATE_MODEL)
    async def evaluate_model(_asked: EvaluationInput) -> EvaluationReport:
        begun.set()
        await go_on.wait()
        return REPORT

    async with real_time() as server:
        worker = Worker(
            server.client,
            task_queue=TaskQueue.ML,
            workflows=[EvaluationWorkflow],
            activities=[evaluate_model],
            workflow_runner=sandbox(),
        )
        async with worker:
            handle = await server.client.start_workflow(
                EvaluationWorkflow.run,
                ASKED,
                id=evaluation_id(ASKED.tenant, ASKED.policy),
                task_queue=TaskQueue.ML,
            )
            await begun.wait()
            await keep(handle, "under-way")
            go_on.set()
            await handle.result()
            await keep(handle, "finished")


async def keep(handle: WorkflowHandle[EvaluationWorkflow, EvaluationReport], name: str) -> None:
    """Writes the history as it is now."""
    history = cleaned(await handle.fetch_history())
    text = json.dumps(history, separators=(",", ":"), sort_keys=True)
    (HISTORIES / f"{name}.json").write_text(text + "\n")


if __name__ == "__main__":
    HISTORIES.mkdir(exist_ok=True)
    asyncio.run(record())
