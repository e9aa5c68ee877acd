"""Decision by votes. A vote is an event; `resolve` decides apart from it."""

from __future__ import annotations

from placet_domain.events import Decided, Source, State, Verdict
from placet_domain.policy import Policy
from placet_domain.state import ApprovalState, TierState


def resolve(policy: Policy, state: ApprovalState) -> Decided | None:
    """The outcome that follows from the votes; None while there is none.

    A rejection is final. A tier approves with as many approvals as its quorum, also after it timed out.
    """
    for tier in state.tiers:
        for vote in tier.votes:
            if vote.verdict is Verdict.REJECT:
                return _by_people(policy, tier, State.REJECTED, [vote.person], vote.reason)
    for tier in state.tiers:
        if tier.votes and tier.approvals >= tier.quorum:
            approvers = list(dict.fromkeys(vote.person for vote in tier.votes))
            return _by_people(policy, tier, State.APPROVED, approvers, tier.votes[-1].reason)
    return None


def _by_people(policy: Policy, tier: TierState, outcome: State, people: list[str], reasoning: str) -> Decided:
    return Decided(
        state=outcome,
        source=Source.HUMAN,
        decision_type=policy.tiers[tier.tier - 1].decision_type,
        tier=tier.tier,
        approver=", ".join(people),
        reasoning=reasoning,
    )
