"""Conversion of a request's state to the contract's messages."""

from __future__ import annotations

from collections.abc import Mapping

from placet.approval.v1 import approval_pb2, approval_service_pb2
from placet.event.v1 import error_reason_pb2, event_pb2
from placet_approval.content.warnings import TextWarning
from placet_domain.events import Assignment
from placet_domain.policy import Policy
from placet_domain.rules.builders import received_of
from placet_domain.state import ApprovalState, TierState
from placet_mapping import to_proto

TRACEPARENT_PARTS = 4


def present(
    state: ApprovalState,
    labels: Mapping[str, str],
    policy: Policy | None = None,
    erasure: event_pb2.LogEntry | None = None,
) -> approval_pb2.Approval:
    """The Approval of `state` in the BASIC view.

    `policy`: the request's own, for the tier that comes next. `erasure`: its last `erased`
    entry.
    """
    received = to_proto(received_of(state), event_pb2.Received)
    approval = approval_pb2.Approval(
        approval_id=state.approval_id,
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
        assignments=[_assignment(one) for one in received_of(state).assignments],
        waiting_for_approval=state.waiting_for_approval,
        asked=state.asked,
        paused_reason=state.paused.reason if state.paused else "",
        trace_id=trace_id(state.traceparent),
        last_number=state.last_number,
        log_index=state.log_index,
        log_fault=state.fault,
    )
    if received.HasField("deadline_time"):
        approval.deadline_time.CopyFrom(received.deadline_time)
    if state.create_time is not None:
        approval.create_time.FromDatetime(state.create_time)
    _add_tiers(approval, state, policy)
    if received.facts.kind:
        approval.facts.CopyFrom(present_facts(received.facts))
    for amount in state.effective_facts().logged_amounts:
        approval.effective_amounts.add(value=amount.value, currency=amount.currency)
    if state.processed is not None:
        approval.coverage.CopyFrom(to_proto(state.processed.coverage, event_pb2.ContentCoverage))
    if state.pre_screened is not None:
        approval.pre_screen.CopyFrom(to_proto(state.pre_screened, event_pb2.PreScreened))
    if state.decided is not None:
        approval.outcome.CopyFrom(_outcome(state))
    if erasure is not None:
        approval.erasure.CopyFrom(_erasure(erasure))
    return approval


def present_result(state: ApprovalState | None, command_id: str) -> approval_pb2.CommandResult:
    """The result of a command in this state; ACCEPTED while not all of it is there."""
    result = state.commands.get(command_id) if state is not None else None
    if state is None or result is None or not result.is_complete:
        return approval_pb2.CommandResult(status=approval_pb2.COMMAND_STATUS_ACCEPTED)
    if result.refusal is None:
        return approval_pb2.CommandResult(
            status=approval_pb2.COMMAND_STATUS_EFFECTIVE,
            log_index=result.log_index,
            state=event_pb2.State.Value(f"STATE_{state.state}"),
        )
    return approval_pb2.CommandResult(
        status=approval_pb2.COMMAND_STATUS_REFUSED,
        log_index=result.log_index,
        refusal=error_reason_pb2.ErrorReason.Value(f"ERROR_REASON_{result.refusal}"),
        message=result.message,
    )


def present_facts(logged: event_pb2.Facts) -> approval_pb2.Facts:
    """Declared facts as a request shows them; what was erased is empty."""
    return approval_pb2.Facts(
        kind=logged.kind,
        amount=logged.amount,
        currency=logged.currency,
        counterparty=logged.counterparty.value,
        target=logged.target.value,
        environment=logged.environment,
        others={one.name: one.value.value for one in logged.others},
    )


def present_warning(warning: TextWarning) -> approval_service_pb2.TextWarning:
    """Converts a warning to the contract's message."""
    kind = approval_service_pb2.TextWarningKind.Value(f"TEXT_WARNING_KIND_{warning.kind}")
    return approval_service_pb2.TextWarning(
        field=warning.field, kind=kind, message=warning.message, count=warning.count
    )


def trace_id(traceparent: str) -> str:
    """The trace id of a W3C traceparent (version-traceid-parentid-flags); empty when there is none."""
    parts = traceparent.split("-")
    return parts[1] if len(parts) == TRACEPARENT_PARTS else ""


def _assignment(assignment: Assignment) -> approval_pb2.Assignment:
    # Erased people have empty names.
    people = [person for person in assignment.people if person]
    return approval_pb2.Assignment(slot=assignment.slot, people=people, groups=assignment.groups)


def _add_tiers(approval: approval_pb2.Approval, state: ApprovalState, policy: Policy | None) -> None:
    current = state.open_tier
    if current is not None:
        approval.current_tier.CopyFrom(_tier_status(current))
    approval.earlier_tiers.extend(_tier_status(tier) for tier in state.tiers if tier is not current)
    number = len(state.tiers) + 1
    if policy is None or state.decided or state.fell_back or number > len(policy.tiers):
        return
    following = policy.tiers[number - 1]
    approval.next_tier.CopyFrom(
        approval_pb2.TierStatus(
            tier=number,
            name=following.name,
            people=[person for person in following.people(received_of(state).assignments) if person],
            quorum=following.quorum,
        )
    )


def _tier_status(tier: TierState) -> approval_pb2.TierStatus:
    status = approval_pb2.TierStatus(
        tier=tier.tier,
        name=tier.name,
        people=tier.people,
        quorum=tier.quorum,
        approvals=tier.approvals,
    )
    status.open_time.FromDatetime(tier.open_time)
    if tier.due_time is not None:
        status.due_time.FromDatetime(tier.due_time)
    for vote in tier.votes:
        verdict = event_pb2.Verdict.Value(f"VERDICT_{vote.verdict}")
        status.votes.add(person=vote.person, verdict=verdict).vote_time.FromDatetime(vote.time)
    return status


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
        model=decided.model,
        reasoning=decided.reasoning,
        rule=decided.rule,
    )
    if decided.tier is not None:
        outcome.tier = decided.tier
    if decided.confidence is not None:
        outcome.confidence = decided.confidence
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
