"""Votes are events; `resolve` decides apart from them, by the quorum of the tier."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from placet_domain.commands import MOST_COMMANDS
from placet_domain.events import (
    Assignment,
    Commented,
    Decided,
    ErrorReason,
    FellBack,
    Refused,
    State,
    TimedOut,
    Verdict,
    Voted,
)
from placet_domain.policy import Policy
from placet_domain.rules.builders import received_of
from placet_domain.state import CommandResult, TierState, Vote
from placet_domain.stimuli import Begin, DeadlinePassed, TierTimeout
from placet_testing.simulation import ALICE, BOB, REQUESTER, Play, comment, decision

CAROL = "carol@example.com"
TWO_OF_THREE = Policy.from_toml(f"""
name = "two-of-three"
version = 1
description = "Two of three must approve."
[[tiers]]
name = "board"
asks = ["required_approver", {{ person = "{BOB}" }}, {{ person = "{CAROL}" }}]
decision_type = "human"
timeout = "2 h"
quorum = 2
[[tiers]]
name = "manager"
asks = ["manager_approver"]
decision_type = "manager"
timeout = "4 h"
[fallback]
by = "reject"
reason = "Nobody responded"
rejection = "no decision"
""")


def board() -> Play:
    play = Play(TWO_OF_THREE)
    play.on(Begin())
    return play


def test_who_has_voted_is_not_awaited_any_more() -> None:
    play = board()
    play.on(decision(ALICE))
    assert play.state.awaited == {ALICE: False, BOB: True, CAROL: True}


def test_everyone_of_a_tier_is_asked_at_once() -> None:
    play = board()
    assert play.path == ["received", "processed", "tier_opened", "asked", "asked", "asked"]
    assert play.state.asked == {ALICE: 1, BOB: 1, CAROL: 1}


def test_a_vote_below_the_quorum_is_recorded_and_decides_nothing() -> None:
    play = board()
    (voted,) = play.on(decision(ALICE))
    assert isinstance(voted, Voted)
    assert play.state.state is State.PENDING
    assert play.state.open_tier is not None
    assert play.state.open_tier.approvals == 1
    assert play.events[-1].ends_command


def test_approvals_of_people_whose_names_are_erased_count_one_by_one_also_at_one_time() -> None:
    time = datetime(2026, 11, 30, tzinfo=UTC)
    names = ["", "", ALICE, ALICE]
    votes = [Vote(person=name, verdict=Verdict.APPROVE, reason="", time=time) for name in names]
    assert TierState(tier=1, name="board", quorum=2, open_time=time, votes=tuple(votes)).approvals == 3


def test_the_vote_that_completes_the_quorum_decides_with_all_who_approved() -> None:
    play = board()
    play.on(decision(ALICE))
    voted, decided, closed = play.on(decision(CAROL))
    assert isinstance(decided, Decided)
    assert (decided.state, decided.tier, decided.approver) == (State.APPROVED, 1, f"{ALICE}, {CAROL}")
    assert (voted.type, closed.type) == ("voted", "closed")


def test_one_rejection_is_final_whatever_the_quorum() -> None:
    play = board()
    play.on(decision(ALICE), decision(BOB, Verdict.REJECT, reason="too dear"))
    assert (play.outcome.state, play.outcome.approver) == (State.REJECTED, BOB)
    assert play.outcome.reasoning == "too dear"


def test_nobody_votes_twice() -> None:
    play = board()
    (refused,) = [*play.on(decision(ALICE)), *play.on(decision(ALICE))][1:]
    assert isinstance(refused, Refused)
    assert refused.reason is ErrorReason.ALREADY_VOTED
    assert play.state.decided is None


def test_a_quorum_can_still_be_completed_after_the_tier_timed_out() -> None:
    play = board()
    play.on(decision(ALICE))
    play.after(timedelta(hours=2)).on(TierTimeout(1))
    play.on(decision(CAROL))
    assert (play.outcome.state, play.outcome.tier) == (State.APPROVED, 1)


@pytest.mark.parametrize("address", [REQUESTER, ALICE])
def test_a_comment_is_recorded_and_changes_nothing(address: str) -> None:
    play = board()
    play.tell(*play.untold)
    before = play.state.model_copy(deep=True)
    (commented,) = play.on(comment(address, "Which cost centre?"))
    assert commented == Commented(text="Which cost centre?")
    after = play.state.model_copy(
        update={name: getattr(before, name) for name in ("commands", "last_number", "log_index")}
    )
    assert after == before


@pytest.mark.parametrize(
    ("address", "text", "reason"),
    [
        ("mallory@example.com", "let me in", ErrorReason.NOT_INVOLVED),
        (ALICE, " \t", ErrorReason.COMMENT_EMPTY),
    ],
)
def test_a_comment_is_refused_with_a_reason(address: str, text: str, reason: ErrorReason) -> None:
    play = board()
    (refused,) = play.on(comment(address, text))
    assert isinstance(refused, Refused)
    assert refused.reason is reason


def test_a_closed_request_takes_no_comment() -> None:
    play = board()
    play.on(decision(ALICE, Verdict.REJECT), comment(ALICE))
    assert play.path[-1] == "refused"


AGAIN = Policy.from_toml(f"""
name = "asked-again"
version = 1
description = "Alice is asked in both tiers."
[[tiers]]
name = "pair"
asks = ["required_approver", {{ person = "{BOB}" }}]
decision_type = "human"
timeout = "2 h"
quorum = 2
[[tiers]]
name = "board"
asks = ["required_approver", {{ person = "{CAROL}" }}]
decision_type = "manager"
timeout = "without limit"
quorum = 2
[fallback]
by = "reject"
reason = "Nobody responded"
rejection = "no decision"
""")


def test_a_person_who_is_asked_again_in_a_later_tier_votes_again() -> None:
    play = Play(AGAIN)
    play.on(Begin(), decision(ALICE))
    play.after(timedelta(hours=2)).on(TierTimeout(1))
    play.on(decision(ALICE), decision(CAROL))
    assert (play.outcome.state, play.outcome.tier) == (State.APPROVED, 2)


def test_a_timeout_names_those_alone_who_did_not_vote() -> None:
    play = board()
    play.on(decision(ALICE))
    timed_out = play.after(timedelta(hours=2)).on(TierTimeout(1))[0]
    assert isinstance(timed_out, TimedOut)
    assert ALICE not in timed_out.reason
    assert timed_out.reason.startswith(f"{BOB}, {CAROL} did not respond")


def test_words_about_many_people_stay_within_what_the_services_take() -> None:
    people = tuple(f"{'x' * 200}{number}@example.com" for number in range(20))
    many = (Assignment(slot="required_approver", people=people),)
    play = Play(AGAIN)
    play.state.received = received_of(play.state).model_copy(update={"assignments": many})
    play.on(Begin(), DeadlinePassed())
    reasons = [event.body.reason for event in play.events if isinstance(event.body, FellBack | TimedOut)]
    assert len(reasons) == 2
    assert max(len(reason) for reason in reasons) == 1000


def test_comments_end_before_a_request_outgrows_its_payload() -> None:
    play = board()
    results = {f"c{number}": CommandResult(digest="d", log_index=0) for number in range(MOST_COMMANDS)}
    play.state.commands.update(results)
    (refused,) = play.on(comment(ALICE))
    assert isinstance(refused, Refused)
    assert refused.reason is ErrorReason.TOO_MANY_COMMENTS
    assert play.on(decision(ALICE))[0].type == "voted"
