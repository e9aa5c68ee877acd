"""Results of AI steps, and the rules that make one usable. Pure: no I/O, no wire types, no database.

There are three results, not two: decided, abstained, unavailable. The first two are values of this module. A
model that cannot be reached gave no answer: that is the error `Unavailable`, never a result.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from enum import StrEnum

from placet_text import lines_of, without_hidden

REASONING_LIMIT = 4000
EVIDENCE_LIMIT = 200


class Result(StrEnum):
    """The result of an AI step."""

    DECIDED = "decided"
    ABSTAINED = "abstained"


class Mode(StrEnum):
    """The depth of a pre-screen: rules in milliseconds, or a language model in seconds."""

    QUICK = "quick"
    DEEP = "deep"


class Verdict(StrEnum):
    """A decision in place of the people who did not answer."""

    APPROVE = "approve"
    REJECT = "reject"


class Priority(StrEnum):
    """The urgency that the requester gave. It chooses waiting times and changes no verdict."""

    URGENT = "urgent"
    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"


@dataclass(frozen=True)
class Document:
    """The content to assess, as its requester wrote it: all of it untrusted.

    `whole` and `gaps`: what of the content `text` holds. A gap is the name of its kind and the number of its
    places. `facts`: what the requester declares of the action, by name.
    """

    title: str
    text: str
    media_type: str
    whole: bool = False
    gaps: tuple[tuple[str, int], ...] = ()
    facts: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class PreScreen:
    """An earlier assessment of the same content; `risk` and `confidence` in [0, 1]."""

    risk: float
    confidence: float
    model: str


@dataclass(frozen=True)
class Account:
    """The request that a call of a model is counted for, its tenant and its policy's name ("": not known)."""

    tenant: str = ""
    approval_id: str = ""
    policy: str = ""


@dataclass(frozen=True)
class Usage:
    """Tokens of one call: of the prompt, and of the answer."""

    prompt: int
    answer: int

    @property
    def total(self) -> int:
        """All tokens."""
        return self.prompt + self.answer


@dataclass(frozen=True)
class Case:
    """The input of a provider. `circumstances` carries names that people chose: untrusted too.

    `account` is not shown to a model, and changes no result.
    """

    document: Document
    priority: Priority = Priority.NORMAL
    pre_screen: PreScreen | None = None
    circumstances: str = ""
    account: Account = Account()

    def digest(self) -> bytes:
        """SHA-256 of all that decides, in canonical form, so that it can be recomputed."""
        seen = self.pre_screen
        return canonical_digest(
            {
                "title": self.document.title,
                "text": self.document.text,
                "media_type": self.document.media_type,
                "whole": self.document.whole,
                "gaps": [[kind, count] for kind, count in self.document.gaps],
                "facts": [[name, value] for name, value in self.document.facts],
                "priority": self.priority,
                "pre_screen": [seen.risk, seen.confidence, seen.model] if seen else None,
                "circumstances": self.circumstances,
            }
        )


@dataclass(frozen=True)
class Feature:
    """A feature of the content that moved a risk by `weight` in [-1, 1]; positive is riskier."""

    name: str
    weight: float
    evidence: str


@dataclass(frozen=True)
class Provenance:
    """The origin of a result. Digests are SHA-256: of the prompt's template or the rules, and of the case.

    `parts`: those that made it, each with its version, in their order.
    """

    provider: str
    model: str
    prompt_digest: bytes
    input_digest: bytes
    parts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Found:
    """Findings of the rules in a case, whoever scores it.

    `amounts`: the largest of each currency, by its code. `firm` and `tampering`: names of the rules that
    matched. `form`: that of the whole text. `paths`: of the files that a diff touches; None if they are not
    all known, or it is no diff.
    """

    amounts: Mapping[str, Decimal] = field(default_factory=dict)
    firm: tuple[str, ...] = ()
    tampering: tuple[str, ...] = ()
    form: str = ""
    paths: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Assessment:
    """An assessed risk in [0, 1], or an abstention (risk 0)."""

    result: Result
    mode: Mode
    risk: float
    confidence: float
    reasoning: str
    provenance: Provenance
    features: tuple[Feature, ...] = ()
    found: Found = Found()


@dataclass(frozen=True)
class AiDecision:
    """A decision in place of people who did not answer, or an abstention (no verdict)."""

    result: Result
    verdict: Verdict | None
    confidence: float
    reasoning: str
    provenance: Provenance
    features: tuple[Feature, ...] = ()
    found: Found = Found()


def no_assessment(mode: Mode, why: str, provenance: Provenance) -> Assessment:
    """An abstention without a risk, with its reason."""
    return Assessment(Result.ABSTAINED, mode, 0.0, 0.0, presentable(why, REASONING_LIMIT), provenance)


def no_decision(why: str, provenance: Provenance) -> AiDecision:
    """An abstention without a verdict, with its reason."""
    return AiDecision(Result.ABSTAINED, None, 0.0, presentable(why, REASONING_LIMIT), provenance)


def is_score(value: float) -> bool:
    """True if a number can be a risk or a confidence: finite, and in [0, 1]. Nothing is clamped to fit."""
    return math.isfinite(value) and 0.0 <= value <= 1.0


def presentable(text: str, limit: int) -> str:
    """`text` as people may see it: hidden characters become spaces, and it is at most `limit` long.

    A model's words are untrusted too: it may repeat what the content told it to say.
    """
    shown = "\n".join(without_hidden(line, " ") for line in lines_of(text[: 4 * limit])).strip()
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


def canonical_digest(value: object) -> bytes:
    """SHA-256 over the canonical JSON (sorted keys, no spaces, ASCII) of plain values."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode("ascii")).digest()


def withhold_approval(decision: AiDecision, found: Found) -> AiDecision:
    """Turns an approval against a firm finding into an abstention.

    Firm is a finding of the thing itself (an amount, bank details, a destructive command), or of an attempt
    to steer or deceive the reader. A rejection stands. What follows an abstention is up to the policy.
    """
    if decision.verdict is not Verdict.APPROVE or not found.firm:
        return decision
    carries = (
        f"{', '.join(found.tampering)} and may have steered it"
        if found.tampering
        else f"{', '.join(found.firm)}, which no AI approves"
    )
    why = (
        f"The AI would have approved, but the content carries {carries}: an abstention. "
        f"It said: {decision.reasoning}"
    )
    return replace(
        decision,
        result=Result.ABSTAINED,
        verdict=None,
        confidence=0.0,
        reasoning=presentable(why, REASONING_LIMIT),
    )


def raise_to_floor(assessment: Assessment, floor: float, reasons: tuple[str, ...]) -> Assessment:
    """Raises an assessed risk to that of the firm rules alone.

    A language model may raise a risk, or clear content that rules do not know. It cannot clear an account
    number that is there, because the content may have persuaded it.
    """
    if assessment.result is not Result.DECIDED or assessment.risk >= floor:
        return assessment
    why = (
        f"The model put the risk at {assessment.risk:.2f}; rules that saw {', '.join(reasons)} "
        f"keep it at {floor:.2f}. The model said: {assessment.reasoning}"
    )
    return replace(assessment, risk=floor, reasoning=presentable(why, REASONING_LIMIT))
