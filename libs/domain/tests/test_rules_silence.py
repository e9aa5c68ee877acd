"""Silence is only silence of somebody who was told."""

from __future__ import annotations

from datetime import timedelta

import pytest

from placet_domain.events import Asked, Decided, Escalated, FellBack, Paused, TierOpened, TimedOut
from placet_domain.policy import Policy
from placet_domain.stimuli import Begin, DeadlinePassed, TierTimeout
from placet_testing.simulation import ALICE, BOB, Play, decision

HOUR = timedelta(hours=1)
FAST = """
name = "fast-escalate"
version = 1
description = "Seconds instead of hours, for a test."

[[tiers]]
name = "team"
asks = ["required_approver"]
decision_type = "human"
timeout = "4 s"

[[tiers]]
name = "manager"
asks = ["manager_approver"]
decision_type = "manager"
timeout = "6 s"
message = "{required_approver} is silent"

[fallback]
by = "reject"
reason = "Neither {required_approver} nor {manager_approver} responded"
rejection = "Nobody answered"
"""


def fast(**changes: str) -> Play:
    """A request under FAST that has asked Alice, and tells nobody by itself."""
    text = FAST
    for line in changes.values():
        text = text.replace('timeout = "4 s"', f'timeout = "4 s"\n{line}')
    play = Play(Policy.from_toml(text), telling=False)
    play.on(Begin())
    return play


def wait(play: Play, seconds: float, tier: int) -> list[object]:
    return [*play.after(timedelta(seconds=seconds)).on(TierTimeout(tier))]


def test_a_tier_that_cannot_tell_anybody_waits_as_long_again_and_says_so() -> None:
    play = fast()
    (paused,) = wait(play, 4, 1)
    assert isinstance(paused, Paused)
    assert (paused.step, paused.until_time) == ("tier-1", play.now + timedelta(seconds=4))
    assert play.state.paused == paused
    assert play.state.open_tier is not None
    assert play.state.open_tier.due_time == paused.until_time
    assert wait(play, 1, 1) == []


def test_nobody_who_was_not_told_is_called_silent() -> None:
    play = fast()
    wait(play, 4, 1)
    timed_out, escalated, opened, asked = wait(play, 4, 1)
    number = play.path.index("asked") + 1
    assert timed_out == TimedOut(
        tier=1,
        waited=timedelta(seconds=8),
        reason=f"{ALICE} could not be told within 8 s",
        untold_numbers=(number,),
    )
    assert escalated == Escalated(from_tier=1, to_tier=2, reason=f"{ALICE} could not be told")
    assert isinstance(opened, TierOpened)
    assert asked == Asked(tier=2, person=BOB, reason=f"{ALICE} could not be told")
    assert play.state.paused is None
    wait(play, 6, 2)
    _, fell_back, decided, _ = wait(play, 6, 2)
    assert fell_back == FellBack(reason=f"{ALICE}, {BOB} could not be told")
    assert isinstance(decided, Decided)
    assert decided.reasoning == f"Nobody answered ({ALICE}, {BOB} could not be told)"
    assert "respond" not in " ".join(str(event.body) for event in play.events)


def test_who_is_told_at_last_has_the_whole_time() -> None:
    play = fast()
    wait(play, 4, 1)
    play.after(timedelta(seconds=3)).tell(ALICE)
    assert play.state.paused is None
    assert wait(play, 1, 1) == []
    timed_out = wait(play, 3, 1)[0]
    assert isinstance(timed_out, TimedOut)
    assert timed_out.reason == f"{ALICE} did not respond within 4 s"
    assert timed_out.untold_numbers == ()


def test_a_notice_that_arrives_after_the_tier_makes_nobody_silent_in_it() -> None:
    play = fast()
    wait(play, 4, 1)
    wait(play, 4, 1)
    play.tell(ALICE)
    play.tell(BOB)
    fell_back = wait(play, 6, 2)[1]
    assert fell_back == FellBack(reason=f"{ALICE} could not be told; {BOB} did not respond")


def test_who_is_out_of_reach_for_good_is_not_waited_for() -> None:
    play = fast()
    play.tell(ALICE, delivered=False)
    assert [type(one).__name__ for one in wait(play, 4, 1)] == [
        "TimedOut",
        "Escalated",
        "TierOpened",
        "Asked",
    ]


def test_a_policy_may_go_on_or_say_how_long_it_waits() -> None:
    assert isinstance(wait(fast(line='until_told = "go on"'), 4, 1)[0], TimedOut)
    play = fast(line='until_told = "1 h"')
    (paused,) = wait(play, 4, 1)
    assert isinstance(paused, Paused)
    assert paused.until_time == play.now + HOUR


def test_who_was_not_told_may_vote_all_the_same() -> None:
    play = fast()
    wait(play, 4, 1)
    assert play.on(decision(ALICE))[-1].type == "closed"
    assert play.state.paused is None


def test_the_requests_own_deadline_waits_for_no_notice() -> None:
    play = fast()
    timed_out, fell_back, *_ = play.after(timedelta(seconds=2)).on(DeadlinePassed())
    assert isinstance(timed_out, TimedOut)
    assert timed_out.untold_numbers != ()
    assert fell_back == FellBack(reason=f"The request's deadline passed ({ALICE} could not be told)")


@pytest.mark.parametrize("message", ["Your decision is needed", "Please look at the budget"])
def test_words_that_name_nobody_are_kept_after_the_account(message: str) -> None:
    text = FAST.replace("{required_approver} is silent", message).replace(
        'timeout = "4 s"', 'timeout = "4 s"\nuntil_told = "go on"'
    )
    play = Play(Policy.from_toml(text), telling=False)
    play.on(Begin())
    asked = wait(play, 4, 1)[-1]
    assert isinstance(asked, Asked)
    assert asked.reason == f"{ALICE} could not be told. {message}"


def test_the_words_of_until_told_are_checked() -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        fast(line='until_told = "for ever"')
