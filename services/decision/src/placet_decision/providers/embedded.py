"""The built-in provider: explainable rules, applied in milliseconds, without a network."""

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
from placet_decision.providers.rules import Score, explained, rule_set
from placet_decision.providers.scorer import score_by_built_in_rules
from placet_jobs import JobRunner, Limits, OverLimit

_NO_TEXT = "The content holds no text that rules can read."
# Longer text is scored in a child process. Scoring takes up to 10 s a mebibyte, so this takes 40 ms at worst.
INLINE_CHARACTERS = 4096
# Shorter than an activity's attempt: of a content that takes longer, an abstention is the answer.
LIMITS = Limits(cpu_seconds=20, seconds=40)


class NotScored(Exception):
    """The rules could not read the content within their limits. Its text says so, for people."""


class EmbeddedProvider:
    """Assesses and decides by rules alone. Deep is quick here, and the answer says so."""

    name = "embedded"
    deep_available = False

    def __init__(self, limits: Limits = LIMITS) -> None:
        """`limits`: of scoring one long content."""
        self.rules = rule_set()
        self._jobs = JobRunner([score_by_built_in_rules.__module__], limits)
        self._model = f"placet-rules/{self.rules.version}"
        self._how = f"by rules ({self._model}), not by a learned model"

    async def assess(self, case: Case, mode: Mode, budget: float) -> Assessment:
        """The risk by the rules; an abstention where they can read nothing, or not within their limits."""
        try:
            scored = await self.score(case)
        except NotScored as error:
            return no_assessment(Mode.QUICK, str(error), self._provenance(case))
        if not scored.legible:
            return no_assessment(Mode.QUICK, _NO_TEXT, self._provenance(case))
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
        try:
            scored = await self.score(case)
        except NotScored as error:
            return no_decision(str(error), self._provenance(case))
        if not scored.legible:
            return no_decision(_NO_TEXT, self._provenance(case))
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
        """The score of all that a model is shown, by the rules. Raises NotScored.

        Raises ResourceExhausted (TENANT_BUSY) while too many contents of the tenant wait to be scored.
        """
        document, circumstances = case.document, case.circumstances
        if len(document.title) + len(document.text) + len(circumstances) <= INLINE_CHARACTERS:
            return score_by_built_in_rules(document, circumstances)
        try:
            return await self._jobs.run(case.account.tenant, score_by_built_in_rules, document, circumstances)
        except OverLimit:
            raise NotScored("The content takes too long or too much memory for the rules to read.") from None

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
