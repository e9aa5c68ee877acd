"""The outcome of a request, in plain Python."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from placet.approval.v1 import approval_pb2
from placet.event.v1 import event_pb2


@dataclass(frozen=True)
class Outcome:
    """The outcome of a request. The enums are the contract's names without prefix, in upper case.

    `approver` is a person's address, "AI-Auto-Approved", "AI-Fallback", or a policy's name. `tier` is 0 when
    no person decided; `confidence`, in [0, 1], and `model` are an AI's and empty when none decided. What was
    erased is empty.
    """

    approval_id: str
    state: str  # APPROVED, REJECTED, CANCELLED, ANSWERED
    source: str  # HUMAN, AI_PRESCREEN, AI_FALLBACK, POLICY, REQUESTER
    decision_type: str  # HUMAN, MANAGER, AI_FALLBACK, AUTOMATIC; UNSPECIFIED when cancelled
    approver: str
    on_behalf_of: str
    tier: int
    model: str
    confidence: float
    reasoning: str
    decided_at: datetime
    waited: timedelta
    rule: str = ""  # the policy's allow-rule, of an automatic approval

    @property
    def approved(self) -> bool:
        """True when the answer is yes; false for everything else."""
        return self.state == "APPROVED"

    @property
    def sentence(self) -> str:
        """It in words: "Approved by bob@example.com, manager."."""
        return self.describe()

    def describe(self, more: str = "") -> str:
        """It in words, with `more` before the full stop: ", after alice@example.com was silent for 2 h"."""
        done, by = self.state.capitalize(), self.approver or "(erased)"
        match self.source:
            case "HUMAN":
                role = ", manager" if self.decision_type == "MANAGER" else ""
                said = f"{done} by {by}{role}"
            case "AI_PRESCREEN":
                said = f"{done} at once by {by}"
            case "AI_FALLBACK":
                said = f"{done} by {by}, {self.confidence:.0%} sure"
            case "POLICY":
                said = f"{done} by policy {by}"
            case _:
                said = f"{done} by {by}"
        by_rule = f" (rule {self.rule})" if self.rule else ""
        return f"{said}{by_rule}{more}."

    @classmethod
    def of(cls, approval: approval_pb2.Approval) -> Outcome | None:
        """The outcome of a request as it stands; None while it is pending."""
        if not approval.HasField("outcome"):
            return None
        outcome = approval.outcome
        return cls(
            approval_id=approval.approval_id,
            state=event_pb2.State.Name(outcome.state).removeprefix("STATE_"),
            source=event_pb2.Source.Name(outcome.source).removeprefix("SOURCE_"),
            decision_type=event_pb2.DecisionType.Name(outcome.decision_type).removeprefix("DECISION_TYPE_"),
            approver=outcome.approver,
            on_behalf_of=outcome.on_behalf_of,
            tier=outcome.tier,
            model=outcome.model,
            confidence=outcome.confidence,
            reasoning=outcome.reasoning,
            decided_at=outcome.decide_time.ToDatetime(tzinfo=UTC),
            waited=outcome.waited.ToTimedelta(),
            rule=outcome.rule,
        )
