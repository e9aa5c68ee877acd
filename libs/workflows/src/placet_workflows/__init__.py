"""ApprovalWorkflow and EvaluationWorkflow, with their messages over Temporal."""
