"""The built-in scorer: explainable rules, applied in milliseconds, without a network."""

from __future__ import annotations

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
from placet_decision.providers.reader import Reading
from placet_decision.providers.rules import RuleSet, Score, explained, rule_set

_NO_TEXT = "The content holds no text that rules can read."


class RulesScorer:
    """Assesses and decides by rules alone. Deep is quick here, and the answer says so."""

    name = "embedded"

    def __init__(self, rules: RuleSet | None = None) -> None:
        """`rules`: default the built-in ones."""
        self.rules = rules or rule_set()
        self.part = f"rules/{self.rules.version}"
        self._model = f"placet-rules/{self.rules.version}"
        self._how = f"by rules ({self._model}), not by a learned model"

    async def assess(self, case: Case, reading: Reading, budget: float) -> Assessment:
        """The risk by the rules; an abstention where there is nothing to read. Never unavailable."""
        if not reading.legible:
            return no_assessment(Mode.QUICK, _NO_TEXT, self.provenance(case))
        scored = reading.score
        why = f"Risk {scored.risk:.2f} {self._how}. {explained(scored, self.rules.limits.baseline)}"
        return Assessment(
            Result.DECIDED,
            Mode.QUICK,
            scored.risk,
            scored.confidence,
            presentable(why, REASONING_LIMIT),
            self.provenance(case),
            scored.features,
        )

    async def decide(self, case: Case, reading: Reading, budget: float) -> AiDecision:
        """Approves what is clearly safe, rejects what is clearly risky, and abstains between the two.

        A guess in the middle is the policy's to make. Neither priority nor silence lowers the limits, and an
        approval must not contradict the pre-screen.
        """
        if not reading.legible:
            return no_decision(_NO_TEXT, self.provenance(case))
        scored = reading.score
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
            self.provenance(case),
            scored.features,
        )

    async def close(self) -> None:
        """Nothing to close."""

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

    def provenance(self, case: Case) -> Provenance:
        """The origin of what the rules say of a case."""
        return Provenance(self.name, self._model, self.rules.digest, case.digest())
