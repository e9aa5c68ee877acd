"""Providers of assessments and decisions: reader, scorer (rules or a language model), floor, withhold."""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol, TypeVar

from placet_decision.domain import (
    AiDecision,
    Assessment,
    Case,
    Mode,
    no_assessment,
    no_decision,
    raise_to_floor,
    withhold_approval,
)
from placet_decision.providers.reader import READER, NotRead, Reader, Reading
from placet_decision.providers.rules_scorer import RulesScorer

FLOOR, WITHHOLD = "floor/1", "withhold/1"

_Result = TypeVar("_Result", Assessment, AiDecision)


class Scorer(Protocol):
    """Scores cases and decides on them. Every method is safe to call concurrently.

    An unusable answer is an abstention, and so is content that cannot be read within its limits. Raises, of
    `placet_rpc.errors`: Unavailable with reason MODEL_UNAVAILABLE if a model gives no answer within `budget`
    seconds, and with TOKEN_BUDGET_SPENT for a tenant's spent budget; ResourceExhausted with TENANT_BUSY while
    too many calls of the tenant wait for their turn.
    """

    @property
    def name(self) -> str:
        """Its name in provenance: "embedded" or "openai"."""

    @property
    def part(self) -> str:
        """Its name as a part, with its version: "rules/1"."""

    async def assess(self, case: Case, reading: Reading, budget: float) -> Assessment:
        """Assesses the risk. The answer's mode is the one that was used."""

    async def decide(self, case: Case, reading: Reading, budget: float) -> AiDecision:
        """Approves, rejects or abstains in place of people who did not answer."""

    async def close(self) -> None:
        """Closes connections."""


class Provider:
    """Assesses and decides, in parts. What the reader finds firmly, no scorer can undo.

    The floor raises a risk to that of the firm rules alone; withhold turns an approval against a firm finding
    into an abstention.
    """

    def __init__(self, scorer: Scorer | None = None, reader: Reader | None = None) -> None:
        """`scorer`: for deep assessments and decisions; default the rules, which also do the quick ones."""
        self._rules = RulesScorer()
        self._reader = reader or Reader()
        self._scorer: Scorer = scorer or self._rules

    @property
    def name(self) -> str:
        """The scorer's name in provenance."""
        return self._scorer.name

    @property
    def deep_available(self) -> bool:
        """True if a deep assessment differs from a quick one."""
        return self._scorer is not self._rules

    async def assess(self, case: Case, mode: Mode, budget: float) -> Assessment:
        """The risk, never below that of the firm rules; an abstention for content that rules cannot read.

        Raises what reader and scorer raise.
        """
        scorer = self._scorer if mode is Mode.DEEP else self._rules
        try:
            reading = await self._reader.read(case)
        except NotRead as error:
            return no_assessment(mode, str(error), self._rules.provenance(case))
        assessment = await scorer.assess(case, reading, budget)
        raised = raise_to_floor(assessment, reading.score.floor, reading.score.firm)
        return _explained(raised, reading, scorer, FLOOR)

    async def decide(self, case: Case, budget: float) -> AiDecision:
        """The decision, never an approval against a firm finding; an abstention for what was not read.

        Raises what reader and scorer raise.
        """
        try:
            reading = await self._reader.read(case)
        except NotRead as error:
            return no_decision(str(error), self._rules.provenance(case))
        decision = await self._scorer.decide(case, reading, budget)
        return _explained(withhold_approval(decision, reading.found), reading, self._scorer, WITHHOLD)

    async def close(self) -> None:
        """Closes the scorer's connections."""
        await self._scorer.close()


def _explained(result: _Result, reading: Reading, scorer: Scorer, last: str) -> _Result:
    """The result with its findings and the parts that made it."""
    provenance = replace(result.provenance, parts=(READER, scorer.part, last))
    return replace(result, provenance=provenance, found=reading.found)
