"""The fold of the log is the request's state, for the workflow and for the projection."""

from __future__ import annotations

from datetime import timedelta

import pytest

from placet_domain import interpreter
from placet_domain.events import Actor, Entry, Event, LogEntry, Notified, Processed, State
from placet_domain.ids import approval_id
from placet_domain.state import ApprovalState
from placet_domain.stimuli import Begin, FallbackDone, FallbackUnavailable, PreScreenDone, TierTimeout
from placet_testing.simulation import (
    ALICE,
    REQUESTER,
    START,
    Play,
    ai_says,
    decision,
    received_event,
    screened,
)
from placet_testing.workflow_environment import shipped_policy

POLICY = shipped_policy("escalating")


def test_an_empty_state_is_pending_and_waits_for_nobody() -> None:
    state = ApprovalState()
    assert state.state is State.PENDING
    assert not state.waiting_for_approval


def test_the_first_event_says_whose_request_it_is() -> None:
    state = Play(POLICY, coverage=None).state
    assert (state.tenant, state.requester, state.create_time) == ("default", REQUESTER, START)
    assert (state.last_number, state.log_index) == (1, 0)


@pytest.mark.parametrize("number", [0, 1, 3, 99])
def test_an_event_that_is_not_the_next_is_an_error(number: int) -> None:
    state = Play(POLICY, coverage=None).state
    entry = Entry(tenant="default", approval_id="a" * 36, number=number, event=received_event(POLICY))
    with pytest.raises(ValueError, match="does not follow event 1"):
        state.fold(LogEntry(index=1, entry=entry))


def test_it_waits_for_approval_only_from_the_first_question_to_the_outcome() -> None:
    play = Play(shipped_policy("document"))
    waiting = [play.state.waiting_for_approval]
    for stimulus in (PreScreenDone(screened()), TierTimeout(1), TierTimeout(2), FallbackDone(ai_says())):
        play.after(timedelta(hours=9)).on(stimulus)
        waiting.append(play.state.waiting_for_approval)
    assert waiting == [False, True, True, True, False]


def test_held_lasts_until_the_ai_or_a_person_answers() -> None:
    play = Play(POLICY)
    play.on(Begin(), TierTimeout(1))
    play.after(timedelta(hours=6)).on(TierTimeout(2), FallbackUnavailable())
    held = [play.state.paused is not None]
    play.on(decision(ALICE))
    held.append(play.state.paused is not None)
    assert held == [True, False]
    assert play.state.state is State.APPROVED


def test_a_command_that_caused_three_events_is_complete_with_the_last() -> None:
    play = Play(POLICY, coverage=None, telling=False)
    command = decision(ALICE)
    play.on(Begin(), command)
    result = play.state.commands[command.id]
    assert (result.log_index, result.is_complete) == (5, True)
    partial = ApprovalState()
    for number, event in enumerate(play.events[:-1], 1):
        entry = Entry(tenant="t", approval_id="a", number=number, event=event)
        partial.fold(LogEntry(index=number - 1, entry=entry))
    assert not partial.commands[command.id].is_complete
    assert play.state.commands[command.id].refusal is None


def test_what_goes_with_others_is_known_once_it_is_stored() -> None:
    play = Play(POLICY, coverage=None)
    notified = Event(cause_id="asked-3", actor=Actor(), body=Notified(notification_id="n", delivered=True))
    processed = interpreter.processed_event(Processed(method="text"), START)
    assert not play.state.knows(notified)
    assert not play.state.knows(processed)
    play.log(processed)
    play.log(notified)
    assert play.state.knows(notified)
    assert play.state.knows(processed)


def test_an_approval_id_is_the_same_for_every_retry_and_for_nothing_else() -> None:
    first = approval_id("default", REQUESTER, "7F3C")
    assert first == approval_id("default", REQUESTER, "7f3c")
    others = {
        approval_id("other", REQUESTER, "7f3c"),
        approval_id("default", ALICE, "7f3c"),
        approval_id("default", REQUESTER, "7f3d"),
        approval_id("defaul", "t" + REQUESTER, "7f3c"),
    }
    assert len(others | {first}) == 5
