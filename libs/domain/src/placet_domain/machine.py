"""What follows from what: the approval policy's interpreter, as pure functions.

Each function looks at a request's state and at something that happened (a stimulus), and returns the
events that are due. Nothing here waits, stores or sends; the workflow does, and asks again
whenever the log holds more than it knew.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from placet_domain.commands import Command
from placet_domain.events import (
    Actor,
    ActorKind,
    AiDecided,
    AiResult,
    Asked,
    Body,
    Closed,
    Decided,
    DecisionType,
    Escalated,
    Event,
    FellBack,
    Held,
    PreScreened,
    Processed,
    Received,
    RefusalReason,
    Refused,
    RiskLevel,
    Source,
    State,
    TierOpened,
    TimedOut,
    Verdict,
    Voted,
)
from placet_domain.policy import Policy, PreScreen, Tier, describe_duration
from placet_domain.state import ApprovalState
from placet_domain.stimuli import (
    Begin,
    DeadlinePassed,
    FallbackDone,
    FallbackUnavailable,
    PreScreenDone,
    Stimulus,
    TierTimeout,
    Undecodable,
)

CLOCK = Actor(kind=ActorKind.CLOCK)
FALLBACK_CAUSE = "fallback"
PRE_SCREEN_CAUSE = "pre-screen"
PROCESS_CAUSE = "process"


def respond(policy: Policy, state: ApprovalState, stimulus: Stimulus, now: datetime) -> list[Event]:
    """The events that are due, in order, because of `stimulus` at time `now`. None when it is stale.

    Raises nothing for any stimulus in any state: whatever arrives late has no effect but a refusal.
    """
    match stimulus:
        case Command():
            return _on_command(policy, state, stimulus, now)
        case Undecodable():
            return _on_undecodable(state, stimulus, now)
    if state.decided is not None:
        return []
    match stimulus:
        case Begin():
            return _on_begin(policy, state, now)
        case PreScreenDone():
            return _on_pre_screen(policy, state, stimulus.result, now)
        case TierTimeout():
            return _on_tier_timeout(policy, state, stimulus.tier, now)
        case DeadlinePassed():
            return _on_deadline(policy, state, now)
        case FallbackUnavailable():
            return _on_fallback_unavailable(state, now)
        case FallbackDone():
            return _on_fallback(policy, state, stimulus.result, now)


def refusal_of(state: ApprovalState, command: Command) -> RefusalReason | None:
    """Why this command must be refused in this state; None when it may take effect.

    That it is closed, and so how it ended, is told to those whom it concerns; a stranger hears what
    strangers hear of an open one.
    """
    if state.decided is not None and _concerns(state, command):
        return RefusalReason.CLOSED
    if command.type == "cancel":
        allowed = command.operator or command.actor.name == state.requester
        return None if allowed else RefusalReason.NOT_REQUESTER
    return _refusal_of_decision(state, command)


def _concerns(state: ApprovalState, command: Command) -> bool:
    """Whether the sender has to do with the request: asked for it, was asked, or runs the place."""
    return command.operator or command.actor.name == state.requester or command.actor.name in state.asked


def explain_refusal(state: ApprovalState, reason: RefusalReason) -> str:
    """The refusal in words for its sender."""
    if reason is RefusalReason.CLOSED and state.decided is not None:
        outcome = state.decided
        by = f" by {outcome.approver}" if outcome.approver else ""
        return f"The request is closed: {outcome.state.lower()}{by}"
    return {
        RefusalReason.NOT_ASKED: "Only those who were asked can decide",
        RefusalReason.CONTENT_CHANGED: "The decision names other content than the request's; look again",
        RefusalReason.POLICY_CHANGED: "The decision names another policy than the request's; look again",
        RefusalReason.RENDERING_CHANGED: "The content is not shown as the decision names it; look again",
        RefusalReason.REASON_REQUIRED: "A rejection needs a reason",
        RefusalReason.UNDECODABLE: "The command could not be read",
        RefusalReason.SELF_APPROVAL: "Who asked for it cannot decide it: four eyes are needed",
        RefusalReason.NOT_REQUESTER: "Only the requester or an operator can cancel it",
    }.get(reason, "The command was refused")


def _refusal_of_decision(state: ApprovalState, command: Command) -> RefusalReason | None:
    if command.actor.name == state.requester:
        return RefusalReason.SELF_APPROVAL
    if command.actor.name not in state.asked:
        return RefusalReason.NOT_ASKED
    if state.received is None or command.content_digest != state.received.content_digest:
        return RefusalReason.CONTENT_CHANGED
    if command.policy_digest not in ("", state.received.policy_digest):
        return RefusalReason.POLICY_CHANGED
    if command.rendering not in ("", command.rendering_in_force):
        return RefusalReason.RENDERING_CHANGED
    if command.verdict is Verdict.REJECT and not command.reason.strip():
        return RefusalReason.REASON_REQUIRED
    return None


def _on_command(policy: Policy, state: ApprovalState, command: Command, now: datetime) -> list[Event]:
    if command.id in state.judged:
        return []
    reason = refusal_of(state, command)
    if reason is not None:
        refused = Refused(command=command.type, reason=reason, message=explain_refusal(state, reason))
        return [_by_command(command, refused, now)]
    if command.type == "cancel":
        cancelled = Decided(
            state=State.CANCELLED,
            source=Source.REQUESTER,
            approver=command.actor.name,
            reasoning=command.reason,
        )
        bodies: list[Body] = [cancelled, _closed(state, State.CANCELLED, now)]
    else:
        bodies = _vote(policy, state, command, now)
    return [_by_command(command, body, now) for body in bodies]


def _vote(policy: Policy, state: ApprovalState, command: Command, now: datetime) -> list[Body]:
    received = received_of(state)
    tier = state.asked[command.actor.name]
    outcome = State.APPROVED if command.verdict is Verdict.APPROVE else State.REJECTED
    voted = Voted(
        tier=tier,
        verdict=command.verdict,
        content_digest=command.content_digest,
        reason=command.reason,
        # The request's own, whatever the decision names.
        policy_version=received.policy_version,
        policy_digest=received.policy_digest,
        rendering=command.rendering,
    )
    decided = Decided(
        state=outcome,
        source=Source.HUMAN,
        decision_type=policy.tiers[tier - 1].decision_type,
        tier=tier,
        approver=command.actor.name,
        reasoning=command.reason,
    )
    return [voted, decided, _closed(state, outcome, now)]


def _by_command(command: Command, body: Body, now: datetime) -> Event:
    return Event(
        time=now,
        actor=command.actor,
        cause_id=command.id,
        command_digest=command.digest(),
        traceparent=command.traceparent,
        body=body,
    )


def _on_undecodable(state: ApprovalState, stimulus: Undecodable, now: datetime) -> list[Event]:
    if stimulus.cause_id in state.judged:
        return []
    reason = RefusalReason.UNDECODABLE
    refused = Refused(command="unknown", reason=reason, message=explain_refusal(state, reason))
    return [
        Event(
            time=now,
            actor=Actor(kind=ActorKind.SERVICE),
            cause_id=stimulus.cause_id,
            command_digest=stimulus.digest,
            body=refused,
        )
    ]


def processed_event(processed: Processed, now: datetime) -> Event:
    """The event of step "process", which intake did; the workflow logs it with its first append."""
    return _step(PROCESS_CAUSE, Actor(kind=ActorKind.SERVICE, name="approval"), processed, now)


def _on_begin(policy: Policy, state: ApprovalState, now: datetime) -> list[Event]:
    return [] if state.tier or state.fell_back else _open_tier(policy, state, 1, now)


def _on_pre_screen(policy: Policy, state: ApprovalState, result: PreScreened, now: datetime) -> list[Event]:
    """After the fallback was asked it is too late: the question must not change under the AI's hands."""
    if policy.pre_screen is None or state.pre_screened is not None or state.fell_back is not None:
        return []
    judged = _against_threshold(policy.pre_screen, result)
    model = Actor(kind=ActorKind.AI_MODEL, name=result.model)
    events = [_step(PRE_SCREEN_CAUSE, model, judged, now)]
    if state.tier:
        return events
    if judged.level is not RiskLevel.LOW or policy.pre_screen.approve_below is None:
        return events + _open_tier(policy, state, 1, now)
    decided = Decided(
        state=State.APPROVED,
        source=Source.AI_PRESCREEN,
        decision_type=DecisionType.AUTOMATIC,
        approver=policy.pre_screen.approver,
        model=judged.model,
        confidence=judged.confidence,
        reasoning=policy.pre_screen.reason,
    )
    bodies: list[Body] = [decided, _closed(state, State.APPROVED, now)]
    return events + [_step(PRE_SCREEN_CAUSE, model, body, now) for body in bodies]


