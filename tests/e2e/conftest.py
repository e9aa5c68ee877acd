"""One stack with fast clocks for all end-to-end tests of a file."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from placet_testing.stack import Stack, running_test_stack

# 2 h → 2.4 s, 4 h → 4.8 s, 24 h → 28.8 s.
CLOCK_SCALE = 3000


@pytest.fixture(scope="module")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """The real server, services and workers."""
    async with running_test_stack(tmp_path_factory.mktemp("stack"), clock_scale=CLOCK_SCALE) as running:
        yield running
