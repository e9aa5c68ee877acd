"""The throttle of a model: breaker, Retry-After and rate limit. The clock is the test's."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from placet_decision.providers.throttle import (
    FAILURES_IN_A_ROW,
    FIRST_PAUSE,
    LONGEST_PAUSE,
    LONGEST_RETRY_AFTER,
    Paused,
    Throttle,
    retry_after,
)


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


def fail(throttle: Throttle, times: int = 1, asked: float = 0.0) -> None:
    for _ in range(times):
        with throttle.admitted() as admission:
            admission.failed(asked)


def answer(throttle: Throttle) -> None:
    with throttle.admitted() as admission:
        admission.answered()


def paused(throttle: Throttle) -> float:
    """The seconds of the pause. An error where a call is admitted."""
    with pytest.raises(Paused) as raised, throttle.admitted():
        pass
    return raised.value.seconds


def test_failures_in_a_row_open_the_breaker_and_an_answer_between_them_does_not(throttle: Throttle) -> None:
    fail(throttle, FAILURES_IN_A_ROW - 1)
    answer(throttle)
    fail(throttle, FAILURES_IN_A_ROW - 1)
    answer(throttle)
    fail(throttle, FAILURES_IN_A_ROW)
    assert paused(throttle) == FIRST_PAUSE


def test_after_the_pause_one_call_probes_and_its_answer_closes_the_breaker(
    throttle: Throttle, clock: Clock
) -> None:
    fail(throttle, FAILURES_IN_A_ROW)
    clock.now += FIRST_PAUSE
    with throttle.admitted() as probe:
        assert paused(throttle) > 0
        probe.answered()
    for _ in range(3):
        answer(throttle)


def test_a_failed_probe_opens_the_breaker_for_longer_up_to_a_bound(throttle: Throttle, clock: Clock) -> None:
    fail(throttle, FAILURES_IN_A_ROW)
    pauses = []
    for _ in range(8):
        pauses.append(paused(throttle))
        clock.now += pauses[-1]
        fail(throttle)
    assert pauses[:3] == [FIRST_PAUSE, 2 * FIRST_PAUSE, 4 * FIRST_PAUSE]
    assert pauses[-1] == LONGEST_PAUSE


def test_a_probe_that_is_given_up_leaves_the_next_one_to_another(throttle: Throttle, clock: Clock) -> None:
    fail(throttle, FAILURES_IN_A_ROW)
    clock.now += FIRST_PAUSE
    with throttle.admitted():
        pass
    answer(throttle)
    answer(throttle)


def test_a_late_answer_does_not_cut_a_pause_short(throttle: Throttle) -> None:
    with throttle.admitted() as early:
        fail(throttle, asked=30)
        early.answered()
    assert paused(throttle) == 30


def test_a_retry_after_pauses_at_once_and_is_bounded(throttle: Throttle, clock: Clock) -> None:
    fail(throttle, asked=120)
    assert paused(throttle) == 120
    clock.now += 119
    assert paused(throttle) == 1
    clock.now += 1
    fail(throttle, asked=1e9)
    assert paused(throttle) == LONGEST_RETRY_AFTER


def test_a_later_retry_after_does_not_shorten_an_earlier_one(throttle: Throttle) -> None:
    with throttle.admitted() as first:
        fail(throttle, asked=60)
        first.failed(5)
    assert paused(throttle) == 60


def test_calls_beyond_the_rate_limit_are_refused_until_time_has_passed(clock: Clock) -> None:
    throttle = Throttle(60, clock)
    for _ in range(10):
        answer(throttle)
    wait = paused(throttle)
    assert 0 < wait <= 1
    clock.now += wait
    answer(throttle)
    assert paused(throttle) > 0


@given(st.integers(1, 600), st.lists(st.floats(0, 5), min_size=1, max_size=200))
def test_no_minute_has_more_calls_than_the_limit_and_its_burst(per_minute: int, steps: list[float]) -> None:
    clock = Clock()
    throttle = Throttle(per_minute, clock)
    admitted: list[float] = []
    for step in steps:
        clock.now += step
        try:
            answer(throttle)
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
