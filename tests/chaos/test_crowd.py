"""Scenario 11 in numbers: identical requests at once are one, for each of many keys."""

from __future__ import annotations

import pytest

from placet_testing.chaos.duplicates import send_duplicates
from placet_testing.stack import Stack

pytestmark = pytest.mark.integration

# The long run (`make chaos`) takes a hundred.
KEYS = 5


@pytest.mark.timeout(400)
async def test_11_a_hundred_identical_requests_at_once_make_one_workflow_for_each_key(stack: Stack) -> None:
    found = await send_duplicates(stack, KEYS)
    assert found.faults == []
    assert found.keys == found.workflows == KEYS
