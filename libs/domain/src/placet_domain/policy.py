"""The policy model: what the interpreter knows, as data. Policies are files; this module reads no file.

A policy names, in order: an optional pre-screen, one or more tiers of people, and a fallback. Waiting
times are written as people say them ("2 h"); a wait that never ends must say so ("without limit").
"""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from datetime import timedelta
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, model_validator

from placet_domain.events import DecisionType, Priority, ScreenMode

_UNITS = {"s": 1, "min": 60, "h": 3600, "d": 86400}
_WRITTEN = re.compile(r"^([0-9]{1,12}) (s|min|h|d)\Z")
_LONGEST = 3650 * _UNITS["d"]

WITHOUT_LIMIT = "without limit"


def parse_duration(written: object) -> object:
    """`"2 h"` → two hours; a timedelta goes on unchanged. Raises ValueError for everything else: a bare
    number has no unit, and a wait of nothing asks nobody."""
    if isinstance(written, timedelta):
        return written
    match = _WRITTEN.match(written) if isinstance(written, str) else None
    if match is None:
        raise ValueError(f"{written!r} is not a duration; write for example '30 s', '5 min', '2 h' or '3 d'")
    seconds = int(match[1]) * _UNITS[match[2]]
    if not 0 < seconds <= _LONGEST:
        raise ValueError(f"{written!r} is not between 1 s and 3650 d")
    return timedelta(seconds=seconds)


def format_duration(duration: timedelta) -> str:
    """The shortest exact way to write whole seconds as `parse_duration` reads them: 7200 s → `"2 h"`."""
    seconds = int(duration.total_seconds())
    for unit in ("d", "h", "min"):
        if seconds and seconds % _UNITS[unit] == 0 and not (unit == "d" and seconds < 2 * _UNITS["d"]):
            return f"{seconds // _UNITS[unit]} {unit}"
    return f"{seconds} s"


def describe_duration(duration: timedelta) -> str:
    """A duration for people, by its two largest units: 7203 s → `"2 h"`, 5400 s → `"1 h 30 min"`. Days
    count from two on, as policies write them: `"24 h"`."""
    seconds = round(duration.total_seconds())
    units = ("d", "h", "min", "s") if seconds >= 2 * _UNITS["d"] else ("h", "min", "s")
    largest = next((unit for unit in units if seconds >= _UNITS[unit]), "s")
    smaller = {"d": "h", "h": "min", "min": "s", "s": "s"}[largest]
    rounded = round(seconds / _UNITS[smaller]) * _UNITS[smaller]
    whole, rest = divmod(rounded, _UNITS[largest])
    return f"{whole} {largest}" + (f" {rest // _UNITS[smaller]} {smaller}" if rest else "")


Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    PlainSerializer(format_duration, return_type=str),
]


class PolicyPart(BaseModel):
    """Closed: a key that the interpreter does not know is an error, not a wish that goes unheard."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class PreScreen(PolicyPart):
    """The look at the risk before anybody is asked."""

    mode: Annotated[ScreenMode, BeforeValidator(lambda mode: str(mode).upper())]
    # Risk below this, in [0, 1], is approved at once. Unset: the result only informs.
    approve_below: float | None = Field(default=None, gt=0, le=1)
    approver: str = "AI-Auto-Approved"
    reason: str = "Low risk document"
    time_limit: Duration = timedelta(minutes=2)


class ByPriority(PolicyPart):
    """A waiting time for each priority."""

    urgent: Duration
    high: Duration
    normal: Duration
    low: Duration

    def of(self, priority: Priority) -> timedelta:
        """The waiting time of a priority; unspecified counts as normal."""
        times = {Priority.URGENT: self.urgent, Priority.HIGH: self.high, Priority.LOW: self.low}
        return times.get(priority, self.normal)


class Tier(PolicyPart):
    """People who are asked at the same time, and for how long."""

    name: str
    # Whom the request names for it.
    approver: Literal["required", "manager"]
    decision_type: Annotated[DecisionType, BeforeValidator(lambda kind: str(kind).upper())]
    # How long is waited: one time, one for each priority, or "without limit".
    timeout: Literal["without limit"] | ByPriority | Duration
    # How many of the asked must approve. One person is asked in a tier yet, so it is one.
    quorum: Literal[1] = 1
    # What the asked are told. {required} and {manager} stand for the request's approvers.
    asks: str = "Your decision is needed"

    def timeout_of(self, priority: Priority) -> timedelta | None:
        """How long this tier waits; None without limit."""
        if isinstance(self.timeout, ByPriority):
            return self.timeout.of(priority)
        return self.timeout if isinstance(self.timeout, timedelta) else None


class Fallback(PolicyPart):
    """What decides when no person did."""

    by: Literal["ai", "reject"]
    approver: str = "AI-Fallback"
    # What the log says when it takes over. {required} and {manager} as in a tier.
    reason: str
    # What the outcome says when it ends in a rejection.
    rejection: str
    time_limit: Duration = timedelta(minutes=5)


class Policy(PolicyPart):
    """A policy as versioned data. A request keeps the version that it started with."""

    name: str = Field(pattern=r"^[a-z][a-z0-9-]{0,62}$")
    version: int = Field(ge=1)
    description: str
    pre_screen: PreScreen | None = None
    tiers: tuple[Tier, ...] = Field(min_length=1)
    fallback: Fallback

    @model_validator(mode="after")
    def _every_wait_ends_or_says_so(self) -> Policy:
        for tier in self.tiers[:-1]:
            if tier.timeout == WITHOUT_LIMIT:
                raise ValueError(
                    f"tier {tier.name!r} waits without limit, so the tiers after it are never reached"
                )
        return self

    @property
    def needs_manager(self) -> bool:
        """Whether a request must name a manager."""
        return any(tier.approver == "manager" for tier in self.tiers)

    def canonical(self) -> bytes:
        """The canonical body: JSON with sorted keys and no spaces, in UTF-8."""
        body = self.model_dump(mode="json")
        return json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()

    def digest(self) -> str:
        """SHA-256 of the canonical body, in hex."""
        return hashlib.sha256(self.canonical()).hexdigest()

    @classmethod
    def from_toml(cls, text: str) -> Policy:
        """Reads a policy file. Raises ValueError that says what is wrong."""
        return cls.model_validate(tomllib.loads(text))
