"""Automatic decisions, judged where they are appended: by the tenant's switches, and by limits in time.

Pure. The switches are the fold of the tenant's `automation_switched` events, numbered in their cause ids.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from placet_proof import Leaf
from placet_proof.automation import AutomaticDecision, Switches

SWITCH_CAUSE = "automation/"
"""Prefix of the cause ids of switches, and of no others; the number of the switch follows, from 1."""

_HOUR, _DAY = timedelta(hours=1), timedelta(days=1)

Switch = tuple[int, bytes]
"""A switch: its entry's index and leaf."""


@dataclass(frozen=True, slots=True)
class Withheld:
    """Reason for which an automatic decision is not allowed. `switched_off_index`: entry of the switch."""

    reason: str
    switched_off_index: int | None = None


@dataclass(slots=True)
class AutomationGate:
    """Judges the automatic decisions of one transaction; what it allows and sees counts for the next ones.

    `read_switches` and `count` read a tenant's switches, and the number of its approvals that were allowed
    under a policy since a time. `approved`: what was allowed now, by tenant and policy.
    """

    now: datetime = field(default_factory=lambda: datetime.now(UTC))
    read_switches: Callable[[str], Switches] = lambda _tenant: Switches()
    count: Callable[[str, str, datetime], int] = lambda _tenant, _policy, _since: 0
    approved: list[tuple[str, str]] = field(default_factory=list)
    _switches: dict[str, Switches] = field(default_factory=dict)

    def judge(self, tenant: str, decision: AutomaticDecision) -> Withheld | None:
        """Returns the reason against a decision that is about to be appended; None counts it as allowed."""
        index = self.switches(tenant).off(decision.policy, decision.model)
        if index is not None:
            why = f"automatic decisions are switched off, by entry {index} of the log"
            return Withheld(why, index)
        if not decision.approves:
            return None
        for most, period, name in (
            (decision.most_an_hour, _HOUR, "hour"),
            (decision.most_a_day, _DAY, "24 hours"),
        ):
            if most and self._approved_since(tenant, decision.policy, self.now - period) >= most:
                return Withheld(f"the policy's limit of {most:,} automatic approvals an {name} is reached")
        self.approved.append((tenant, decision.policy))
        return None

    def switches(self, tenant: str) -> Switches:
        """Returns the tenant's switches."""
        if tenant not in self._switches:
            self._switches[tenant] = self.read_switches(tenant)
        return self._switches[tenant]

    def _approved_since(self, tenant: str, policy: str, since: datetime) -> int:
        return self.count(tenant, policy, since) + self.approved.count((tenant, policy))


def switch_cause(number: int) -> str:
    """Returns the cause id of a tenant's switch, from 1 on."""
    return f"{SWITCH_CAUSE}{number}"


def folded(switches: Sequence[Switch]) -> Switches:
    """Returns the state after these switches."""
    state = Switches()
    for index, leaf in switches:
        state.apply(index, Leaf.parse(leaf))
    return state
