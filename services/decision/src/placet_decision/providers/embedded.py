"""The built-in provider: explainable rules, applied in milliseconds, without a network."""

from __future__ import annotations

import asyncio

from placet_decision.domain import (
    REASONING_LIMIT,
    AiDecision,
    Assessment,
    Case,
    Mode,
    Provenance,
    Result,
    Verdict,
    no_assessment,
    no_decision,
    presentable,
)
from placet_decision.providers.detectors import is_legible
from placet_decision.providers.rules import RuleSet, Score, explained, rule_set, score

_NO_TEXT = "The content holds no text that rules can read."
# Longer text is scored off the event loop, because it would delay other calls.
_OFF_LOOP_FROM = 50_000


class EmbeddedProvider:
    """Assesses and decides by rules alone. Deep is quick here, and the answer says so."""

    name = "embedded"
    deep_available = False

    def __init__(self, rules: RuleSet | None = None) -> None:
        """`rules`: default the built-in ones."""
        self.rules = rules or rule_set()
        self._model = f"placet-rules/{self.rules.version}"
        self._how = f"by rules ({self._model}), not by a learned model"

    async def assess(self, case: Case, mode: Mode, budget: float) -> Assessment:
        """The risk by the rules; an abstention where there is nothing to read. Never unavailable."""
        if not is_legible(case.document.text):
            return no_assessment(Mode.QUICK, _NO_TEXT, self._provenance(case))
        scored = await self.score(case)
        why = f"Risk {scored.risk:.2f} {self._how}. {explained(scored, self.rules.limits.baseline)}"
        return Assessment(
            Result.DECIDED,
            Mode.QUICK,
            scored.risk,
            scored.confidence,
            presentable(why, REASONING_LIMIT),
            self._provenance(case),
            scored.features,
        )

    async def decide(self, case: Case, budget: float) -> AiDecision:
        """Approves what is clearly safe, rejects what is clearly risky, and abstains between the two.

        A guess in the middle is the policy's to make. Neither priority nor silence lowers the limits, and an
        approval must not contradict the pre-screen.
        """
        if not is_legible(case.document.text):
            return no_decision(_NO_TEXT, self._provenance(case))
        scored = await self.score(case)
        verdict, why = self._verdict(scored, case)
        reasoning = (
            f"{why} Decided {self._how}: risk {scored.risk:.2f}. "
            f"{explained(scored, self.rules.limits.baseline)}"
        )
        return AiDecision(
            Result.DECIDED if verdict else Result.ABSTAINED,
            verdict,
            scored.confidence if verdict else 0.0,
            presentable(reasoning, REASONING_LIMIT),
            self._provenance(case),
            scored.features,
        )

    async def close(self) -> None:
        """Nothing to close."""

    async def score(self, case: Case) -> Score:
        """The score of all that a model is shown, by the rules; off the event loop for a long document."""
        if len(case.document.title) + len(case.document.text) < _OFF_LOOP_FROM:
            return score(case.document, self.rules, case.circumstances)
        return await asyncio.to_thread(score, case.document, self.rules, case.circumstances)

    def _verdict(self, scored: Score, case: Case) -> tuple[Verdict | None, str]:
        low, high = self.rules.limits.approve_below, self.rules.limits.reject_from
        if scored.unread:
            return None, "Abstained: rules cannot read part of the content."
        if scored.risk >= high:
            return Verdict.REJECT, f"Rejected: the risk is not below {high:.2f}."
        if scored.risk >= low:
            return None, f"Abstained: between {low:.2f} and {high:.2f} rules do not decide."
        if case.pre_screen and case.pre_screen.risk >= low:
            seen = case.pre_screen.risk
            return None, f"Abstained: the rules see little risk, but the pre-screen saw {seen:.2f}."
        return Verdict.APPROVE, f"Approved: the risk is below {low:.2f}."

    def _provenance(self, case: Case) -> Provenance:
        return Provenance(self.name, self._model, self.rules.digest, case.digest())
