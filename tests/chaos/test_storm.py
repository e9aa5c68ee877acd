"""Kills at random while people decide."""

from __future__ import annotations

import pytest

from placet_testing.chaos.random_kills import random_kills
from placet_testing.stack import Stack

pytestmark = pytest.mark.integration


@pytest.mark.timeout(600)
async def test_no_decision_is_lost_doubled_or_contradicted_under_random_kills(stack: Stack) -> None:
    run = await random_kills(stack, decisions=150, kills=20, seed=1)
    assert run.faults == []
    assert run.decisions == 150
    assert run.kills.total() >= 20
