"""Builders of activity inputs from a request's state alone.

So a re-run and a continued run send the same inputs under the same idempotency keys.
"""

from __future__ import annotations

from placet_domain.events import ScreenMode, Source
from placet_domain.policy import clip
from placet_domain.rules.builders import decided_of, received_of
from placet_domain.state import ApprovalState, TierAssignment, TierState
from placet_workflows.activity_types import AssessInput, DecideInput, NotifyInput

# Most characters of a notification's reason, by its contract; an outcome's reasoning can be longer.
REASON_LIMIT = 4000
# Maximum characters of a notification's approver; several people may have approved.
APPROVER_LIMIT = 254


def assessment(state: ApprovalState, mode: ScreenMode) -> AssessInput:
    """Input of a pre-screen."""
    received = received_of(state)
    return AssessInput(
        tenant=state.tenant,
        approval_id=state.approval_id,
        content_digest=received.content_digest,
        mode=mode,
        priority=received.priority,
        policy=received.policy,
        idempotency_key=f"{state.approval_id}/pre-screen/{mode.lower()}",
    )


def fallback(state: ApprovalState) -> DecideInput:
    """Input of the fallback. It does not change after `fell_back`, so its key identifies it."""
    received = received_of(state)
    return DecideInput(
        tenant=state.tenant,
        approval_id=state.approval_id,
        content_digest=received.content_digest,
        priority=received.priority,
        policy=received.policy,
        pre_screened=state.pre_screened,
        circumstances=clip(state.fell_back.reason) if state.fell_back else "",
        idempotency_key=f"{state.approval_id}/fallback",
    )


def notice_to_assigned(
    state: ApprovalState, step: str, tier: TierState, assignment: TierAssignment
) -> NotifyInput:
    """Notifies one of those who were asked."""
    # The request's own deadline ends the tier's wait too.
    # The tier's first end, also when it waits longer: one idempotency key stands for one notice.
    due = None if tier.timeout is None else tier.open_time + tier.timeout
    ends = [time for time in (due, received_of(state).deadline_time) if time is not None]
    return _notice(state, step, assignment.person, assignment.reason).model_copy(
        update={"tier": tier.tier, "due_time": min(ends, default=None)}
    )


def released(state: ApprovalState) -> dict[str, str]:
    """Those who were told of a decided request and need not decide it any more, by the step of their notice.

    The person whose vote decided it knows.
    """
    decided = decided_of(state)
    votes = state.tiers[decided.tier - 1].votes if decided.source is Source.HUMAN and decided.tier else ()
    decider = votes[-1].person if votes else ""
    told = {
        one.person: f"released-{one.number}"
        for tier in state.tiers
        for one in tier.assignments
        if one.told_time is not None and one.person not in ("", decider)
    }
    return {step: person for person, step in told.items()}


def notice_of_outcome(state: ApprovalState, step: str, recipient: str) -> NotifyInput:
    """Notifies the requester, or somebody who was asked, of the outcome."""
    decided = decided_of(state)
    by_rule = f" (allowed by the rule {decided.rule})" if decided.rule else ""
    reason = clip(decided.reasoning, REASON_LIMIT - len(by_rule)) + by_rule
    return _notice(state, step, recipient, reason).model_copy(
        update={"state": decided.state, "approver": clip(decided.approver, APPROVER_LIMIT)}
    )


def _notice(state: ApprovalState, step: str, recipient: str, reason: str) -> NotifyInput:
    received = received_of(state)
    return NotifyInput(
        tenant=state.tenant,
        approval_id=state.approval_id,
        content_digest=received.content_digest,
        idempotency_key=f"{state.approval_id}/{step}",
        recipient=recipient,
        title=received.title,
        subject_id=received.subject_id,
        reason=reason[:REASON_LIMIT],
    )
