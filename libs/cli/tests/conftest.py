"""What several modules here share: a log to verify and to tamper with."""

from __future__ import annotations

import pytest

from placet_testing.tampering import SampleLog, make_sample


@pytest.fixture(scope="session")
async def sample(tmp_path_factory: pytest.TempPathFactory) -> SampleLog:
    """A log that a real AuditService wrote. No test changes it."""
    return await make_sample(tmp_path_factory.mktemp("sample") / "home")
