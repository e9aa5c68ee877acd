"""The policy model, as data. Policies are files; this module reads no file.

A policy names, in order: an optional pre-screen, one or more tiers of people, and a fallback. Waiting times
are written as people say them ("2 h"); a wait that never ends must say so ("without limit").
"""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Annotated, Literal

from pydantic import (
    BeforeValidator,
    Discriminator,
    Field,
    Tag,
    model_validator,
)

from placet_domain.allow_rule import AllowRule
from placet_domain.automatic import Automatic
from placet_domain.durations import format_duration
from placet_domain.events import Assignment, DecisionType, Priority, ScreenMode
from placet_domain.policy_part import Duration, PolicyPart

WITHOUT_LIMIT = "without limit"
GO_ON = "go on"
# The slots that requests fill by `--approver` and `--manager`.
REQUIRED_APPROVER, MANAGER_APPROVER = "required_approver", "manager_approver"

# Bounds of what a policy may say: with its slots filled in, it must still fit into an event.
MOST_WORDS = 500
# Most people that a tier may ask: they are asked in one append.
MOST_PEOPLE = 30
_SLOT = r"^[a-z][a-z0-9_]{0,62}$"
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")

Words = Annotated[str, Field(min_length=1, max_length=MOST_WORDS)]
Name = Annotated[str, Field(min_length=1, max_length=100)]


class PreScreen(PolicyPart):
    """The assessment of risk before anybody is asked."""

    mode: Annotated[ScreenMode, BeforeValidator(lambda mode: str(mode).upper())]
    # Risk below this, in [0, 1], is approved at once if an allow-rule holds. Unset: the rule alone decides.
    approve_below: float | None = Field(default=None, gt=0, le=1)
    approver: Name = "AI-Auto-Approved"
    reason: Words = "Low risk document"
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


class SlotTarget(PolicyPart):
    """The people whom the request names for a slot."""

    slot: str = Field(pattern=_SLOT)


def _lower(written: object) -> object:
    return written.lower() if isinstance(written, str) else written


class PersonTarget(PolicyPart):
    """A fixed person, by e-mail address in ASCII, as requests name theirs; letter case does not matter."""

    person: Annotated[str, BeforeValidator(_lower)] = Field(pattern=r"^[!-?A-~]+@[!-?A-~]+$", max_length=254)


def _as_target(written: object) -> object:
    """A bare text names a slot. Groups and managers need a directory, which no service has yet."""
    if isinstance(written, str):
        return SlotTarget.model_validate({"slot": written})
    if isinstance(written, dict):
        for key in ("group", "manager_of"):
            if key in written:
                raise ValueError(f"{key!r} is not served yet; name a slot, or {{ person = 'somebody@…' }}")
    return written


Target = Annotated[SlotTarget | PersonTarget, BeforeValidator(_as_target)]


def _kind_of_timeout(written: object) -> str:
    if isinstance(written, dict | ByPriority):
        return "by priority"
    return "endless" if written == WITHOUT_LIMIT else "one"


# The kind is decided first, so that a mistake is reported once, for the kind that was meant.
Timeout = Annotated[
    Annotated[Literal["without limit"], Tag("endless")]
    | Annotated[ByPriority, Tag("by priority")]
    | Annotated[Duration, Tag("one")],
    Discriminator(_kind_of_timeout),
]


def _kind_of_extension(written: object) -> str:
    return "none" if written == GO_ON else "unset" if written is None else "one"


UntilTold = Annotated[
    Annotated[Literal["go on"], Tag("none")]
    | Annotated[None, Tag("unset")]
    | Annotated[Duration, Tag("one")],
    Discriminator(_kind_of_extension),
]


class Tier(PolicyPart):
    """People who are asked at the same time, and for how long."""

    name: Name
    # The slots and people that are asked.
    asks: tuple[Target, ...] = Field(min_length=1, max_length=20)
    decision_type: Annotated[
        Literal[DecisionType.HUMAN, DecisionType.MANAGER], BeforeValidator(lambda kind: str(kind).upper())
    ]
    # One waiting time, one for each priority, or "without limit".
    timeout: Timeout
    # Number of approvals that the tier needs.
    quorum: int = Field(default=1, ge=1, le=20)
    # Time that it waits longer for somebody to be told, when its time ends and too few people could be told
    # to decide it; or "go on". Unset: as long again as its timeout.
    until_told: UntilTold = None
    # Message to the people who are asked. {slot} stands for the people that the request names for a slot.
    message: Words = "Your decision is needed"

    def timeout_of(self, priority: Priority) -> timedelta | None:
        """The tier's waiting time; None without limit."""
        if isinstance(self.timeout, ByPriority):
            return self.timeout.of(priority)
        return self.timeout if isinstance(self.timeout, timedelta) else None

    def extension_of(self, priority: Priority) -> timedelta | None:
        """Time that it waits longer when too few people could be told; None when it goes on."""
        if self.until_told is None:
            return self.timeout_of(priority)
        return self.until_told if isinstance(self.until_told, timedelta) else None

    @property
    def slots(self) -> tuple[str, ...]:
        """The slots that it asks, in order."""
        return tuple(target.slot for target in self.asks if isinstance(target, SlotTarget))

    @property
    def fixed_people(self) -> tuple[str, ...]:
        """The people whom it asks independently of the request."""
        return tuple(target.person for target in self.asks if isinstance(target, PersonTarget))

    def people(self, assignments: Sequence[Assignment]) -> tuple[str, ...]:
        """The people whom it asks, in order and each once, given what the request names."""
        return _unique(person for target in self.asks for person in _people_of(target, assignments))


