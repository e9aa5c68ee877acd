"""The rule set in `rules.toml`, and the score that it gives a document. Pure but for reading that file."""

from __future__ import annotations

import hashlib
import re
import tomllib
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cache
from importlib import resources

from pydantic import BaseModel, ConfigDict, Field

from placet_decision.domain import EVIDENCE_LIMIT, Document, Feature, canonical_digest, presentable
from placet_decision.providers.detectors import (
    DETECTORS,
    PATTERNS,
    Detector,
    Evidence,
    Limits,
    Text,
    is_legible,
)


class Strength(StrEnum):
    """The trust in a rule on its own; `rules.toml` defines each."""

    TOPIC = "topic"
    FIRM = "firm"
    TAMPERING = "tampering"


@dataclass(frozen=True)
class Match:
    """The evidence on which a rule fired, and its weight."""

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
    detector: Detector | None

    def match(self, text: Text, limits: Limits) -> Match | None:
        """The heaviest match in `text`; None when the rule does not fire."""
        best: Match | None = None
        for evidence, weight in self._found(text, limits):
            if best is None or weight > best.weight:
                best = Match(evidence, weight)
        return best

    def _found(self, text: Text, limits: Limits) -> Evidence:
        for pattern in self.patterns:
            match = pattern.search(text.matched)
            if match:
                # Nothing of a secret: neither answers nor logs are a place for one.
                yield f"{len(match[0])} characters, not repeated" if self.secret else match[0], self.weight
        if self.detector is not None:
            yield from self.detector(text, self.weight, limits)


@dataclass(frozen=True)
class RuleSet:
    """All rules, with their version and the SHA-256 of all that decides."""

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
    detector: str | None = None

    def read(self, words: dict[str, str]) -> Rule:
        patterns = [self._spelled_out(pattern, words) for pattern in self.patterns]
        return Rule(
            self.name,
            self.weight,
            Strength(self.strength),
            self.secret,
            tuple(re.compile(pattern, re.DOTALL) for pattern in patterns),
            DETECTORS[self.detector] if self.detector else None,
        )

    @staticmethod
    def _spelled_out(pattern: str, words: dict[str, str]) -> str:
        for word, meaning in words.items():
            pattern = pattern.replace(f"%{word}%", meaning)
        return pattern


class _Written(BaseModel):
    """The schema of the file; anything else in it is an error at start, not a rule that never fires."""

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
        digest=canonical_digest([hashlib.sha256(body).hexdigest(), [*PATTERNS]]),
        limits=limits,
        risk=tuple(rule.read(written.words) for rule in written.risk),
        benign=tuple(rule.read(written.words) for rule in written.benign),
    )


# Rules that fire on text that rules cannot read.
_UNREADABLE = frozenset({"unfamiliar_script", "opaque_block"})


@dataclass(frozen=True)
class Score:
    """The risk of one document by the rules.

    `risk` is the baseline plus the weights of `features`. `floor` is the risk by the firm rules alone (0 when
    none fired) and `firm` names them; `tampering` names the rules that saw an attempt to steer or deceive the
    reader. `unread`: rules cannot read part of the text. `legible`: there is something to read.
    """

    risk: float
    confidence: float
    features: tuple[Feature, ...]
    floor: float = 0.0
    firm: tuple[str, ...] = ()
    tampering: tuple[str, ...] = ()
    unread: bool = False
    legible: bool = True


def score(document: Document, rules: RuleSet, circumstances: str = "") -> Score:
    """Applies every rule to title and text, and the firm ones to `circumstances`, in linear time.

    Circumstances name people: a word in a name is no topic of the request, and lowers no risk.

    Text added on lines of its own never undoes a risk rule's match, so no instruction in the content lowers
    a risk: what sounds like one raises it.
    """
    text = Text.of(f"{document.title}\n{document.text}")
    beside = Text.of(circumstances)
    fired = []
    for rule in rules.risk:
        match = rule.match(text, rules.limits)
        if match is None and circumstances and rule.strength is not Strength.TOPIC:
            match = rule.match(beside, rules.limits)
        if match is not None:
            fired.append((rule, match))
    scored = _raised(fired, rules) if fired else _lowered(text, rules)
    return replace(scored, legible=is_legible(document.text))


def _raised(fired: list[tuple[Rule, Match]], rules: RuleSet) -> Score:
    risk = floor = rules.limits.baseline
    features = []
    for rule, match in fired:
        moved = (1.0 - risk) * match.weight
        risk += moved
        features.append(_feature(rule, moved, match))
        if rule.strength is not Strength.TOPIC:
            floor += (1.0 - floor) * match.weight
    firm = tuple(rule.name for rule, _ in fired if rule.strength is not Strength.TOPIC)
    unread = any(rule.name in _UNREADABLE for rule, _ in fired)
    # Several matches raise the confidence, firm ones more so; never to that of people.
    confidence = min(0.85, 0.45 + 0.05 * len(fired) + 0.05 * len(firm))
    return Score(
        risk=risk,
        confidence=confidence / 2 if unread else confidence,
        features=tuple(features),
        floor=floor if firm else 0.0,
        firm=firm,
        tampering=tuple(rule.name for rule, _ in fired if rule.strength is Strength.TAMPERING),
        unread=unread,
    )


def _lowered(text: Text, rules: RuleSet) -> Score:
    risk = rules.limits.baseline
    features = []
    for rule in rules.benign if len(text.written) <= rules.limits.benign_up_to else ():
        match = rule.match(text, rules.limits)
        if match is not None:
            moved = -risk * match.weight
            risk += moved
            features.append(_feature(rule, moved, match))
    # No match does not mean that nothing is there: the fewer matches, the lower the confidence.
    return Score(risk, 0.2 + 0.15 * min(len(features), 3), tuple(features))


def _feature(rule: Rule, weight: float, match: Match) -> Feature:
    return Feature(rule.name, weight, presentable(match.evidence.replace("\n", " "), EVIDENCE_LIMIT))


def explained(scored: Score, baseline: float) -> str:
    """Explains a score in words: the baseline, and each feature with its weight."""
    if not scored.features:
        return f"No rule fired, so it stays at {baseline:.2f}: unknown, which is not the same as safe."
    moves = "; ".join(
        f"{feature.name} {feature.weight:+.2f} (“{presentable(feature.evidence, 60)}”)"
        for feature in scored.features
    )
    return f"It starts at {baseline:.2f} (unknown). {moves}."
