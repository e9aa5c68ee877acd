"""Caps of automatic decisions: whatever a model says, it approves nothing beyond its policy's caps."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from placet_domain.allow_rule import AllowRule
from placet_domain.automatic import Automatic
from placet_domain.coverage import WHOLE, ContentCoverage, ContentGap
from placet_domain.events import (
    AiDecided,
    AiResult,
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
from placet_domain.facts import Amount, Facts, FoundFacts
from placet_domain.policy import Policy, PreScreen
from placet_domain.stimuli import Begin, DeadlinePassed, FallbackDone, PreScreenDone, TierTimeout
from placet_testing.simulation import MENU, NO_FACTS, Play, ai_says, screened
from placet_testing.workflow_environment import shipped_policy

HOUR = timedelta(hours=1)
# A rule that allows what the caps may not.
RULE = AllowRule(
    name="any",
    forms=("menu",),
    amount_at_most=Amount(value="900000", currency="EUR"),
    findings=("bank_details",),
)
NOTHING = FoundFacts()
DOCUMENT = shipped_policy("document")
POLICIES = [shipped_policy(name) for name in ("ai-fallback", "escalating", "document", "business-timeouts")]
numbers = st.none() | st.sampled_from([0.0, 0.2, 0.6, 1.0, math.nan, math.inf, -1.0, 2.0]) | st.floats(0, 1)
GAP = ContentCoverage(whole=True, gaps=(ContentGap(count=1),))
sums, currencies = st.sampled_from(["", "49", "51", "1e9", "-1"]), st.sampled_from(["EUR", "USD", ""])
kinds = st.sampled_from(["", "access", "payment"])
founds = st.builds(
    FoundFacts,
    form=st.just("menu"),
    amounts=st.lists(st.builds(Amount, value=sums, currency=currencies), max_size=2).map(tuple),
    firm=st.sampled_from([(), ("amount",), ("bank_details",)]),
    tampering=st.sampled_from([(), ("prompt_injection",)]),
)
# Drawn where it is not as it should be: by the model, the content, the clock or the policy's author.
HOSTILE: dict[str, st.SearchStrategy[Any]] = {  # Any: of each field
    "may": st.sampled_from([("inform",), ("reject",), ("approve", "reject")]),
    "requires": st.sampled_from(["read whole", "nothing"]),
    "most_risk": st.sampled_from([None, 0.0, 0.1, 1.0]),
    "least_confidence": st.sampled_from([0.01, 0.95, 1.0]),
    "least_time": st.sampled_from([None, timedelta(seconds=1), 9 * HOUR]),
    "coverage": st.sampled_from([None, ContentCoverage(), GAP]),
    "risk": numbers,
    "screen_confidence": numbers,
    "confidence": numbers,
    "screen_result": st.sampled_from(AiResult),
    "result": st.sampled_from(AiResult),
    "verdict": st.sampled_from(Verdict),
    "kinds": st.sampled_from([(), ("payment",), ("access", "payment")]),
    "most_amount": st.sampled_from([None, Amount(value="50", currency="EUR")]),
    "facts": st.builds(
        Facts, kind=st.sampled_from(["", "access", "payment"]), amount=sums, currency=currencies
    ),
    "found": founds,
    "answer_found": founds,
    "wait": st.sampled_from([timedelta(), HOUR / 2, 2 * HOUR]),
}


@given(st.data())
@settings(max_examples=150)
def test_no_model_decides_beyond_a_cap(data: st.DataObject) -> None:
    hostile = data.draw(st.sets(st.sampled_from(list(HOSTILE)), max_size=3))

    def drawn(name: str, otherwise: Any) -> Any:  # Any: of each field
        return data.draw(HOSTILE[name], name) if name in hostile else otherwise

    automatic = Automatic(
        may=drawn("may", ("approve",)),
        requires=drawn("requires", "read whole"),
        most_risk=drawn("most_risk", 0.5),
        least_confidence=drawn("least_confidence", 0.5),
        least_time=drawn("least_time", HOUR),
        kinds=drawn("kinds", ()),
        most_amount=drawn("most_amount", Amount(value="1000", currency="EUR")),
    )
    # One that would approve any risk at once, or none.
    screen = PreScreen(mode=ScreenMode.DEEP, approve_below=data.draw(st.sampled_from([None, 1.0])))
    policy = data.draw(st.sampled_from(POLICIES)).model_copy(
        update={"automatic": automatic, "pre_screen": screen, "allow": (RULE,)}
    )
    coverage, scale = drawn("coverage", WHOLE), data.draw(st.sampled_from([1.0, 3000.0]))
    screening = PreScreened.model_construct(
        result=drawn("screen_result", AiResult.DECIDED),
        mode=ScreenMode.DEEP,
        risk=drawn("risk", 0.3),
        confidence=drawn("screen_confidence", 0.9),
        model="m",
        found=drawn("found", MENU),
    )
    answer = AiDecided.model_construct(
        result=drawn("result", AiResult.DECIDED),
        verdict=drawn("verdict", Verdict.APPROVE),
        confidence=drawn("confidence", 0.9),
        model="m",
        found=drawn("answer_found", NOTHING),
    )
    play = Play(policy, coverage=coverage, clock_scale=scale, facts=drawn("facts", NO_FACTS))
    play.on(PreScreenDone(screening))
    timers: list[tuple[TierTimeout | DeadlinePassed, ...]]
    timers = [(TierTimeout(1), TierTimeout(2)), (DeadlinePassed(),)]
    for timer in data.draw(st.sampled_from(timers)):
        play.after(drawn("wait", 9 * HOUR) / scale).on(timer)
    play.on(FallbackDone(answer))
    check_caps(play, automatic)


def check_caps(play: Play, automatic: Automatic) -> None:
    """Compares the outcome with what the log holds."""
    decided, screening = play.state.decided, play.state.pre_screened
    if decided is None or (decided.source is Source.POLICY and decided.state is State.REJECTED):
        return
    approves = decided.state is State.APPROVED
    assert ("approve" if approves else "reject") in automatic.may
    in_fallback = decided.source is Source.AI_FALLBACK
    assert not in_fallback or had_time(play, automatic)
    if not approves:
        return
    assert automatic.requires == "nothing" or play.state.is_read_whole
    if decided.source is not Source.POLICY:
        assert decided.confidence is not None
        assert automatic.least_confidence <= decided.confidence <= 1
    facts = play.state.effective_facts()
    assert not automatic.kinds or facts.kind in automatic.kinds
    assert not facts.tampering
    assert not in_fallback or set(facts.firm) <= {"amount"}
    most = automatic.most_amount
    assert not facts.amounts or (facts.is_at_most(most) if most is not None else not in_fallback)
    if automatic.most_risk is not None:
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
