"""Scenario 7: a decision that races the end of the wait has one outcome, and its loser is told which."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from placet_testing.chaos.races import RaceStack, Rival, race_stack, races

pytestmark = pytest.mark.integration

# The long run (`make chaos`) holds a thousand of each.
RACES = 60


@pytest.fixture(scope="module")
async def stack_of_races(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RaceStack]:
    """The real stack with fast clocks, and an AI that answers when it is told to."""
    async with race_stack(tmp_path_factory.mktemp("races")) as running:
        yield running


@pytest.mark.timeout(600)
@pytest.mark.parametrize("rival", Rival)
async def test_7_a_decision_that_races_the_end_has_one_outcome_and_the_loser_is_told_which(
    stack_of_races: RaceStack, rival: Rival
) -> None:
    held = await races(stack_of_races, rival, RACES)
    assert held.faults == []
    assert held.run == RACES
    # Else they were not aligned, and proved nothing.
    assert min(held.won_by_person, held.won_by_rival) >= RACES // 12, held
