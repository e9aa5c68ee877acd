"""Silence, by a clock that jumps from one timer to the next, so that a second is a second on any machine."""

from __future__ import annotations

import asyncio
import logging
import selectors
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import Any

import pytest

from placet_witness.domain import Alarm, Kind

# Types of conftest, which tests cannot import by name.
FakeLog = Any
Watched = Any
Witness = Any

INTERVAL = 10.0
EPOCH = 1_700_000_000.0
# Of the loop's clock, not of the machine's.
SOON = 0.01


class Jumping(asyncio.SelectorEventLoop):
    """A loop that waits for nothing but its own timers."""

    def __init__(self) -> None:
        self.now = 0.0
        super().__init__(_Jumps(self))

    def time(self) -> float:
        """Its own clock, in seconds."""
        return self.now


class _Jumps(selectors.SelectSelector):
    def __init__(self, loop: Jumping) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        assert timeout is not None, "nothing would ever happen again"
        self._loop.now += max(0.0, timeout)
        return super().select(0)


def in_no_time(scene: Callable[[Jumping], Coroutine[Any, Any, None]]) -> None:
    """Plays a scene on such a loop."""
    with asyncio.Runner(loop_factory=Jumping) as runner:
        loop = runner.get_loop()
        assert isinstance(loop, Jumping)
        runner.run(scene(loop))


async def until(ask: Callable[[], object], loop: Jumping, within: float) -> float:
    """The loop's time when the answer is true at last."""
    deadline = loop.now + within
    while not ask():
        assert loop.now <= deadline, f"not within {within} s"
        await asyncio.sleep(SOON / 2)
    return loop.now


def alarm_of(witness: Witness) -> Kind | None:
    """The alarm that is on."""
    alarm: Alarm | None = witness.status.alarm
    return None if alarm is None else alarm.kind


def refuse(log: FakeLog) -> None:
    log.refusing = True


def hang(log: FakeLog) -> None:
    log.hanging = True


def prove_nothing(log: FakeLog) -> None:
    log.grow()
    log.unproven = True


@pytest.mark.parametrize("fall_silent", [refuse, hang, prove_nothing])
@pytest.mark.parametrize("moment", [0.0, 0.5, 3.3, 5.0, 6.7, 9.9, 12.3])
def test_silence_is_an_alarm_within_one_interval_of_its_beginning(
    watched: Watched, fall_silent: Callable[[FakeLog], None], moment: float
) -> None:
    async def scene(loop: Jumping) -> None:
        with watched.witness(interval=INTERVAL, clock=lambda: EPOCH + loop.now) as witness:
            watching = asyncio.create_task(witness.watch())
            await asyncio.sleep(SOON + moment)
            assert alarm_of(witness) is None
            heard = witness.status.last_success
            begun = loop.now
            fall_silent(watched.log)
            alarmed = await until(lambda: alarm_of(witness), loop, INTERVAL + SOON)
            assert alarmed - begun <= INTERVAL + SOON
            # And not before it is one.
            assert alarmed - (heard.timestamp() - EPOCH) >= INTERVAL - SOON
            assert alarm_of(witness) is Kind.SILENCE
            assert witness.status.alarm.since == heard
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)

    in_no_time(scene)


@pytest.mark.parametrize("fall_silent", [refuse, hang])
@pytest.mark.parametrize("moment", [0.0, 2.0, 3.3, 5.0, 6.6])
def test_one_look_that_fails_is_no_alarm(
    watched: Watched, fall_silent: Callable[[FakeLog], None], moment: float
) -> None:
    async def scene(loop: Jumping) -> None:
        with watched.witness(interval=INTERVAL, clock=lambda: EPOCH + loop.now) as witness:
            watching = asyncio.create_task(witness.watch())
            await asyncio.sleep(SOON + moment)
            fall_silent(watched.log)
            await asyncio.sleep(INTERVAL / 3 - SOON)
            watched.log.refusing = watched.log.hanging = False
            for _ in range(200):
                assert alarm_of(witness) is None
                await asyncio.sleep(0.1)
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)

    in_no_time(scene)


def test_silence_is_said_once_when_it_begins_and_once_when_it_ends(
    watched: Watched, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)

    async def scene(loop: Jumping) -> None:
        with watched.witness(interval=INTERVAL, clock=lambda: EPOCH + loop.now) as witness:
            watching = asyncio.create_task(witness.watch())
            await asyncio.sleep(1)
            watched.log.refusing = True
            await asyncio.sleep(100)
            written = (watched.path / "status.json").read_text()
            assert '"kind": "SILENCE"' in written
            assert "it is away" in written
            watched.log.refusing = False
            watched.log.grow(2)
            await until(lambda: alarm_of(witness) is None, loop, INTERVAL)
            assert witness.status.size == 5
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)

    in_no_time(scene)
    said = [
        (record.levelname, record.getMessage())
        for record in caplog.records
        if record.name.startswith("placet_witness")
    ]
    assert said == [("ERROR", "SILENCE begins: it is away"), ("INFO", "SILENCE ends")]


def test_a_log_that_never_answered_is_silent_since_the_witness_asks(watched: Watched) -> None:
    async def scene(loop: Jumping) -> None:
        watched.log.refusing = True
        with watched.witness(interval=INTERVAL, clock=lambda: EPOCH + loop.now) as witness:
            watching = asyncio.create_task(witness.watch())
            assert await until(lambda: alarm_of(witness), loop, INTERVAL + SOON) >= INTERVAL
            assert witness.status.alarm == Alarm(
                Kind.SILENCE, datetime.fromtimestamp(EPOCH, UTC), "it is away"
            )
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)

    in_no_time(scene)


def test_a_rollback_during_a_silence_is_the_graver_alarm_and_silence_after_it_changes_nothing(
    watched: Watched,
) -> None:
    async def scene(loop: Jumping) -> None:
        with watched.witness(interval=INTERVAL, clock=lambda: EPOCH + loop.now) as witness:
            watching = asyncio.create_task(witness.watch())
            await asyncio.sleep(1)
            watched.log.refusing = True
            await asyncio.sleep(INTERVAL * 2)
            assert alarm_of(witness) is Kind.SILENCE
            watched.log.refusing = False
            watched.log.roll_back(1)
            begun = loop.now
            alarmed = await until(lambda: alarm_of(witness) is Kind.ROLLBACK, loop, INTERVAL)
            assert alarmed - begun <= INTERVAL
            asked = watched.log.asked
            await asyncio.sleep(INTERVAL * 3)
            assert alarm_of(witness) is Kind.ROLLBACK
            assert watched.log.asked == asked
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)

    in_no_time(scene)


@pytest.mark.parametrize("moment", [0.0, 1.0, 3.4, 9.0])
def test_a_fork_is_an_alarm_within_one_interval(watched: Watched, moment: float) -> None:
    async def scene(loop: Jumping) -> None:
        with watched.witness(interval=INTERVAL, clock=lambda: EPOCH + loop.now) as witness:
            watching = asyncio.create_task(witness.watch())
            await asyncio.sleep(SOON + moment)
            watched.log.roll_back(2)
            watched.log.grow(4, "another")
            begun = loop.now
            alarmed = await until(lambda: alarm_of(witness), loop, INTERVAL)
            assert alarmed - begun <= INTERVAL
            assert alarm_of(witness) is Kind.FORK
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)

    in_no_time(scene)
