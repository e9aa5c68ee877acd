"""The rules that make a result usable."""

import math
from dataclasses import replace

import pytest

from placet_decision.domain import (
    AiDecision,
    Assessment,
    Case,
    Document,
    Found,
    Mode,
    PreScreen,
    Priority,
    Provenance,
    Result,
    Verdict,
    is_score,
    presentable,
    raise_to_floor,
    withhold_approval,
)

PROVENANCE = Provenance("openai", "model-1", b"p" * 32, b"i" * 32)
TAMPERED = Found(firm=("prompt_injection",), tampering=("prompt_injection",))
CASE = Case(Document("Title", "Text", "text/plain"))


def _decision(verdict: Verdict) -> AiDecision:
    return AiDecision(Result.DECIDED, verdict, 0.9, "Because.", PROVENANCE)


def _assessment(risk: float) -> Assessment:
    return Assessment(Result.DECIDED, Mode.DEEP, risk, 0.9, "Because.", PROVENANCE)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, -0.01, 1.01, 1e300])
def test_what_is_no_score_is_not_clamped_into_one(value: float) -> None:
    assert not is_score(value)


@pytest.mark.parametrize("value", [0.0, 0.3, 1.0])
def test_a_score_lies_between_0_and_1(value: float) -> None:
    assert is_score(value)


def test_an_approval_of_tampered_content_becomes_an_abstention() -> None:
    held = withhold_approval(_decision(Verdict.APPROVE), TAMPERED)
    assert (held.result, held.verdict, held.confidence) == (Result.ABSTAINED, None, 0.0)
    assert "prompt_injection" in held.reasoning


def test_a_rejection_of_tampered_content_stands() -> None:
    rejection = _decision(Verdict.REJECT)
    assert withhold_approval(rejection, TAMPERED) is rejection


@pytest.mark.parametrize("finding", ["amount", "bank_details", "destructive_command"])
def test_an_approval_against_a_firm_finding_becomes_an_abstention(finding: str) -> None:
    held = withhold_approval(_decision(Verdict.APPROVE), Found(firm=(finding,)))
    assert (held.result, held.verdict, held.confidence) == (Result.ABSTAINED, None, 0.0)
    assert held.reasoning == (
        f"The AI would have approved, but the content carries {finding}, which no AI approves: "
        "an abstention. It said: Because."
    )


def test_an_approval_of_clean_content_stands() -> None:
    approval = _decision(Verdict.APPROVE)
    assert withhold_approval(approval, Found(form="menu")) is approval


def test_firm_rules_are_a_floor_under_a_models_risk() -> None:
    assessment = raise_to_floor(_assessment(0.02), 0.7, ("bank_details",))
    assert assessment.risk == 0.7
    assert "0.02" in assessment.reasoning
    assert "bank_details" in assessment.reasoning


def test_a_model_may_raise_a_risk_above_the_floor() -> None:
    assessment = _assessment(0.95)
    assert raise_to_floor(assessment, 0.7, ("bank_details",)) is assessment


@pytest.mark.parametrize(
    "other",
    [
        Case(Document("Title2", "Text", "text/plain")),
        Case(Document("Title", "Text2", "text/plain")),
        Case(Document("Title", "Text", "text/markdown")),
        Case(Document("Title", "Text", "text/plain", facts=(("kind", "payment"),))),
        replace(CASE, priority=Priority.HIGH),
        replace(CASE, pre_screen=PreScreen(0.1, 0.2, "m")),
        replace(CASE, circumstances="Nobody responded"),
    ],
)
def test_the_input_digest_covers_everything_that_is_read(other: Case) -> None:
    assert other.digest() != CASE.digest()
    assert len(CASE.digest()) == 32


def test_the_input_digest_can_be_recomputed() -> None:
    assert Case(Document("Title", "Text", "text/plain")).digest() == CASE.digest()


def test_what_people_are_shown_holds_nothing_that_they_cannot_see() -> None:
    shown = presentable("a\u202eb\x1b[31mc\u200bd\x00e\ud800", 100)
    assert shown == "a b [31mc d e"


def test_what_people_are_shown_is_cut_where_its_bound_lies() -> None:
    assert len(presentable("word " * 2000, 4000)) == 4000
