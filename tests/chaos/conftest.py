"""One breakable stack for all crash tests of a file."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from placet_testing.stack import Stack, running_test_stack


@pytest.fixture(scope="session")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """The real server, services and workers, with failpoints."""
    async with running_test_stack(tmp_path_factory.mktemp("stack")) as running:
        yield running
