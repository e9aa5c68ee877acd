"""Operators are told of a consumer of the log that is stuck for long, once, and of what it skipped."""

from __future__ import annotations

import dataclasses
from typing import Any, cast

import pytest

from placet_approval.adapters.notifications import Notifications
from placet_approval.consumer_monitor import MOST_TOLD, STUCK_SECONDS, ConsumerMonitor
from placet_logtail import Consumers, SkippedEntries, TailStatus
from placet_rpc.errors import Unavailable

WELL = TailStatus(consumer="view", tenant="home", position=7, end=7, leading=True, skipped=0, broken="")
STUCK = dataclasses.replace(WELL, broken="the disk is full")


class World:
    """The consumers, what they skipped, and the notifications that operators get, by key."""

    def __init__(self) -> None:
        self.status, self.now, self.away = WELL, 0.0, False
        self.skipped: list[tuple[int, str]] = []
        self.told: dict[str, str] = {}

    def statuses(self) -> list[TailStatus]:
        return [self.status]

    async def of(self, tenant: str, consumer: str, limit: int) -> list[tuple[int, str]]:
        return self.skipped[:limit]

    async def send_alarm(self, tenant: str, key: str, recipient: str, **words: str) -> None:
        if self.away:
            raise Unavailable("away")
        assert self.told.setdefault(key, words["reason"]) == words["reason"]

    def monitor(self) -> ConsumerMonitor:
        """A monitor, as after a start."""
        here = cast(Any, self)
        return ConsumerMonitor(
            cast(Consumers, here), cast(SkippedEntries, here), cast(Notifications, here), ["op@example.com"]
        )


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    made = World()
    monkeypatch.setattr("placet_approval.consumer_monitor.time.monotonic", lambda: made.now)
    return made


async def test_a_consumer_that_follows_is_healthy_and_raises_nothing(world: World) -> None:
    monitor = world.monitor()
    await monitor.run()
    assert monitor.follows("view")
    assert world.told == {}


async def test_one_that_is_stuck_is_unhealthy_at_once_and_an_alarm_when_it_lasts(world: World) -> None:
    monitor = world.monitor()
    world.status = STUCK
    await monitor.run()
    assert not monitor.follows("view")
    world.now += STUCK_SECONDS
    await monitor.run()
    await monitor.run()
    assert list(world.told.values()) == ["It cannot go on: the disk is full"]
    world.status = WELL
    await monitor.run()
    assert monitor.follows("view")


@pytest.mark.parametrize("between", [WELL, dataclasses.replace(STUCK, position=8)])
async def test_an_outage_that_passes_is_no_alarm(world: World, between: TailStatus) -> None:
    monitor = world.monitor()
    for status in (STUCK, between, STUCK):
        world.status = status
        await monitor.run()
        world.now += STUCK_SECONDS / 2
    assert world.told == {}


async def test_skipped_entries_are_told_once_whatever_restarts_and_not_without_end(world: World) -> None:
    world.skipped = [(index, f"fault {index}") for index in range(2 * MOST_TOLD)]
    for _ in range(2):
        monitor = world.monitor()
        await monitor.run()
        assert not monitor.follows("view")
    assert list(world.told.values()) == [f"It skipped the entry: fault {index}" for index in range(MOST_TOLD)]


async def test_who_cannot_be_told_is_told_later(world: World) -> None:
    world.skipped, world.away = [(3, "of no known kind")], True
    monitor = world.monitor()
    with pytest.raises(Unavailable):
        await monitor.run()
    assert not monitor.follows("view")
    world.away = False
    await monitor.run()
    assert len(world.told) == 1
