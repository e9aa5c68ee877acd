"""A change of the workflow that no open request would survive. It exists to be refused."""

from __future__ import annotations

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from placet_workflows.activity_types import ApprovalInput
    from placet_workflows.approval import ApprovalWorkflow
    from placet_workflows.names import APPROVAL_WORKFLOW


@workflow.defn(name=APPROVAL_WORKFLOW)
class ForgetfulApprovalWorkflow(ApprovalWorkflow):
    """Writes a memo before it begins, which no run did before, without `workflow.patched`."""

    @workflow.init
    def __init__(self, start: ApprovalInput) -> None:
        super().__init__(start)

    @workflow.run
    async def run(self, start: ApprovalInput) -> None:
        """One command more than before, of a kind that no history holds."""
        workflow.upsert_memo({"began": True})
        await super().run(start)
