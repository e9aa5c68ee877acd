"""Content that was not read whole: no automatic approval, unless the policy says so."""

from __future__ import annotations

from datetime import timedelta

import pytest

from placet_domain.coverage import WHOLE, ContentCoverage, ContentGap, GapKind
from placet_domain.events import AiDecided, AiResult, DecisionType, ScreenMode, Source, State, Verdict
from placet_domain.policy import Policy, Requirement
from placet_domain.policy_description import describe_steps
from placet_domain.stimuli import FallbackDone, PreScreenDone, TierTimeout
from placet_testing.simulation import Play, ai_says, screened
from placet_testing.workflow_environment import shipped_policy

IMAGE = ContentCoverage(gaps=(ContentGap(kind=GapKind.IMAGE, count=1, first_page=1),))
# Each says in another way that not all was read, or does not say that all was.
NOT_WHOLE = [
    IMAGE,
    IMAGE.model_copy(update={"whole": True}),
    ContentCoverage(),
    # Of a kind that this version does not know.
    ContentCoverage(whole=True, gaps=(ContentGap(count=1),)),
    None,
]


def policy(requires: Requirement = "read whole") -> Policy:
    document = shipped_policy("document")
    assert document.pre_screen is not None
    return document.model_copy(
        update={
            "pre_screen": document.pre_screen.model_copy(update={"requires": requires}),
            "fallback": document.fallback.model_copy(update={"requires": requires}),
        }
    )


def fallen_back(coverage: ContentCoverage | None, requires: Requirement = "read whole") -> Play:
    play = Play(policy(requires), coverage=coverage)
    play.on(PreScreenDone(screened(0.5)))
    for tier in (1, 2):
        play.after(timedelta(hours=9)).on(TierTimeout(tier))
    return play


@pytest.mark.parametrize("mode", [ScreenMode.QUICK, ScreenMode.DEEP])
@pytest.mark.parametrize("coverage", NOT_WHOLE)
def test_a_low_risk_of_what_was_not_read_whole_asks_a_person(
    coverage: ContentCoverage | None, mode: ScreenMode
) -> None:
    play = Play(policy(), coverage=coverage)
    play.on(PreScreenDone(screened(0.0).model_copy(update={"mode": mode})))
    assert play.path[-3:] == ["pre_screened", "tier_opened", "asked"]


@pytest.mark.parametrize("coverage", NOT_WHOLE)
def test_an_ai_that_approves_what_was_not_read_whole_has_abstained(coverage: ContentCoverage | None) -> None:
    play = fallen_back(coverage)
    ai_decided, *_ = play.on(FallbackDone(ai_says()))
    assert isinstance(ai_decided, AiDecided)
    assert (ai_decided.result, ai_decided.verdict) == (AiResult.ABSTAINED, Verdict.UNSPECIFIED)
    assert ai_decided.confidence is None
    assert ai_decided.reasoning == (
        "The AI would have approved, but not all of the content was read: an abstention. "
        "It said: the model's reason"
    )
    assert (play.outcome.state, play.outcome.source) == (State.REJECTED, Source.POLICY)
    assert (play.outcome.decision_type, play.outcome.approver) == (DecisionType.AUTOMATIC, "document")


def test_an_ais_rejection_of_what_was_not_read_whole_stands() -> None:
    play = fallen_back(IMAGE)
    play.on(FallbackDone(ai_says(Verdict.REJECT)))
    assert (play.outcome.state, play.outcome.source) == (State.REJECTED, Source.AI_FALLBACK)


@pytest.mark.parametrize("coverage", NOT_WHOLE)
def test_a_policy_may_say_that_it_requires_nothing(coverage: ContentCoverage | None) -> None:
    play = Play(policy("nothing"), coverage=coverage)
    play.on(PreScreenDone(screened(0.0)))
    assert (play.outcome.state, play.outcome.source) == (State.APPROVED, Source.AI_PRESCREEN)

    play = fallen_back(coverage, "nothing")
    play.on(FallbackDone(ai_says()))
    assert (play.outcome.state, play.outcome.source) == (State.APPROVED, Source.AI_FALLBACK)


def test_what_was_read_whole_is_decided_as_before() -> None:
    play = fallen_back(WHOLE)
    play.on(FallbackDone(ai_says()))
    assert (play.outcome.state, play.outcome.source) == (State.APPROVED, Source.AI_FALLBACK)


def test_a_policy_says_in_its_steps_what_it_requires() -> None:
    first, *_, last = describe_steps(policy())
    covered = "a risk below 0.3 that an allow-rule covers (menu) is approved at once"
    assert first.endswith(f"{covered} if the content was read whole.")
    assert last == "Then the AI decides; it approves only what was read whole."
    first, *_, last = describe_steps(policy("nothing"))
    assert first.endswith(f"{covered}.")
    assert last == "Then the AI decides."
