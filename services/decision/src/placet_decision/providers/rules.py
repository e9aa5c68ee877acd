"""Reads the rule set in `rules.toml` and applies one rule to one text."""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib import resources

from pydantic import BaseModel, ConfigDict, Field

from placet_decision.domain import canonical_digest
from placet_decision.providers import reading
from placet_decision.providers.finders import FINDERS, PATTERNS, Finder, Limits, Text


class Strength(StrEnum):
    """How far a rule may be trusted on its own; `rules.toml` says what each means."""

    TOPIC = "topic"
    FIRM = "firm"
    TAMPERING = "tampering"


@dataclass(frozen=True)
class Sighting:
    """Where a rule fired: what it saw, and how much that weighs."""

    evidence: str
    weight: float


@dataclass(frozen=True)
class Rule:
    """One rule. `weight` in (0, 1) is the share that it takes of what is left."""

    name: str
    weight: float
    strength: Strength
    secret: bool
    patterns: tuple[re.Pattern[str], ...]
    finder: Finder | None

    def sighting(self, text: Text, limits: Limits) -> Sighting | None:
        """The heaviest thing that it sees in `text`; None when it does not fire."""
        best: Sighting | None = None
        for evidence, weight in self._found(text, limits):
            if best is None or weight > best.weight:
                best = Sighting(evidence, weight)
        return best

    def _found(self, text: Text, limits: Limits) -> Iterator[tuple[str, float]]:
        for pattern in self.patterns:
            match = pattern.search(text.matched)
            if match:
                # Nothing of a secret: neither answers nor logs are a place for one.
                yield f"{len(match[0])} characters, not repeated" if self.secret else match[0], self.weight
        if self.finder is not None:
            yield from self.finder(text, self.weight, limits)


@dataclass(frozen=True)
class RuleSet:
    """All rules, with the version that people gave them and the SHA-256 of what decides."""

    version: str
    digest: bytes
    limits: Limits
    risk: tuple[Rule, ...]
    benign: tuple[Rule, ...]


class _WrittenRule(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    name: str
    weight: float = Field(gt=0, lt=1)
    strength: str = Strength.TOPIC
    secret: bool = False
    patterns: list[str] = []
    finder: str | None = None

    def read(self, words: dict[str, str]) -> Rule:
        patterns = [self._spelled_out(pattern, words) for pattern in self.patterns]
        return Rule(
            self.name,
            self.weight,
            Strength(self.strength),
            self.secret,
            tuple(re.compile(pattern, re.DOTALL) for pattern in patterns),
            FINDERS[self.finder] if self.finder else None,
        )

    @staticmethod
    def _spelled_out(pattern: str, words: dict[str, str]) -> str:
        for word, meaning in words.items():
            pattern = pattern.replace(f"%{word}%", meaning)
        return pattern


class _Written(BaseModel):
    """The file's form; anything else in it is an error at start, not a rule that silently never fires."""

    model_config = ConfigDict(extra="forbid", strict=True)

    version: str
    limits: dict[str, float | int]
    amounts: dict[str, float]
    words: dict[str, str]
    risk: list[_WrittenRule]
    benign: list[_WrittenRule]


@cache
def rule_set() -> RuleSet:
    """The built-in rules. Raises ValidationError, KeyError or re.error if the file is wrong."""
    body = resources.files("placet_decision.providers").joinpath("rules.toml").read_bytes()
    written = _Written.model_validate(tomllib.loads(body.decode()))
    ladder = sorted(((float(least), weight) for least, weight in written.amounts.items()), reverse=True)
    limits = Limits(
        baseline=written.limits["baseline"],
        approve_below=written.limits["approve_below"],
        reject_from=written.limits["reject_from"],
        benign_up_to=int(written.limits["benign_up_to"]),
        short_up_to=int(written.limits["short_up_to"]),
        long_from=int(written.limits["long_from"]),
        foreign_letters_from=int(written.limits["foreign_letters_from"]),
        currency=written.words["currency"],
        amounts=tuple(ladder),
    )
    return RuleSet(
        version=written.version,
        digest=canonical_digest([hashlib.sha256(body).hexdigest(), [*PATTERNS, *reading.PATTERNS]]),
        limits=limits,
        risk=tuple(rule.read(written.words) for rule in written.risk),
        benign=tuple(rule.read(written.words) for rule in written.benign),
    )
