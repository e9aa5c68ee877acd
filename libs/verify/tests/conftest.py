"""Fixtures that several modules here share."""

from __future__ import annotations

import functools

import pytest

from placet_proof import Leaf, Note, VerifierKey
from placet_testing.sample_home import sample

__all__ = ["sample"]


@pytest.fixture
def unchanged_parts_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remembers verified signatures and parsed leaves and notes: most rows stay as they are."""
    for part, function in ((VerifierKey, "time_of"), (Leaf, "parse"), (Note, "parse")):
        monkeypatch.setattr(part, function, functools.lru_cache(getattr(part, function)))
