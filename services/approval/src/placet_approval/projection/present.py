"""A request's folded state as the contract's message."""

from __future__ import annotations

from collections.abc import Mapping

from placet.approval.v1 import approval_pb2, approval_service_pb2
from placet.event.v1 import event_pb2
from placet_approval.content.warnings import TextWarning
from placet_domain.rules.builders import received_of
from placet_domain.state import ApprovalState
from placet_mapping import to_proto

TRACEPARENT_PARTS = 4


def present(
    state: ApprovalState, labels: Mapping[str, str], erasure: event_pb2.LogEntry | None = None
) -> approval_pb2.Approval:
    """The Approval of `state`, without its path. `erasure`: the entry that says that it was erased, if one
    does."""
    received = to_proto(received_of(state), event_pb2.Received)
    approval = approval_pb2.Approval(
        id=state.approval_id,
        kind=received.kind,
        title=received.title.value,
        subject_id=received.subject_id,
        labels=labels,
        requester=state.requester,
        state=event_pb2.State.Value(f"STATE_{state.state}"),
        priority=received.priority,
        policy=received.policy,
        policy_version=received.policy_version,
        policy_digest=received.policy_digest,
        content_digest=received.content_digest,
        media_type=received.media_type,
        content_size=received.content_size,
        waiting_for_approval=state.waiting_for_approval,
        tier=state.tier,
        tier_name=state.tier_opened.name if state.tier_opened else "",
        asked=people_asked(state),
        paused=state.paused.reason if state.paused else "",
        trace_id=trace_id(state.traceparent),
        last_number=state.last_number,
        log_index=state.log_index,
    )
    if received.HasField("deadline"):
        approval.deadline.CopyFrom(received.deadline)
    _add_times(approval, state)
    if state.pre_screened is not None:
        approval.pre_screen.CopyFrom(to_proto(state.pre_screened, event_pb2.PreScreened))
    if state.decided is not None:
        approval.outcome.CopyFrom(_outcome(state))
    if erasure is not None:
        approval.erasure.CopyFrom(_erasure(erasure))
    return approval


def present_warning(warning: TextWarning) -> approval_service_pb2.TextWarning:
    """The contract's message of a warning."""
    kind = approval_service_pb2.TextWarningKind.Value(f"TEXT_WARNING_KIND_{warning.kind}")
    return approval_service_pb2.TextWarning(
        field=warning.field, kind=kind, message=warning.message, count=warning.count
    )


def people_asked(state: ApprovalState) -> list[str]:
    """Everyone who was asked, in order; those who were erased are nobody."""
    return [person for person in state.asked if person]


def trace_id(traceparent: str) -> str:
    """The trace id of a W3C traceparent (version-traceid-parentid-flags); empty when there is none."""
    parts = traceparent.split("-")
    return parts[1] if len(parts) == TRACEPARENT_PARTS else ""


def _add_times(approval: approval_pb2.Approval, state: ApprovalState) -> None:
    if state.create_time is not None:
        approval.create_time.FromDatetime(state.create_time)
    due = state.tier_opened.due if state.tier_opened else None
    if due is not None and state.decided is None and state.fell_back is None:
        approval.due.FromDatetime(due)


def _outcome(state: ApprovalState) -> approval_pb2.Outcome:
    decided = state.decided
    if decided is None:
        raise AssertionError("only a decided request has an outcome")
    message = to_proto(decided, event_pb2.Decided)
    outcome = approval_pb2.Outcome(
        state=message.state,
        source=message.source,
        decision_type=message.decision_type,
        approver=decided.approver,
        on_behalf_of=decided.on_behalf_of,
        tier=decided.tier,
        model=decided.model,
        confidence=decided.confidence,
        reasoning=decided.reasoning,
    )
    if state.decide_time is not None:
        outcome.decide_time.FromDatetime(state.decide_time)
    if state.closed is not None and state.closed.waited is not None:
        outcome.waited.FromTimedelta(state.closed.waited)
    return outcome


def _erasure(entry: event_pb2.LogEntry) -> approval_pb2.Erasure:
    event = entry.entry.event
    return approval_pb2.Erasure(
        erase_time=event.time,
        eraser=event.actor.name.value,
        reason=event.erased.reason.value,
        values=event.erased.values,
        log_index=entry.index,
    )
