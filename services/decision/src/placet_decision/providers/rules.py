"""The rule set in `rules.toml`, and the score that it gives a document. Pure but for reading that file."""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
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
    largest_amounts,
    normalized,
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
class Form:
    """A form of which a whole text can consist. `risk` in [0, 1): that of such a text."""

    name: str
    risk: float
    least_words: int
    characters: int
    words: frozenset[str]

    def fits(self, title: Text, text: Text) -> bool:
        """Tells whether title and text hold nothing but known words, small numbers and separating marks."""
        if len(title.written) + len(text.written) > self.characters:
            return False
        whole = f"{title.matched}\n{text.matched}"
        return (
            _LISTED.fullmatch(whole) is not None
            and _LONG_NUMBER.search(whole) is None
            and self.words.issuperset(_WORDS.findall(whole))
            and len(_WORDS.findall(text.matched)) >= self.least_words
        )


# Lines of letters, digits and separating marks, which may begin as headings and items do.
_LISTED = re.compile(r"(?m)(?:^[ \t]*(?:[-*•–]|#{1,6})?(?:[^\W_]|[ \t\r,.;:&()'’-])*(?:\n|\Z))*")
_WORDS = re.compile(r"[^\W\d_]+")
# A number of more than two digits, or with decimals.
_LONG_NUMBER = re.compile(r"\d{3}|\d[.,]\d")
_FORM_PATTERNS = (_LISTED.pattern, _LONG_NUMBER.pattern)


@dataclass(frozen=True)
class RuleSet:
    """All rules, with their version and the SHA-256 of all that decides."""

    version: str
    digest: bytes
    limits: Limits
    risk: tuple[Rule, ...]
    forms: tuple[Form, ...]


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


class _WrittenForm(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    name: str
    risk: float = Field(ge=0, lt=1)
    least_words: int = Field(ge=1)
    characters: int = Field(ge=1)
    words: str

    def read(self) -> Form:
        words = frozenset(normalized(self.words).split())
        return Form(self.name, self.risk, self.least_words, self.characters, words)


class _Written(BaseModel):
    """The schema of the file; anything else in it is an error at start, not a rule that never fires."""

    model_config = ConfigDict(extra="forbid", strict=True)

    version: str
    limits: dict[str, float | int]
    amounts: dict[str, float]
    words: dict[str, str]
    risk: list[_WrittenRule]
    currencies: dict[str, list[str]]
    forms: list[_WrittenForm]


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
        long_from=int(written.limits["long_from"]),
        foreign_letters_from=int(written.limits["foreign_letters_from"]),
        currencies={code: tuple(patterns) for code, patterns in written.currencies.items()},
        amounts=tuple(ladder),
    )
    words = {**written.words, "currency": limits.currency}
    return RuleSet(
        version=written.version,
        digest=canonical_digest([hashlib.sha256(body).hexdigest(), [*PATTERNS, *_FORM_PATTERNS]]),
        limits=limits,
        risk=tuple(rule.read(words) for rule in written.risk),
        forms=tuple(form.read() for form in written.forms),
    )


# Rules that fire on text that rules cannot read.
_UNREADABLE = frozenset({"unfamiliar_script", "opaque_block"})


@dataclass(frozen=True)
class Score:
    """The risk of one document by the rules.

    `risk` is the baseline plus the weights of `features`. `floor` is the risk by the firm rules alone (0 when
    none fired) and `firm` names them; `tampering` names the rules that saw an attempt to steer or deceive the
    reader. `unread`: rules cannot read part of the text. `form`: the name of the form that the text has.
    `amounts`: the largest of each currency.
    """

    risk: float
    confidence: float
    features: tuple[Feature, ...]
    floor: float = 0.0
    firm: tuple[str, ...] = ()
    tampering: tuple[str, ...] = ()
    unread: bool = False
    form: str = ""
    amounts: Mapping[str, Decimal] = field(default_factory=dict)


def score(document: Document, rules: RuleSet, circumstances: str = "") -> Score:
    """Applies every rule to title, facts and text, and the firm ones to `circumstances`, in linear time.

    Circumstances name people: a word in a name is no topic of the request, and lowers no risk.

    Text added on lines of its own never undoes a risk rule's match, so no instruction in the content lowers
    a risk: what sounds like one raises it.
    """
    title, body = Text.of(document.title), Text.of(document.text)
    facts = "".join(f"{name}: {value}\n" for name, value in document.facts)
    text = Text.of(f"{document.title}\n{facts}{document.text}")
    beside = Text.of(circumstances)
    fired = []
    for rule in rules.risk:
        match = rule.match(text, rules.limits)
        if match is None and circumstances and rule.strength is not Strength.TOPIC:
            match = rule.match(beside, rules.limits)
        if match is not None:
            fired.append((rule, match))
    scored = _raised(fired, rules) if fired else _unknown(title, body, rules)
    return replace(scored, amounts=largest_amounts(text, rules.limits))


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


def _unknown(title: Text, text: Text, rules: RuleSet) -> Score:
    """The score of what no rule knows: the baseline, or that of its form. No match is not "nothing there"."""
    baseline = rules.limits.baseline
    for form in rules.forms:
        if form.fits(title, text):
            feature = Feature(form.name, form.risk - baseline, "title and text hold known words alone")
            return Score(form.risk, 0.5, (feature,), form=form.name)
    return Score(baseline, 0.2, ())


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
