"""Caps of automatic decisions: whatever a model says, it approves nothing beyond its policy's caps."""

from __future__ import annotations

import math
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from placet_domain.automatic import Automatic, Permission
from placet_domain.events import (
    AiDecided,
    AiResult,
    ContentCoverage,
    ContentGap,
    Decided,
    FellBack,
    PreScreened,
    Priority,
    ScreenMode,
    Source,
    State,
    Verdict,
    Withheld,
)
from placet_domain.policy import Policy, PreScreen
from placet_domain.stimuli import Begin, DeadlinePassed, FallbackDone, PreScreenDone, Stimulus, TierTimeout
from placet_testing.simulation import Play, ai_says, screened
from placet_testing.workflow_environment import shipped_policy

HOUR = timedelta(hours=1)
DOCUMENT = shipped_policy("document")
POLICIES = [shipped_policy(name) for name in ("ai-fallback", "escalating", "document", "business-timeouts")]
# What a hostile model may send, and what a broken one does.
numbers = st.none() | st.floats(allow_nan=True, allow_infinity=True) | st.sampled_from([0.0, 0.5, 1.0])
levels = st.sampled_from([0.1, 0.5, 0.9])
permissions: st.SearchStrategy[tuple[Permission, ...]] = st.sampled_from(
    [("inform",), ("reject",), ("approve",), ("inform", "reject", "approve")]
)
caps = st.builds(
    Automatic,
    may=permissions,
    requires=st.sampled_from(["read whole", "nothing"]),
    most_risk=st.none() | levels,
    least_confidence=levels,
    least_time=st.sampled_from([None, timedelta(seconds=1), HOUR, 9 * HOUR]),
)
coverages = st.none() | st.builds(
    ContentCoverage, whole=st.booleans(), gaps=st.sampled_from([(), (ContentGap(count=1),)])
)
results = st.sampled_from([AiResult.DECIDED, AiResult.DECIDED, AiResult.ABSTAINED, AiResult.UNAVAILABLE])
screenings = st.builds(
    lambda result, risk, confidence: PreScreenDone(
        PreScreened.model_construct(
            result=result, mode=ScreenMode.DEEP, risk=risk, confidence=confidence, model="m"
        )
    ),
    results,
    numbers,
    numbers,
)
answers = st.builds(
    lambda result, verdict, confidence: FallbackDone(
        AiDecided.model_construct(result=result, verdict=verdict, confidence=confidence, model="m")
    ),
    results,
    st.sampled_from([Verdict.APPROVE, Verdict.APPROVE, Verdict.REJECT, Verdict.UNSPECIFIED]),
    numbers,
)
stimuli: st.SearchStrategy[Stimulus] = st.one_of(
    screenings,
    answers,
    st.builds(TierTimeout, st.integers(1, 2)),
    st.just(Begin()),
    st.just(DeadlinePassed()),
)
# Each goes through all steps, with anything else in between.
histories = st.tuples(
    stimuli,
    screenings,
    stimuli,
    st.just(TierTimeout(1)),
    st.sampled_from([TierTimeout(2), DeadlinePassed()]),
    stimuli,
    answers,
)
waits = st.lists(st.sampled_from([0, 60, 3600, 9 * 3600]), min_size=7, max_size=7)


def capped(policy: Policy, automatic: Automatic) -> Policy:
    """The policy with these caps and a pre-screen that would approve any risk."""
    screen = PreScreen(mode=ScreenMode.DEEP, approve_below=1.0)
    return policy.model_copy(update={"automatic": automatic, "pre_screen": screen})


@given(st.sampled_from(POLICIES), caps, coverages, st.sampled_from([1.0, 3000.0]), histories, waits)
@settings(max_examples=200, deadline=None)
def test_no_model_decides_beyond_a_cap(
    policy: Policy,
    automatic: Automatic,
    coverage: ContentCoverage | None,
    scale: float,
    history: tuple[Stimulus, ...],
    seconds: list[int],
) -> None:
    play = Play(capped(policy, automatic), coverage=coverage, clock_scale=scale)
    for stimulus, wait in zip(history, seconds, strict=True):
        play.after(timedelta(seconds=wait)).on(stimulus)
    decided = play.state.decided
    if decided is None or decided.source not in (Source.AI_PRESCREEN, Source.AI_FALLBACK):
        assert decided is None or decided.state is State.REJECTED
        return
    approves = decided.state is State.APPROVED
    assert ("approve" if approves else "reject") in automatic.may
    if decided.source is Source.AI_FALLBACK:
        assert had_time(play, automatic)
    if not approves:
        return
    assert automatic.requires == "nothing" or (coverage is not None and coverage.is_whole)
    assert decided.confidence is not None
    assert automatic.least_confidence <= decided.confidence <= 1
    if automatic.most_risk is not None:
        screening = play.state.pre_screened
        assert screening is not None
        assert screening.result is AiResult.DECIDED
        assert screening.risk is not None
        assert 0 <= screening.risk <= automatic.most_risk


