"""What the workflow says to the services, made from a request's state alone: a re-run and a continued run
say the same under the same idempotency keys."""

from __future__ import annotations

from placet_domain import machine
from placet_domain.events import ScreenMode
from placet_domain.state import ApprovalState, Ask
from placet_workflows.activity_types import AssessInput, DecideInput, NotifyInput

# Characters of a notification's reason, by its contract; an AI's explanation can be longer with the policy's.
REASON_LIMIT = 4000


def assessment(state: ApprovalState, mode: ScreenMode) -> AssessInput:
    """The pre-screen's question."""
    received = machine.received_of(state)
    return AssessInput(
        tenant=state.tenant,
        approval_id=state.approval_id,
        content_digest=received.content_digest,
        mode=mode,
        priority=received.priority,
        idempotency_key=f"{state.approval_id}/pre-screen/{mode.lower()}",
    )


def fallback(state: ApprovalState) -> DecideInput:
    """The fallback's question. Nothing in it changes once the request fell back: its key stands for it."""
    received = machine.received_of(state)
    return DecideInput(
        tenant=state.tenant,
        approval_id=state.approval_id,
        content_digest=received.content_digest,
        priority=received.priority,
        pre_screened=state.pre_screened,
        circumstances=state.fell_back.reason if state.fell_back else "",
        idempotency_key=f"{state.approval_id}/fallback",
    )


def notice_to_asked(state: ApprovalState, step: str, ask: Ask) -> NotifyInput:
    """Tells one of the asked."""
    asked = ask.asked
    # The request's own deadline ends the tier's wait too.
    ends = [time for time in (ask.due, machine.received_of(state).deadline) if time is not None]
    return _notice(state, step, asked.person, asked.reason).model_copy(
        update={"tier": asked.tier, "due": min(ends, default=None)}
    )


def notice_of_outcome(state: ApprovalState) -> NotifyInput:
    """Tells the requester how it ended."""
    decided = machine.decided_of(state)
    return _notice(state, "outcome", state.requester, decided.reasoning).model_copy(
        update={"state": decided.state, "approver": decided.approver}
    )


def _notice(state: ApprovalState, step: str, recipient: str, reason: str) -> NotifyInput:
    received = machine.received_of(state)
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
