"""Kills at random while people decide."""

from __future__ import annotations

import pytest

from placet_testing.chaos.random_kills import storm
from placet_testing.stack import Stack

pytestmark = pytest.mark.integration


@pytest.mark.timeout(600)
async def test_no_decision_is_lost_doubled_or_contradicted_under_random_kills(stack: Stack) -> None:
    damage = await storm(stack, decisions=150, kills=20, seed=1)
    assert damage.faults == []
    assert damage.decisions == 150
    assert damage.kills.total() >= 20
