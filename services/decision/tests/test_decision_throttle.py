"""The throttle of a model: breaker, Retry-After and rate limit. The clock is the test's."""

import asyncio
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from placet_decision.providers.throttle import (
    _PAUSE,
    FAILURES_IN_A_ROW,
    FIRST_PAUSE,
    LONGEST_PAUSE,
    LONGEST_RETRY_AFTER,
    Paused,
    Throttle,
    retry_after,
)
from placet_jobs import WAITING
from placet_rpc.errors import ResourceExhausted


class Clock:
    """Seconds that a test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def throttle(clock: Clock) -> Throttle:
    return Throttle(60_000, clock)


async def fail(throttle: Throttle, times: int = 1, asked: float = 0.0) -> None:
    for _ in range(times):
        async with throttle.admitted("a", 0) as admission:
            admission.failed(asked)


async def answer(throttle: Throttle) -> None:
    async with throttle.admitted("a", 0) as admission:
        admission.answered()


async def paused(throttle: Throttle) -> float:
    """The seconds of the pause. An error where a call is admitted."""
    with pytest.raises(Paused) as raised:
        async with throttle.admitted("a", 0):
            pass
    return raised.value.seconds


async def test_failures_in_a_row_open_the_breaker_and_an_answer_between_them_does_not(
    throttle: Throttle,
) -> None:
    await fail(throttle, FAILURES_IN_A_ROW - 1)
    await answer(throttle)
    await fail(throttle, FAILURES_IN_A_ROW - 1)
    await answer(throttle)
    await fail(throttle, FAILURES_IN_A_ROW)
    assert await paused(throttle) == FIRST_PAUSE


async def test_after_the_pause_one_call_probes_and_its_answer_closes_the_breaker(
    throttle: Throttle, clock: Clock
) -> None:
    await fail(throttle, FAILURES_IN_A_ROW)
    clock.now += FIRST_PAUSE
    async with throttle.admitted("a", 0) as probe:
        assert await paused(throttle) > 0
        probe.answered()
    for _ in range(3):
        await answer(throttle)


async def test_a_failed_probe_opens_the_breaker_for_longer_up_to_a_bound(
    throttle: Throttle, clock: Clock
) -> None:
    await fail(throttle, FAILURES_IN_A_ROW)
    pauses = []
    for _ in range(8):
        pauses.append(await paused(throttle))
        clock.now += pauses[-1]
        await fail(throttle)
    assert pauses[:3] == [FIRST_PAUSE, 2 * FIRST_PAUSE, 4 * FIRST_PAUSE]
    assert pauses[-1] == LONGEST_PAUSE


async def test_a_probe_that_is_given_up_leaves_the_next_one_to_another(
    throttle: Throttle, clock: Clock
) -> None:
    await fail(throttle, FAILURES_IN_A_ROW)
    clock.now += FIRST_PAUSE
    async with throttle.admitted("a", 0):
        pass
    await answer(throttle)
    await answer(throttle)


async def test_the_pause_of_the_model_shows_in_a_metric(
    throttle: Throttle, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[float] = []
    monkeypatch.setattr(_PAUSE, "set", shown.append)
    await fail(throttle, FAILURES_IN_A_ROW)
    clock.now += FIRST_PAUSE
    await answer(throttle)
    assert shown == [FIRST_PAUSE, 0]


async def test_a_late_answer_does_not_cut_a_pause_short(throttle: Throttle) -> None:
    async with throttle.admitted("a", 0) as early:
        await fail(throttle, asked=30)
        early.answered()
    assert await paused(throttle) == 30


async def test_a_retry_after_pauses_at_once_and_is_bounded(throttle: Throttle, clock: Clock) -> None:
    await fail(throttle, asked=120)
    assert await paused(throttle) == 120
    clock.now += 119
    assert await paused(throttle) == 1
    clock.now += 1
    await fail(throttle, asked=1e9)
    assert await paused(throttle) == LONGEST_RETRY_AFTER


async def test_a_later_retry_after_does_not_shorten_an_earlier_one(throttle: Throttle) -> None:
    async with throttle.admitted("a", 0) as first:
        await fail(throttle, asked=60)
        first.failed(5)
    assert await paused(throttle) == 60


async def test_calls_beyond_the_rate_limit_are_refused_until_time_has_passed(clock: Clock) -> None:
    throttle = Throttle(60, clock)
    for _ in range(10):
        await answer(throttle)
    wait = await paused(throttle)
    assert 0 < wait <= 1
    clock.now += wait
    await answer(throttle)
    assert await paused(throttle) > 0


@given(st.integers(1, 600), st.lists(st.floats(0, 5), min_size=1, max_size=200))
async def test_no_minute_has_more_calls_than_the_limit_and_its_burst(
    per_minute: int, steps: list[float]
) -> None:
    clock = Clock()
    throttle = Throttle(per_minute, clock)
    admitted: list[float] = []
    for step in steps:
        clock.now += step
        try:
            await answer(throttle)
        except Paused:
            continue
        admitted.append(clock.now)
    for end in admitted:
        assert sum(end - 60 < at <= end for at in admitted) <= per_minute + max(1, per_minute / 6) + 1e-6


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("30", 30.0),
        (" 1.5 ", 1.5),
        *((none, 0.0) for none in ("0", "-5", "nan", "inf", "1e400", "", "soon", "Mon, 99 Jan 99999")),
        ("Mon, 01 Jan 2001 00:00:00 GMT", 0.0),
    ],
)
def test_a_retry_after_is_read_or_ignored(written: str, seconds: float) -> None:
    assert retry_after({"retry-after": written}) == seconds
    assert retry_after({}) == 0


def test_a_retry_after_may_be_a_date() -> None:
    written = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)
    assert 3500 < retry_after({"retry-after": written}) <= 3600


@given(st.text())
def test_no_retry_after_breaks_its_reader(written: str) -> None:
    assert retry_after({"retry-after": written}) >= 0


async def test_the_rate_limit_gives_turns_to_tenants() -> None:
    throttle = Throttle(6000)
    try:
        while True:
            await answer(throttle)
    except Paused:
        pass
    admitted: list[str] = []

    async def call(tenant: str) -> None:
        async with throttle.admitted(tenant, 60):
            admitted.append(tenant)

    calls = [asyncio.create_task(call(tenant)) for tenant in ["many"] * 20 + ["one"]]
    await asyncio.gather(*calls)
    # Not behind all that waited before it; some were admitted before it came.
    assert admitted.index("one") < 10
    assert admitted.count("many") == 20


async def test_a_tenant_with_too_many_calls_waiting_is_refused_and_no_other() -> None:
    throttle = Throttle(1)
    await answer(throttle)
    waiting = [asyncio.create_task(call_once(throttle, "many")) for _ in range(WAITING + 1)]
    await asyncio.sleep(0)
    with pytest.raises(ResourceExhausted) as refused:
        await call_once(throttle, "many")
    assert (refused.value.reason, refused.value.retry_after) == ("TENANT_BUSY", 1.0)
    other = asyncio.create_task(call_once(throttle, "other"))
    await asyncio.sleep(0)
    assert not other.done()
    for one in (*waiting, other):
        one.cancel()
    await asyncio.wait([*waiting, other])


async def call_once(throttle: Throttle, tenant: str) -> None:
    async with throttle.admitted(tenant, 3600):
        pass
