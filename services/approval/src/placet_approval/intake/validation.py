"""What a request must satisfy before it is accepted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from placet_domain.policy import Policy
from placet_rpc.errors import FieldViolation, InvalidArgument


@dataclass(frozen=True)
class Asking:
    """The parts of a request that the rules look at."""

    requester: str
    policy: str
    required_approver: str
    manager_approver: str
    deadline: datetime | None


def check(asking: Asking, policies: Mapping[str, Policy], now: datetime) -> Policy:
    """The policy to follow. Raises InvalidArgument that names every field at fault."""
    policy = policies.get(asking.policy)
    violations = _deadline_violations(asking, now)
    if policy is None:
        known = ", ".join(sorted(policies))
        unknown = f"there is no policy {asking.policy!r}; there are: {known}"
        violations.append(FieldViolation("policy", unknown))
    else:
        violations += _approver_violations(asking, policy)
    if violations or policy is None:
        raise InvalidArgument(
            "; ".join(f"{one.field}: {one.description}" for one in violations), violations=violations
        )
    return policy


def _deadline_violations(asking: Asking, now: datetime) -> list[FieldViolation]:
    if asking.deadline is None or asking.deadline > now:
        return []
    return [FieldViolation("deadline", "is past; it must lie in the future")]


def _approver_violations(asking: Asking, policy: Policy) -> list[FieldViolation]:
    violations = []
    if not asking.required_approver:
        violations.append(
            FieldViolation("required_approver", f"is missing; policy {policy.name!r} asks somebody")
        )
    if policy.needs_manager and not asking.manager_approver:
        violations.append(
            FieldViolation("manager_approver", f"is missing; policy {policy.name!r} has a manager")
        )
    named = (("required_approver", asking.required_approver), ("manager_approver", asking.manager_approver))
    violations += [
        FieldViolation(field, "is the requester; four eyes are needed, so name somebody else")
        for field, address in named
        # Mail does not tell upper case from lower; the same person by another spelling is no second pair.
        if address and address.casefold() == asking.requester.casefold()
    ]
    return violations
