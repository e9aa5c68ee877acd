"""The reader: what the rules find in a case. Long content is read in a child process."""

from __future__ import annotations

from dataclasses import dataclass

from placet_decision.domain import Case, Document, Found
from placet_decision.providers.detectors import is_legible
from placet_decision.providers.diff_paths import diff_paths
from placet_decision.providers.rules import RuleSet, Score, rule_set, score
from placet_jobs import JobRunner, Limits, OverLimit

READER = "reader/1"
# Longer text is read in a child process. Reading takes up to 10 s a mebibyte, so this takes 40 ms at worst.
INLINE_CHARACTERS = 4096
# Shorter than an activity's attempt: of a content that takes longer, an abstention is the answer.
LIMITS = Limits(cpu_seconds=20, seconds=40)


class NotRead(Exception):
    """The rules could not read the content within their limits. Its text says so, for people."""


@dataclass(frozen=True)
class Reading:
    """Findings of the reader. `legible`: the content holds text that is shown. `score`: that of the rules."""

    legible: bool
    score: Score
    found: Found


class Reader:
    """Reads cases by the built-in rules: small ones at once, long ones in child processes, in turns."""

    def __init__(self, limits: Limits = LIMITS) -> None:
        """`limits`: of reading one long content."""
        self._jobs = JobRunner(["placet_decision.providers.reader_child"], limits)

    async def read(self, case: Case) -> Reading:
        """Reads all that a model is shown. Raises NotRead.

        Raises ResourceExhausted (TENANT_BUSY) while too many contents of the tenant wait to be read.
        """
        document, circumstances = case.document, case.circumstances
        facts = sum(len(name) + len(value) for name, value in document.facts)
        if len(document.title) + len(document.text) + len(circumstances) + facts <= INLINE_CHARACTERS:
            return read_document(document, circumstances)
        try:
            return await self._jobs.run(case.account.tenant, read_document, document, circumstances)
        except OverLimit:
            raise NotRead("The content takes too long or too much memory for the rules to read.") from None


def read_document(document: Document, circumstances: str, rules: RuleSet | None = None) -> Reading:
    """Reads a document, and what is known of its circumstances. `rules`: default the built-in ones."""
    scored = score(document, rules or rule_set(), circumstances)
    found = Found(
        amounts=scored.amounts,
        firm=scored.firm,
        tampering=scored.tampering,
        # A part that was not read may be of any form.
        form=scored.form if document.whole else "",
        paths=diff_paths(document.text) if document.whole and document.media_type == "text/x-diff" else None,
    )
    return Reading(is_legible(document.text), scored, found)
