"""Caps of automatic decisions: the one place where a policy's caps meet the facts that the log holds."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from placet_domain.automatic import Automatic
from placet_domain.durations import format_duration
from placet_domain.events import AiResult, Event, Withheld
from placet_domain.facts import AMOUNT_FINDING, Amount, EffectiveFacts, FoundFacts
from placet_domain.policy import Policy
from placet_domain.rules.builders import clock_scale, policy_actor, received_of, step
from placet_domain.state import ApprovalState

# Timers may fire early by a rounding.
_ROUNDING = timedelta(seconds=1)


@dataclass(frozen=True)
class Proposal:
    """A decision that a step would make without a person.

    `confidence`: that of the model. `found`: facts found with it. `by_rule`: an allow-rule decides.
    """

    approves: bool
    confidence: float | None
    found: FoundFacts
    by_rule: bool = False


def objection(policy: Policy, state: ApprovalState, proposal: Proposal, now: datetime) -> str:
    """The first reason in words for which an automatic decision is not allowed; empty if it is.

    Risk, content and people's time are those that the log holds. What is not known allows nothing.
    """
    return next(_objections(policy, state, proposal, now), "")


def withhold(policy: Policy, state: ApprovalState, cause: str, reason: str, now: datetime) -> list[Event]:
    """The event that says why an automatic decision is not made; none if the log says so already."""
    if not state.may_be_withheld:
        return []
    return step(cause, policy_actor(policy), [Withheld(reason=reason)], now)


def people_had_time(policy: Policy, state: ApprovalState, now: datetime) -> bool:
    """Tells whether people had the time that the policy gives them before an AI may decide."""
    least = least_time(policy, state)
    if least is None or not state.tiers:
        return False
    return (now - state.tiers[0].open_time) * clock_scale(state) + _ROUNDING >= least


def least_time(policy: Policy, state: ApprovalState) -> timedelta | None:
    """The time that people must have before an AI may decide; None without limit."""
    return policy.automatic.least_time or policy.time_of(received_of(state).priority)


def _objections(policy: Policy, state: ApprovalState, proposal: Proposal, now: datetime) -> Iterator[str]:
    caps = policy.automatic
    if state.withheld is not None:
        yield state.withheld.reason or "the log takes no automatic decision"
    if ("approve" if proposal.approves else "reject") not in caps.may:
        yield f"the policy lets no AI {'approve' if proposal.approves else 'reject'}"
    if state.fell_back is not None and not people_had_time(policy, state, now):
        yield short_of_time(policy, state)
    if proposal.approves:
        yield from _against_approval(policy, state, proposal)


def _against_approval(policy: Policy, state: ApprovalState, proposal: Proposal) -> Iterator[str]:
    caps, facts = policy.automatic, state.effective_facts(proposal.found)
    if caps.requires == "read whole" and not state.is_read_whole:
        yield "not all of the content was read"
    if caps.kinds and facts.kind not in caps.kinds:
        yield f"its kind is {facts.kind or 'not declared'}, and the policy allows {', '.join(caps.kinds)}"
    if facts.tampering:
        yield f"the content tries to steer or deceive its reader ({', '.join(facts.tampering)})"
    if caps.most_amount is not None:
        yield from _amount_objections(caps.most_amount, facts)
    if state.fell_back is not None:
        yield from _finding_objections(caps, facts)
    if caps.most_risk is not None:
        yield from _risk_objections(caps.most_risk, _known_risk(state))
    if not proposal.by_rule:
        yield from _confidence_objections(caps.least_confidence, proposal.confidence)


def _amount_objections(most: Amount, facts: EffectiveFacts) -> Iterator[str]:
    if facts.amounts and not facts.is_at_most(most):
        yield f"an amount is above the policy's {most.value} {most.currency}, or in another currency"


def _finding_objections(caps: Automatic, facts: EffectiveFacts) -> Iterator[str]:
    """A firm finding, and an amount without a cap, bind the AI of the fallback.

    Before people are asked, allow-rules say what they accept.
    """
    if facts.amounts and caps.most_amount is None:
        yield "there is an amount, and the policy has no cap for it"
    firm = [name for name in facts.firm if name != AMOUNT_FINDING]
    if firm:
        yield f"there are firm findings ({', '.join(firm)})"


def _confidence_objections(least: float, confidence: float | None) -> Iterator[str]:
    if confidence is None or not math.isfinite(confidence) or confidence > 1:
        yield "it gave no confidence"
    elif confidence < least:
        yield f"its confidence of {confidence:.2f} is below the policy's {least:.2f}"


def short_of_time(policy: Policy, state: ApprovalState) -> str:
    """Says that people had too little time."""
    least = least_time(policy, state)
    return f"people did not have {'their time' if least is None else format_duration(least)}"


def _risk_objections(most: float, risk: float | None) -> Iterator[str]:
    if risk is None or not 0 <= risk <= 1:
        yield "the risk is not known"
    elif risk > most:
        yield f"the risk of {risk:.2f} is above the policy's {most:.2f}"


def _known_risk(state: ApprovalState) -> float | None:
    screened = state.pre_screened
    return screened.risk if screened is not None and screened.result is AiResult.DECIDED else None