def _against_threshold(pre_screen: PreScreen, result: PreScreened) -> PreScreened:
    """Says low or high where there is a result and a threshold; a risk at the threshold is high."""
    if result.result is not AiResult.DECIDED or pre_screen.approve_below is None:
        return result
    # A risk that is no risk (below 0, not a number) is not low.
    level = RiskLevel.LOW if 0 <= result.risk < pre_screen.approve_below else RiskLevel.HIGH
    return result.model_copy(update={"threshold": pre_screen.approve_below, "level": level})


def _on_tier_timeout(policy: Policy, state: ApprovalState, tier: int, now: datetime) -> list[Event]:
    if state.tier != tier or state.fell_back is not None:
        return []
    events = [_timed_out(state, now)]
    if tier == len(policy.tiers):
        return events + _fall_back(policy, state, _wording(policy.fallback.reason, state), now)
    reason = _wording(policy.tiers[tier].asks, state)
    escalated = Escalated(from_tier=tier, to_tier=tier + 1, reason=reason)
    return [
        *events,
        _step(f"tier-{tier}", CLOCK, escalated, now),
        *_open_tier(policy, state, tier + 1, now),
    ]


def _on_deadline(policy: Policy, state: ApprovalState, now: datetime) -> list[Event]:
    """The policy's own words for its fallback do not fit here: a tier may not have been asked at all."""
    if state.fell_back is not None:
        return []
    if not state.tier:
        return _fall_back(policy, state, "The request's deadline passed before anybody was asked", now)
    silent = " and ".join(state.asked)
    reason = f"The request's deadline passed and {silent} had not responded"
    return [_timed_out(state, now), *_fall_back(policy, state, reason, now)]


