"""Rules that a request must satisfy before it is accepted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from placet_domain.events import Assignment
from placet_domain.policy import MOST_PEOPLE, Policy
from placet_rpc.errors import FieldViolation, InvalidArgument


@dataclass(frozen=True)
class RequestRules:
    """The fields of a request that the rules check."""

    requester: str
    policy: str
    assignments: Sequence[Assignment]
    deadline_time: datetime | None
    # Violations by the declared facts.
    fact_violations: Sequence[FieldViolation] = ()


def check(request: RequestRules, policies: Mapping[str, Policy], now: datetime) -> Policy:
    """The request's policy. Raises InvalidArgument with a violation for every invalid field."""
    policy = policies.get(request.policy)
    violations = [*_deadline_violations(request, policy, now), *request.fact_violations]
    if policy is None:
        known = ", ".join(sorted(policies))
        unknown = f"there is no policy {request.policy!r}; there are: {known}"
        violations.append(FieldViolation("policy", unknown))
    else:
        violations += _slot_violations(request, policy)
        violations += _people_violations(request)
        violations += _tier_violations(request, policy)
    if violations or policy is None:
        raise InvalidArgument(
            "; ".join(f"{one.field}: {one.description}" for one in violations), violations=violations
        )
    return policy


def _deadline_violations(
    request: RequestRules, policy: Policy | None, now: datetime
) -> Iterator[FieldViolation]:
    if request.deadline_time is None:
        return
    if request.deadline_time <= now:
        yield FieldViolation("deadline_time", "is past; it must lie in the future")
    elif policy is not None:
        fault = policy.automatic.deadline_fault(request.requester, request.deadline_time - now)
        if fault:
            yield FieldViolation("deadline_time", f"{fault}, by policy {policy.name!r}")


def _slot_violations(request: RequestRules, policy: Policy) -> Iterator[FieldViolation]:
    """Violations unless every slot of the policy is filled once, and no other."""
    named: set[str] = set()
    for index, one in enumerate(request.assignments):
        field = f"assignments[{index}].slot"
        if one.slot in named:
            yield FieldViolation(field, f"{one.slot!r} is named twice; name all its people together")
        elif one.slot not in policy.slots:
            slots = ", ".join(policy.slots) or "none"
            yield FieldViolation(field, f"{one.slot!r} is no slot of policy {policy.name!r}; it has: {slots}")
        named.add(one.slot)
    for slot in policy.slots:
        if slot not in named:
            yield FieldViolation(
                "assignments", f"slot {slot!r} is missing; policy {policy.name!r} asks whom it names"
            )


def _people_violations(request: RequestRules) -> Iterator[FieldViolation]:
    for index, one in enumerate(request.assignments):
        field = f"assignments[{index}]"
        if one.groups:
            yield FieldViolation(f"{field}.groups", "cannot be asked yet; name people")
        if not one.people:
            yield FieldViolation(f"{field}.people", "is empty; name somebody")
        for number, person in enumerate(one.people):
            if person.casefold() == request.requester.casefold():
                yield FieldViolation(
                    f"{field}.people[{number}]",
                    "is the requester; four eyes are needed, so name somebody else",
                )


def _tier_violations(request: RequestRules, policy: Policy) -> Iterator[FieldViolation]:
    for number, tier in enumerate(policy.tiers, 1):
        people = tier.people(request.assignments)
        place = f"tier {number} ({tier.name}) of policy {policy.name!r}"
        if len(people) > MOST_PEOPLE:
            yield FieldViolation(
                "assignments", f"{place} would ask {len(people)} people; the most is {MOST_PEOPLE}"
            )
        if people and len(people) < tier.quorum:
            yield FieldViolation(
                "assignments", f"{place} needs {tier.quorum} approvals and asks {len(people)}"
            )
        if request.requester.casefold() in {target.casefold() for target in tier.fixed_people}:
            yield FieldViolation("policy", f"{place} asks the requester; four eyes are needed")
