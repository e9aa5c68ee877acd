"""Fixtures that several modules here share."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from placet_testing.sample_home import sample

__all__ = ["sample"]


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Times are printed in the local zone, which is UTC here wherever the tests run."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()