def _timed_out(state: ApprovalState, now: datetime) -> Event:
    waited = now - (state.tier_open_time or now)
    silent = ", ".join(person for person, tier in state.asked.items() if tier == state.tier)
    reason = f"{silent} did not respond within {describe_duration(_granted(state, now) * clock_scale(state))}"
    return _step(f"tier-{state.tier}", CLOCK, TimedOut(tier=state.tier, waited=waited, reason=reason), now)


def _granted(state: ApprovalState, now: datetime) -> timedelta:
    """How long the open tier had: what its policy gave it, or less where a deadline cut it short."""
    began = state.tier_open_time or now
    due = state.tier_opened.due if state.tier_opened else None
    return min(due or now, now) - began


def _open_tier(policy: Policy, state: ApprovalState, number: int, now: datetime) -> list[Event]:
    received = received_of(state)
    tier = policy.tiers[number - 1]
    timeout = tier.timeout_of(received.priority)
    due = None if timeout is None else now + timeout / clock_scale(state)
    opened = TierOpened(tier=number, name=tier.name, quorum=tier.quorum, due=due)
    asked = Asked(tier=number, person=_approver_of(tier, received), reason=_wording(tier.asks, state))
    by_policy = Actor(kind=ActorKind.POLICY, name=policy.name)
    bodies: list[Body] = [opened, asked]
    return [_step(f"tier-{number}", by_policy, body, now) for body in bodies]


