"""Binding: a vote says what it was about, and a decision about anything else is void."""

from __future__ import annotations

from datetime import timedelta

import pytest

from placet_domain.commands import Command
from placet_domain.events import Closed, ErrorReason, Refused, State, Verdict, Voted
from placet_domain.rules.builders import received_of
from placet_domain.stimuli import Begin
from placet_testing.simulation import ALICE, BOB, CONTENT, RENDERING, Play, decision, person
from placet_testing.workflow_environment import shipped_policy

POLICY = shipped_policy("simple")
BOUND = decision(ALICE, policy_digest=POLICY.digest(), rendering=RENDERING, command_id="d1")


def asked_alice() -> Play:
    play = Play(POLICY)
    play.on(Begin())
    return play


def vote(play: Play, command: Command) -> Voted:
    voted = play.on(command)[0]
    assert isinstance(voted, Voted)
    return voted


def test_a_vote_holds_what_was_decided_how_it_was_shown_under_which_policy_and_by_whom() -> None:
    play = asked_alice()
    assert vote(play, BOUND) == Voted(
        tier=1,
        verdict=Verdict.APPROVE,
        content_digest=CONTENT,
        reason="looks right",
        policy_version=POLICY.version,
        policy_digest=POLICY.digest(),
        rendering=RENDERING,
    )
    assert play.events[-3].actor == person(ALICE)


def test_a_vote_holds_the_requests_own_policy_also_when_the_decision_names_none() -> None:
    voted = vote(asked_alice(), decision(ALICE))
    assert (voted.policy_version, voted.policy_digest) == (POLICY.version, POLICY.digest())
    assert voted.rendering == ""


@pytest.mark.parametrize(
    ("changed", "reason", "words"),
    [
        (
            {"content_digest": "c1" * 32},
            ErrorReason.CONTENT_CHANGED,
            "The decision names other content than the request's; look again",
        ),
        (
            {"policy_digest": "d0" * 32},
            ErrorReason.POLICY_CHANGED,
            "The decision names another policy than the request's; look again",
        ),
        (
            {"rendering": "text/0"},
            ErrorReason.RENDERING_CHANGED,
            "The content is not shown as the decision names it; look again",
        ),
        (
            {"rendering_in_force": "text/2"},
            ErrorReason.RENDERING_CHANGED,
            "The content is not shown as the decision names it; look again",
        ),
        (
            {"rendering_in_force": ""},
            ErrorReason.RENDERING_CHANGED,
            "The content is not shown as the decision names it; look again",
        ),
        ({"actor": person(BOB)}, ErrorReason.NOT_ASKED, "Only those who were asked can decide"),
    ],
)
def test_a_decision_that_differs_in_one_thing_is_void_and_the_log_says_why(
    changed: dict[str, object], reason: ErrorReason, words: str
) -> None:
    play = asked_alice()
    other = BOUND.model_copy(update=changed)
    assert other.refusal(play.state) is reason
    assert play.on(other) == [Refused(command="decision", reason=reason, message=words)]
    assert play.state.decided is None
    assert play.on(decision(ALICE))[-1] == Closed(state=State.APPROVED, waited=timedelta(0))


@pytest.mark.parametrize(
    "changed", [{"verdict": Verdict.REJECT}, {"policy_digest": ""}, {"rendering": ""}, {"actor": person(BOB)}]
)
def test_the_id_of_a_decision_is_good_for_that_decision_only(changed: dict[str, object]) -> None:
    play = asked_alice()
    play.on(BOUND)
    before = play.state.model_copy(deep=True)
    other = BOUND.model_copy(update=changed)
    assert other.digest() != BOUND.digest()
    assert play.on(other) == []
    assert play.state == before


def test_a_stranger_hears_nothing_of_policy_or_rendering() -> None:
    play = asked_alice()
    stranger = decision(BOB, content_digest="c1" * 32, policy_digest="d0" * 32, rendering="text/0")
    assert stranger.refusal(play.state) is ErrorReason.NOT_ASKED


def test_a_decision_is_processed_by_the_policy_that_the_request_keeps() -> None:
    play = asked_alice()
    play.state.received = received_of(play.state).model_copy(update={"policy_digest": "d0" * 32})
    assert BOUND.refusal(play.state) is ErrorReason.POLICY_CHANGED
