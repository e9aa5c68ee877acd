"""A change of EvaluationWorkflow that no running evaluation would survive. It exists to be refused."""

from __future__ import annotations

from datetime import timedelta

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from placet_workflows.evaluation import EvaluationInput, EvaluationReport, EvaluationWorkflow
    from placet_workflows.names import EVALUATION_WORKFLOW


@workflow.defn(name=EVALUATION_WORKFLOW)
class HesitantEvaluationWorkflow(EvaluationWorkflow):
    """Sleeps before it begins, and says so with no `workflow.patched`."""

    @workflow.run
    async def run(self, asked: EvaluationInput) -> EvaluationReport:
        """One timer more than before."""
        await workflow.sleep(timedelta(seconds=1))
        return await super().run(asked)
