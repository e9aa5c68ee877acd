"""Names that both sides of Temporal must agree on: task queues, workflows, signals and activities."""

from __future__ import annotations

from enum import StrEnum

APPROVAL_WORKFLOW = "ApprovalWorkflow"
EVALUATION_WORKFLOW = "EvaluationWorkflow"
COMMAND_SIGNAL = "command"


class TaskQueue(StrEnum):
    """One queue and one worker package for each kind of work, so that none delays another."""

    DEFAULT = "placet-default"
    OPENAI = "placet-openai"
    ML = "placet-ml"


class Activity(StrEnum):
    """Activities are called by name, so that no worker imports another's dependencies."""

    APPEND_EVENTS = "append_events"
    ASSESS_RISK = "assess_risk"
    DECIDE = "decide"
    NOTIFY = "notify"
    EVALUATE_MODEL = "evaluate_model"
