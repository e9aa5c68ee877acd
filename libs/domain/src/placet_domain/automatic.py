"""Caps of a policy: what a model or a rule may decide without a person, under which conditions."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

from pydantic import Field

from placet_domain.allow_rule import Limit, Word
from placet_domain.durations import format_duration
from placet_domain.policy_part import Duration, PolicyPart

Permission = Literal["inform", "reject", "approve"]
# Condition of an automatic approval on its content.
Requirement = Literal["read whole", "nothing"]


class Automatic(PolicyPart):
    """Caps of every automatic decision: pre-screen and fallback alike.

    What is beyond a cap is withheld: people are asked, or the policy's word decides.
    """

    # Decisions that a model or a rule may make. It may always inform.
    may: tuple[Permission, ...] = Field(default=("inform", "reject", "approve"), min_length=1)
    # "read whole": all of the content was read, and all that was read can be seen.
    requires: Requirement = "read whole"
    # Kinds of action that may be approved. Empty: any, and requests that declare none.
    kinds: tuple[Word, ...] = Field(default=(), max_length=100)
    # Most of every amount, declared or found, in this currency alone. Unset: the fallback's AI approves no
    # amount.
    most_amount: Limit | None = None
    # Most risk of an approval, in [0, 1], by the pre-screen. Unset: no cap.
    most_risk: float | None = Field(default=None, ge=0, le=1)
    # Least confidence of a model's approval, in (0, 1].
    least_confidence: float = Field(default=0.5, gt=0, le=1)
    # Time that people must have had before the fallback's AI decides. Unset: all of the tiers' time.
    least_time: Duration | None = None
    # Those who may give a deadline, by their address or name. Unset: every requester; empty: nobody.
    deadline_from: tuple[str, ...] | None = Field(default=None, max_length=100)
    # Shortest deadline that a request may have. Unset: any.
    least_deadline: Duration | None = None
    # Most approvals in any hour and any 24 hours, of all requests under this policy. Unset: no limit.
    most_an_hour: int | None = Field(default=None, ge=1, le=2**31 - 1)
    most_a_day: int | None = Field(default=None, ge=1, le=2**31 - 1)

    def deadline_fault(self, requester: str, time: timedelta) -> str:
        """The reason why this requester may not give a deadline so far away; empty if they may."""
        if self.deadline_from is not None and requester.casefold() not in map(
            str.casefold, self.deadline_from
        ):
            return f"may be given only by {', '.join(self.deadline_from) or 'nobody'}"
        if self.least_deadline is not None and time < self.least_deadline:
            return f"must be at least {format_duration(self.least_deadline)} away"
        return ""
