"""Notices within workflow tasks: quick or not at all."""

from __future__ import annotations

import pytest
from temporalio.exceptions import ApplicationError

from placet_worker_default.hurry import MOST, REST, Hurry


class Clock:
    """Seconds in the test's hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def fails(hurry: Hurry) -> None:
    with pytest.raises(OSError, match="away"), hurry.attempt():
        raise OSError("away")


def is_refused(hurry: Hurry) -> bool:
    try:
        with hurry.attempt():
            return False
    except ApplicationError as refused:
        return refused.type == "NOT_NOW" and not refused.non_retryable


def test_after_one_that_failed_none_is_tried_for_a_while() -> None:
    clock = Clock()
    hurry = Hurry(clock)
    fails(hurry)
    clock.now += REST - 0.1
    assert is_refused(hurry)
    clock.now += 0.2
    assert not is_refused(hurry)
    assert not is_refused(hurry)


def test_one_finds_out_how_things_are_while_the_others_go_by_the_queue() -> None:
    clock = Clock()
    hurry = Hurry(clock)
    fails(hurry)
    clock.now += REST
    with hurry.attempt():
        assert is_refused(hurry)
    assert not is_refused(hurry)


def test_no_more_than_some_hold_a_workflow_task_at_a_time() -> None:
    hurry = Hurry(Clock())
    attempts = [hurry.attempt() for _ in range(MOST)]
    for attempt in attempts:
        attempt.__enter__()
    assert is_refused(hurry)
    attempts[0].__exit__(None, None, None)
    assert not is_refused(hurry)