def had_time(play: Play, automatic: Automatic) -> bool:
    """Tells from the log alone whether people had their time before the outcome."""
    opened = next(event.time for event in play.events if event.body.type == "tier_opened")
    end = next(event.time for event in play.events if isinstance(event.body, Decided))
    least = automatic.least_time or play.policy.time_of(Priority.NORMAL)
    assert least is not None
    return (end - opened) * play.clock_scale >= least - timedelta(seconds=1)


def fallen_back(automatic: Automatic, risk: float = 0.5) -> Play:
    play = Play(DOCUMENT.model_copy(update={"automatic": automatic}))
    play.on(PreScreenDone(screened(risk)))
    for tier in (1, 2):
        play.after(9 * HOUR).on(TierTimeout(tier))
    return play


@pytest.mark.parametrize(
    ("automatic", "risk", "confidence", "why"),
    [
        (Automatic(may=("inform", "reject")), 0.5, 0.9, "the policy lets no AI approve"),
        (Automatic(most_risk=0.4), 0.5, 0.9, "the risk of 0.50 is above the policy's 0.40"),
        (Automatic(), 0.5, 0.49, "its confidence of 0.49 is below the policy's 0.50"),
        (Automatic(least_confidence=0.01), 0.5, 0.0, "its confidence of 0.00 is below the policy's 0.01"),
        (Automatic(), 0.5, math.nan, "it gave no confidence"),
        (Automatic(), 0.5, math.inf, "it gave no confidence"),
        (Automatic(), 0.5, None, "it gave no confidence"),
    ],
)
def test_an_approval_beyond_a_cap_is_an_abstention_that_says_which(
    automatic: Automatic, risk: float, confidence: float | None, why: str
) -> None:
    play = fallen_back(automatic, risk)
    withheld, answer, *_ = play.on(FallbackDone(ai_says().model_copy(update={"confidence": confidence})))
    assert withheld == Withheld(reason=why)
    assert isinstance(answer, AiDecided)
    assert answer.result is AiResult.ABSTAINED
    assert answer.reasoning == (
        f"The AI would have approved, but {why}: an abstention. It said: the model's reason"
    )
    assert (play.outcome.state, play.outcome.source) == (State.REJECTED, Source.POLICY)


def test_an_ai_that_may_only_inform_does_not_reject_either() -> None:
    play = fallen_back(Automatic(may=("inform",)))
    play.on(FallbackDone(ai_says(Verdict.REJECT)))
    assert (play.outcome.state, play.outcome.source) == (State.REJECTED, Source.POLICY)


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.name)
def test_a_deadline_that_cuts_peoples_time_rejects_and_asks_no_ai(policy: Policy) -> None:
    play = Play(policy)
    play.on(Begin() if policy.pre_screen is None else PreScreenDone(screened(0.5)))
    play.after(HOUR / 2).on(DeadlinePassed())
    (fell_back,) = [event.body for event in play.events if isinstance(event.body, FellBack)]
    assert fell_back.reason.endswith("; people did not have 1 h, so no AI decides")
    assert (play.outcome.state, play.outcome.source) == (State.REJECTED, Source.POLICY)


@pytest.mark.parametrize(
    ("automatic", "time", "fault"),
    [
        (Automatic(), timedelta(seconds=2), ""),
        (Automatic(deadline_from=("CI@example.com",)), HOUR, ""),
        (Automatic(deadline_from=("bob@example.com",)), HOUR, "may be given only by bob@example.com"),
        (Automatic(deadline_from=()), HOUR, "may be given only by nobody"),
        (Automatic(least_deadline=HOUR), HOUR / 2, "must be at least 1 h away"),
    ],
)
def test_a_policy_says_who_may_give_a_deadline_and_how_short(
    automatic: Automatic, time: timedelta, fault: str
) -> None:
    assert automatic.deadline_fault("ci@example.com", time) == fault
