"""Names that both sides of Temporal must agree on: task queues, workflows, signals, activities, ids."""

from __future__ import annotations

import uuid
from enum import StrEnum

APPROVAL_WORKFLOW = "ApprovalWorkflow"
EVALUATION_WORKFLOW = "EvaluationWorkflow"
COMMAND_SIGNAL = "command"

# The namespace of approval ids: UUIDv5 of the name "placet.approval" in the URL namespace.
_APPROVALS = uuid.uuid5(uuid.NAMESPACE_URL, "placet.approval")


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


def approval_id(tenant: str, caller: str, request_id: str) -> str:
    """The id of a request and of its workflow: the same for every retry of the same call.

    The parts are length-prefixed, so that no two different triples give one name.
    """
    parts = (tenant, caller, request_id.lower())
    return str(uuid.uuid5(_APPROVALS, "".join(f"{len(part)}:{part}" for part in parts)))
