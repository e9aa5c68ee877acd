"""The reader: what the rules find in a case, before anybody scores it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from placet_decision.domain import Case, Found
from placet_decision.providers.detectors import is_legible
from placet_decision.providers.diff_paths import diff_paths
from placet_decision.providers.rules import RuleSet, Score, score

READER = "reader/1"
# Longer text is read off the event loop, because it would delay other calls.
_OFF_LOOP_FROM = 50_000


@dataclass(frozen=True)
class Reading:
    """What was found. `legible`: the content holds text that is shown. `score`: that of the rules."""

    legible: bool
    score: Score
    found: Found


async def read(case: Case, rules: RuleSet) -> Reading:
    """Reads all that a model is shown."""
    if len(case.document.title) + len(case.document.text) < _OFF_LOOP_FROM:
        return _read(case, rules)
    return await asyncio.to_thread(_read, case, rules)


def _read(case: Case, rules: RuleSet) -> Reading:
    document = case.document
    scored = score(document, rules, case.circumstances)
    found = Found(
        amounts=scored.amounts,
        firm=scored.firm,
        tampering=scored.tampering,
        # What was not read may be of any form.
        form=scored.form if document.whole else "",
        paths=diff_paths(document.text) if document.whole and document.media_type == "text/x-diff" else None,
    )
    return Reading(is_legible(document.text), scored, found)
