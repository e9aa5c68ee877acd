"""The score of a content by the built-in rules, as child processes compute it.

Their fork server imports this once, with all patterns compiled.
"""

from __future__ import annotations

from placet_decision.domain import Document
from placet_decision.providers.rules import Score, rule_set, score


def score_by_built_in_rules(document: Document, circumstances: str) -> Score:
    """See `score`."""
    return score(document, rule_set(), circumstances)


# Some patterns are compiled where a text first needs them.
score_by_built_in_rules(Document("", "\u0430b \u202e", "text/plain"), "")