def _fall_back(policy: Policy, state: ApprovalState, reason: str, now: datetime) -> list[Event]:
    by_policy = Actor(kind=ActorKind.POLICY, name=policy.name)
    events = [_step(FALLBACK_CAUSE, by_policy, FellBack(reason=reason), now)]
    if policy.fallback.by == "reject":
        events += _reject_by_policy(policy, state, now)
    return events


def _on_fallback_unavailable(state: ApprovalState, now: datetime) -> list[Event]:
    if state.fell_back is None or state.held is not None or state.ai_decided is not None:
        return []
    held = Held(step="fallback", reason="the AI service does not answer; it is asked again until it does")
    return [_step(FALLBACK_CAUSE, CLOCK, held, now)]


def _on_fallback(policy: Policy, state: ApprovalState, result: AiDecided, now: datetime) -> list[Event]:
    if state.fell_back is None or state.ai_decided is not None:
        return []
    model = Actor(kind=ActorKind.AI_MODEL, name=result.model)
    events = [_step(FALLBACK_CAUSE, model, result, now)]
    if result.result is not AiResult.DECIDED or result.verdict is Verdict.UNSPECIFIED:
        return events + _reject_by_policy(policy, state, now)
    approved = result.verdict is Verdict.APPROVE
    outcome = State.APPROVED if approved else State.REJECTED
    decided = Decided(
        state=outcome,
        source=Source.AI_FALLBACK,
        decision_type=DecisionType.AI_FALLBACK,
        approver=policy.fallback.approver,
        model=result.model,
        confidence=result.confidence,
        reasoning=result.reasoning if approved else f"{policy.fallback.rejection}: {result.reasoning}",
    )
    bodies: list[Body] = [decided, _closed(state, outcome, now)]
    return events + [_step(FALLBACK_CAUSE, model, body, now) for body in bodies]


def _reject_by_policy(policy: Policy, state: ApprovalState, now: datetime) -> list[Event]:
    decided = Decided(
        state=State.REJECTED,
        source=Source.POLICY,
        decision_type=DecisionType.AUTOMATIC,
        approver=policy.name,
        reasoning=policy.fallback.rejection,
    )
    by_policy = Actor(kind=ActorKind.POLICY, name=policy.name)
    bodies: list[Body] = [decided, _closed(state, State.REJECTED, now)]
    return [_step(FALLBACK_CAUSE, by_policy, body, now) for body in bodies]


def _closed(state: ApprovalState, outcome: State, now: datetime) -> Closed:
    return Closed(state=outcome, waited=now - (state.create_time or now))


def _step(cause_id: str, actor: Actor, body: Body, now: datetime) -> Event:
    return Event(time=now, actor=actor, cause_id=cause_id, body=body)


def received_of(state: ApprovalState) -> Received:
    """A request's first event."""
    if state.received is None:
        raise AssertionError("a request's first event is `received`")
    return state.received


def decided_of(state: ApprovalState) -> Decided:
    """How a closed request ended."""
    if state.decided is None:
        raise AssertionError("a request that is not decided has no outcome")
    return state.decided


def _approver_of(tier: Tier, received: Received) -> str:
    return received.required_approver if tier.approver == "required" else received.manager_approver


def _wording(template: str, state: ApprovalState) -> str:
    """A policy's wording with the request's approvers in it. Nothing else is expanded."""
    received = received_of(state)
    return template.replace("{required}", received.required_approver).replace(
        "{manager}", received.manager_approver
    )


def clock_scale(state: ApprovalState) -> float:
    """How much faster than written the policy's clocks run; 1 except in demonstrations."""
    return received_of(state).clock_scale or 1.0
