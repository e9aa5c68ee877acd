"""`EvaluationWorkflow`: how well a risk score separates what people approved from what they rejected."""

from __future__ import annotations

from datetime import timedelta

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from placet_workflows.events import Dto
    from placet_workflows.names import EVALUATION_WORKFLOW, Activity


class EvaluationInput(Dto):
    """What to look at."""

    tenant: str
    # Only requests of this policy; empty: of all.
    policy: str = ""


class EvaluationReport(Dto):
    """What was found."""

    tenant: str
    policy: str


@workflow.defn(name=EVALUATION_WORKFLOW)
class EvaluationWorkflow:
    """One evaluation."""

    @workflow.run
    async def run(self, start: EvaluationInput) -> EvaluationReport:
        """Ends with the report."""
        report: EvaluationReport = await workflow.execute_activity(
            Activity.EVALUATE_MODEL,
            start,
            result_type=EvaluationReport,
            start_to_close_timeout=timedelta(hours=4),
            heartbeat_timeout=timedelta(seconds=10),
        )
        return report
