"""Turns with the mail server: bounded, and nobody starves."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from placet_notification.turns import NoTurn, Party, Turns

ALICE = Party("default", "alice@example.com")
BOB = Party("default", "bob@example.com")
EVE = Party("other", "eve@example.com")


class Desk:
    """Holds turns until told otherwise."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self._leave: dict[asyncio.Task[None], asyncio.Event] = {}
        self.holding: list[Party] = []

    async def come(self, party: Party) -> asyncio.Task[None]:
        leave = asyncio.Event()

        async def visit() -> None:
            async with self._turns.turn(party, 60):
                self.holding.append(party)
                try:
                    await leave.wait()
                finally:
                    self.holding.remove(party)

        task = asyncio.create_task(visit())
        self._leave[task] = leave
        await settled()
        return task

    async def leave(self, task: asyncio.Task[None]) -> None:
        self._leave[task].set()
        await task
        await settled()

    async def close(self) -> None:
        for leave in self._leave.values():
            leave.set()
        await asyncio.gather(*self._leave, return_exceptions=True)


async def settled() -> None:
    # Everything here is decided within a few turns of the loop, and nothing by time.
    for _ in range(5):
        await asyncio.sleep(0)


async def test_there_are_never_more_than_the_limit() -> None:
    desk = Desk(Turns(3))
    tasks = [await desk.come(Party("default", str(number))) for number in range(5)]
    assert len(desk.holding) == 3
    await desk.leave(tasks[0])
    assert len(desk.holding) == 3
    await desk.close()
    assert desk.holding == []


async def test_one_recipient_never_holds_all() -> None:
    desk = Desk(Turns(3))
    for _ in range(10):
        await desk.come(ALICE)
    assert desk.holding == [ALICE, ALICE]
    await desk.come(BOB)
    assert desk.holding == [ALICE, ALICE, BOB]
    await desk.close()


async def test_a_single_turn_can_be_had_by_anybody() -> None:
    desk = Desk(Turns(1))
    first = await desk.come(ALICE)
    await desk.come(ALICE)
    assert desk.holding == [ALICE]
    await desk.leave(first)
    assert desk.holding == [ALICE]
    await desk.close()


async def test_a_tenant_that_waits_with_many_does_not_keep_another_one_out() -> None:
    desk = Desk(Turns(2))
    first = await desk.come(ALICE)
    await desk.come(BOB)
    for number in range(20):
        await desk.come(Party("default", f"{number}@example.com"))
    await desk.come(EVE)
    await desk.leave(first)
    assert EVE in desk.holding
    await desk.close()


async def test_one_turn_goes_round() -> None:
    desk = Desk(Turns(1))
    come = [ALICE, ALICE, ALICE, BOB, EVE, EVE]
    waiting = [(party, await desk.come(party)) for party in come]
    order = []
    while desk.holding:
        order.append(desk.holding[0])
        holder = next(pair for pair in waiting if pair[0] == order[-1])
        waiting.remove(holder)
        await desk.leave(holder[1])
    assert order == [ALICE, ALICE, EVE, BOB, EVE, ALICE]


async def test_whoever_stops_waiting_takes_no_turn_along() -> None:
    desk = Desk(Turns(1))
    first = await desk.come(ALICE)
    gone = await desk.come(BOB)
    gone.cancel()
    await settled()
    waiting = await desk.come(EVE)
    # The turn comes in the same moment in which its waiter is cancelled.
    desk._leave[first].set()
    await first
    waiting.cancel()
    await settled()
    await desk.come(BOB)
    assert desk.holding == [BOB]
    await desk.close()


async def test_waiting_for_a_turn_ends_in_time() -> None:
    turns = Turns(1)
    desk = Desk(turns)
    await desk.come(ALICE)
    with pytest.raises(NoTurn):
        async with turns.turn(BOB, 0.05):
            raise AssertionError("there was no turn to have")
    assert not turns._waiting
    await desk.close()


async def test_after_the_close_nobody_waits_and_whoever_holds_a_turn_keeps_it() -> None:
    turns = Turns(1)
    desk = Desk(turns)
    first = await desk.come(ALICE)
    gone, waiting = await desk.come(BOB), await desk.come(EVE)
    gone.cancel()  # In the same moment.
    turns.close()
    await settled()
    assert (desk.holding, gone.cancelled(), waiting.done()) == ([ALICE], True, True)
    with pytest.raises(NoTurn):
        await waiting
    await desk.leave(first)
    with pytest.raises(NoTurn):
        await (await desk.come(ALICE))
    assert (turns._free, turns._waiting) == (1, {})
    await desk.close()


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("xyz"), st.booleans()), max_size=40))
def test_whatever_happens_all_are_served_and_all_turns_come_back(visits: list[tuple[str, str, bool]]) -> None:
    async def run() -> None:
        turns = Turns(3)
        served = []

        async def visit(party: Party) -> None:
            async with turns.turn(party, 60):
                await asyncio.sleep(0)
                served.append(party)

        tasks = []
        for tenant, recipient, cancelled in visits:
            tasks.append(asyncio.create_task(visit(Party(tenant, recipient))))
            await asyncio.sleep(0)
            if cancelled:
                tasks[-1].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert len(served) >= sum(not cancelled for *_, cancelled in visits)
        assert turns._free == 3
        assert not turns._waiting
        assert not turns._of_tenant
        assert not turns._of_party

    asyncio.run(run())
