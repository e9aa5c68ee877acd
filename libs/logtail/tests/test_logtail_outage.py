"""An outage is tried again at growing, bounded, jittered pauses, and logged at growing distances."""

from __future__ import annotations

import pytest

from placet_logtail import outage
from placet_logtail.outage import MAX_RETRY_SECONDS, RETRY_SECONDS, Outage
from placet_rpc.errors import Unavailable


class Clock:
    """The monotonic clock, in a test's hand."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of outages."""
    clock = Clock()
    monkeypatch.setattr(outage, "time", clock)
    return clock


def test_pauses_double_up_to_a_bound_and_begin_anew_after_success() -> None:
    away = Outage("the tail")
    pauses = [away.failed(Unavailable("away"), expected=True) for _ in range(8)]
    expected = [min(RETRY_SECONDS * 2**attempt, MAX_RETRY_SECONDS) for attempt in range(8)]
    assert all(most / 2 <= pause <= most for pause, most in zip(pauses, expected, strict=True))

    away.succeeded()

    assert away.failed(Unavailable("away"), expected=True) <= RETRY_SECONDS


def test_pauses_of_two_outages_differ() -> None:
    firsts = {Outage("the tail").failed(Unavailable("away"), expected=True) for _ in range(20)}
    assert len(firsts) > 1


def test_a_lasting_outage_is_logged_at_growing_distances(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    away = Outage("the tail")
    for second in range(100):
        clock.now = float(second)
        away.failed(Unavailable("away"), expected=True)
    clock.now = 100.0
    away.succeeded()
    away.succeeded()

    assert [record.getMessage() for record in caplog.records] == [
        "the tail fails: away",
        "the tail still fails after 10 s: away",
        "the tail still fails after 20 s: away",
        "the tail still fails after 40 s: away",
        "the tail still fails after 80 s: away",
        "the tail works again after 100.0 s",
    ]
    assert not any(record.exc_info for record in caplog.records)


def test_another_kind_of_error_is_logged_at_once_with_its_stack_trace_if_unexpected(
    caplog: pytest.LogCaptureFixture,
) -> None:
    away = Outage("the tail")
    away.failed(Unavailable("away"), expected=True)
    away.failed(KeyError("bug"), expected=False)
    away.failed(KeyError("bug"), expected=False)

    assert [bool(record.exc_info) for record in caplog.records] == [False, True]
    assert away.reason == "'bug'"