class Fallback(PolicyPart):
    """Decides when no person did."""

    by: Literal["ai", "reject"]
    approver: Name = "AI-Fallback"
    # Reason in the log when the fallback takes over. {slot} as in a tier's message.
    reason: Words
    # Reason of an outcome that is a rejection.
    rejection: Words
    time_limit: Duration = timedelta(minutes=5)


class Policy(PolicyPart):
    """A policy as versioned data. A request keeps the version that it started with."""

    name: str = Field(pattern=r"^[a-z][a-z0-9-]{0,62}$")
    version: int = Field(ge=1, le=2**31 - 1)
    description: Words
    # Caps of every automatic decision.
    automatic: Automatic = Automatic()
    pre_screen: PreScreen | None = None
    # The grounds of an automatic approval before anybody is asked; without them there is none.
    allow: tuple[AllowRule, ...] = Field(default=(), max_length=100)
    tiers: tuple[Tier, ...] = Field(min_length=1, max_length=20)
    fallback: Fallback

    @model_validator(mode="after")
    def _is_consistent(self) -> Policy:
        self._check_rules()
        for number, tier in enumerate(self.tiers, 1):
            if tier.timeout == WITHOUT_LIMIT and number < len(self.tiers):
                raise ValueError(
                    f"tier {number} ({tier.name}), timeout: it waits without limit, so the tiers after it "
                    "are never reached"
                )
            self._check_placeholders(f"tier {number} ({tier.name}), message", tier.message)
        self._check_placeholders("fallback, reason", self.fallback.reason)
        self._check_caps()
        return self

    def _check_caps(self) -> None:
        """Raises ValueError for a cap under which the fallback's AI could never approve."""
        if self.fallback.by != "ai":
            return
        if self.automatic.most_risk is not None and self.pre_screen is None:
            raise ValueError(
                "automatic, most_risk: without a pre-screen no risk is known, so the AI never approves"
            )
        least, most = self.automatic.least_time, self.time_of(Priority.URGENT)
        if least is not None and most is not None and least > most:
            raise ValueError(
                f"automatic, least_time: people have {format_duration(most)} in all when it is urgent, "
                f"less than {format_duration(least)}"
            )

    def time_of(self, priority: Priority) -> timedelta | None:
        """The time that people have in all tiers; None without limit."""
        times = [tier.timeout_of(priority) for tier in self.tiers]
        known = [time for time in times if time is not None]
        return sum(known, timedelta()) if len(known) == len(times) else None

    def _check_rules(self) -> None:
        names = [rule.name for rule in self.allow]
        for number, name in enumerate(names, 1):
            if name in names[: number - 1]:
                raise ValueError(f"allow-rule {number} ({name}), name: another rule has it; write another")
        if self.allow and self.pre_screen is None:
            raise ValueError(
                f"allow-rule 1 ({names[0]}): nothing looks at the content before people do; "
                "write [pre_screen] with mode = 'quick'"
            )

    def _check_placeholders(self, place: str, words: str) -> None:
        for name in _PLACEHOLDER.findall(words):
            if name not in self.slots:
                raise ValueError(
                    f"{place}: {{{name}}} is no slot of this policy; it has {', '.join(self.slots) or 'none'}"
                )

    @property
    def slots(self) -> tuple[str, ...]:
        """The slots that a request must fill, in the order in which they are asked."""
        return _unique(slot for tier in self.tiers for slot in tier.slots)

    def people(self, assignments: Sequence[Assignment]) -> tuple[str, ...]:
        """Everyone whom its tiers ask, in order and each once, given what the request names."""
        return _unique(person for tier in self.tiers for person in tier.people(assignments))

    def canonical(self) -> bytes:
        """The canonical body: JSON with sorted keys and no spaces, in UTF-8."""
        body = self.model_dump(mode="json")
        return json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()

    def digest(self) -> str:
        """SHA-256 of the canonical body, in hex."""
        return hashlib.sha256(self.canonical()).hexdigest()

    @classmethod
    def from_toml(cls, text: str) -> Policy:
        """Reads a policy file. Raises ValueError that names what is wrong."""
        return cls.model_validate(tomllib.loads(text))


def fill_slots(words: str, assignments: Sequence[Assignment], limit: int = 1000) -> str:
    """A policy's words with the request's people in place of {slot}, cut to `limit` characters."""
    people = {one.slot: " and ".join(one.people) for one in assignments}
    return clip(_PLACEHOLDER.sub(lambda match: people.get(match[1], match[0]), words), limit)


def names_slots(words: str) -> bool:
    """Tells whether a policy's words name people by their slot."""
    return _PLACEHOLDER.search(words) is not None


def clip(text: str, limit: int = 1000) -> str:
    """The text, cut to `limit` characters with … at its end."""
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def _people_of(target: Target, assignments: Sequence[Assignment]) -> Iterable[str]:
    if isinstance(target, PersonTarget):
        return (target.person,)
    return (person for one in assignments if one.slot == target.slot for person in one.people)


def _unique(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(values))
