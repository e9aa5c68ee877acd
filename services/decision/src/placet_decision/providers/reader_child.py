"""Preloaded by the fork server of the reader's child processes, so that all patterns are compiled once."""

from __future__ import annotations

from placet_decision.domain import Document
from placet_decision.providers.reader import read_document

# Some patterns are compiled where a text first needs them.
read_document(Document("", "\u0430b \u202e", "text/plain"), "")
