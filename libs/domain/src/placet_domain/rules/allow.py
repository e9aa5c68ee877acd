"""Allow-rules: the first one of the policy that holds is the ground of an automatic approval."""

from __future__ import annotations

from placet_domain.allow_rule import AllowRule, matches
from placet_domain.events import Received
from placet_domain.facts import AMOUNT_FINDING, EffectiveFacts, FoundFacts
from placet_domain.policy import Policy
from placet_domain.rules.builders import received_of
from placet_domain.state import ApprovalState


def allowing_rule(policy: Policy, state: ApprovalState, found: FoundFacts) -> AllowRule | None:
    """The first rule that holds for a request and what was found in its content; None without one."""
    facts, received = state.effective_facts(found), received_of(state)
    if facts.tampering:
        return None
    return next((rule for rule in policy.allow if _holds(rule, received, state.requester, facts)), None)


def _holds(rule: AllowRule, received: Received, requester: str, facts: EffectiveFacts) -> bool:
    one_of = (
        (rule.kinds, facts.kind),
        (rule.media_types, received.media_type),
        (rule.forms, facts.form),
        (rule.environments, facts.environment),
        (rule.counterparties, facts.counterparty),
        (rule.targets, facts.target),
    )
    return (
        all(value in allowed for allowed, value in one_of if allowed)
        and (not rule.requesters or requester.casefold() in {one.casefold() for one in rule.requesters})
        and (rule.size_at_most is None or received.content_size <= rule.size_at_most)
        and (not rule.paths or _are_within(rule.paths, facts.paths))
        and _is_affordable(rule, facts)
        and _accepts(rule, facts)
    )


def _are_within(globs: tuple[str, ...], paths: tuple[str, ...] | None) -> bool:
    return bool(paths) and all(any(matches(glob, path) for glob in globs) for path in paths or ())


def _is_affordable(rule: AllowRule, facts: EffectiveFacts) -> bool:
    return not facts.amounts if rule.amount_at_most is None else facts.is_at_most(rule.amount_at_most)


def _accepts(rule: AllowRule, facts: EffectiveFacts) -> bool:
    accepted = {*rule.findings, *([AMOUNT_FINDING] if rule.amount_at_most is not None else [])}
    return accepted.issuperset(facts.firm)
