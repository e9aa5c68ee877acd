"""Tables of the contract's events, states and sources, as far as the grammar needs them.

They are copied from `placet.event.v1`; a test holds both equal.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum

RECEIVED, PROCESSED, PRE_SCREENED, TIER_OPENED, ASKED, NOTIFIED, TIMED_OUT, ESCALATED = range(16, 24)
VOTED, REFUSED, FELL_BACK, AI_DECIDED, PAUSED, DECIDED, CLOSED, ACCESS_REFUSED = range(24, 32)
ERASED, COMMENTED, FALLBACK_ALARM = range(32, 35)
WITHHELD, AUTOMATION_SWITCHED = range(37, 39)

KINDS: Mapping[int, str] = {
    RECEIVED: "received",
    PROCESSED: "processed",
    PRE_SCREENED: "pre_screened",
    TIER_OPENED: "tier_opened",
    ASKED: "asked",
    NOTIFIED: "notified",
    TIMED_OUT: "timed_out",
    ESCALATED: "escalated",
    VOTED: "voted",
    REFUSED: "refused",
    FELL_BACK: "fell_back",
    AI_DECIDED: "ai_decided",
    PAUSED: "paused",
    DECIDED: "decided",
    CLOSED: "closed",
    ACCESS_REFUSED: "access_refused",
    ERASED: "erased",
    COMMENTED: "commented",
    FALLBACK_ALARM: "fallback_alarm",
    WITHHELD: "withheld",
    AUTOMATION_SWITCHED: "automation_switched",
}
"""Names of the kinds of events, by the number of `Event.body`."""

OF_THE_TENANT = frozenset({ACCESS_REFUSED, ERASED, FALLBACK_ALARM, AUTOMATION_SWITCHED})
"""Kinds that belong to the tenant itself. All others belong to a request."""

ENUMS: Mapping[int, Mapping[int, int]] = {
    RECEIVED: {1: 4, 4: 4},
    PRE_SCREENED: {1: 3, 2: 2, 5: 2},
    VOTED: {2: 2},
    REFUSED: {2: 28},
    AI_DECIDED: {1: 3, 2: 2},
    DECIDED: {1: 5, 2: 5, 3: 4},
    CLOSED: {1: 5},
}
"""Largest value of each enum field, by kind and number of the field. The values count from 0 without gaps."""

ACTOR_KINDS = 5
"""Largest `ActorKind`."""


class State(IntEnum):
    """`State`, as an outcome."""

    APPROVED = 2
    REJECTED = 3
    CANCELLED = 4


class Source(IntEnum):
    """`Source` of an outcome."""

    HUMAN = 1
    AI_PRESCREEN = 2
    AI_FALLBACK = 3
    POLICY = 4
    REQUESTER = 5


class DecisionType(IntEnum):
    """`DecisionType` of an outcome. A withdrawn request has none."""

    UNSPECIFIED = 0
    HUMAN = 1
    MANAGER = 2
    AI_FALLBACK = 3
    AUTOMATIC = 4


PERSON, SERVICE = 1, 2
"""`ActorKind` of a person and of a program."""
APPROVE, REJECT = 1, 2
"""`Verdict`."""
AI_DECIDED_RESULT = 1
"""`AiResult` of a usable answer."""
LOW_RISK, HIGH_RISK = 1, 2
"""`RiskLevel` below the policy's threshold, and at it or above."""
