"""Invariants after any sequence of stimuli, in any order, under each shipped policy."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from placet_domain.commands import BaseCommand
from placet_domain.events import (
    ActorKind,
    AiResult,
    Decided,
    ErrorReason,
    Priority,
    Source,
    Verdict,
)
from placet_domain.rules.builders import CLOCK
from placet_domain.rules.refusals import explain_refusal
from placet_domain.state import ApprovalState
from placet_domain.stimuli import (
    Begin,
    DeadlinePassed,
    FallbackDone,
    FallbackUnavailable,
    PreScreenDone,
    Stimulus,
    TierTimeout,
    Undecodable,
)
from placet_testing.simulation import (
    ALICE,
    BOB,
    REQUESTER,
    Play,
    ai_says,
    cancellation,
    comment,
    decision,
    screened,
)
from placet_testing.workflow_environment import shipped_policy

POLICIES = [
    shipped_policy(name) for name in ("simple", "ai-fallback", "escalating", "document", "business-timeouts")
]
people = st.sampled_from([ALICE, BOB, REQUESTER, "mallory@example.com"])
ids = st.sampled_from([f"command-{number}" for number in range(5)])
results = st.sampled_from([AiResult.DECIDED, AiResult.ABSTAINED, AiResult.UNAVAILABLE])
verdicts = st.sampled_from([Verdict.APPROVE, Verdict.REJECT])

commands = st.one_of(
    st.builds(
        lambda person, verdict, reason, right, command_id: decision(
            person,
            verdict,
            reason=reason,
            content_digest=("c0" if right else "c1") * 32,
            command_id=command_id,
        ),
        people,
        verdicts,
        st.sampled_from(["", "because"]),
        st.booleans(),
        ids,
    ),
    st.builds(lambda person, text: comment(person, text), people, st.sampled_from(["", "because"])),
    st.builds(
        lambda person, operator, command_id: cancellation(person, operator=operator).model_copy(
            update={"id": command_id}
        ),
        people,
        st.booleans(),
        ids,
    ),
)
stimuli = st.one_of(
    commands,
    st.just(Begin()),
    st.just(DeadlinePassed()),
    st.just(FallbackUnavailable()),
    st.builds(TierTimeout, st.integers(min_value=0, max_value=3)),
    st.builds(lambda risk, result: PreScreenDone(screened(risk, result)), st.floats(0, 1), results),
    st.builds(lambda verdict, result: FallbackDone(ai_says(verdict, result)), verdicts, results),
    st.builds(
        lambda mark: Undecodable(cause_id=f"undecodable-{mark}", digest=mark * 32), st.sampled_from("ab")
    ),
)
histories = st.lists(st.tuples(stimuli, st.integers(min_value=0, max_value=7200)), max_size=25)
plays = st.builds(
    Play,
    st.sampled_from(POLICIES),
    st.sampled_from([Priority.URGENT, Priority.HIGH, Priority.NORMAL, Priority.LOW]),
)


def run(play: Play, history: list[tuple[Stimulus, int]]) -> Play:
    for stimulus, seconds in history:
        play.after(timedelta(seconds=seconds)).on(stimulus)
    return play


@given(plays, histories)
def test_there_is_one_outcome_at_most_and_nothing_but_refusals_after_it(
    play: Play, history: list[tuple[Stimulus, int]]
) -> None:
    run(play, history)
    assert play.path.count("decided") == play.path.count("closed") <= 1
    if "decided" in play.path:
        end = play.path.index("decided")
        assert play.path[end + 1] == "closed"
        assert set(play.path[end + 2 :]) <= {"refused", "notified"}


@given(plays, histories)
def test_a_human_outcome_is_the_vote_of_a_person_who_was_asked_and_of_nobody_else(
    play: Play, history: list[tuple[Stimulus, int]]
) -> None:
    run(play, history)
    for number, event in enumerate(play.events):
        body = event.body
        if not isinstance(body, Decided) or body.source is not Source.HUMAN:
            continue
        assert event.actor.kind is ActorKind.PERSON
        assert event.actor.name == body.approver
        assert body.approver in play.state.asked
        assert body.approver != REQUESTER
        assert play.path[number - 1] == "voted"


@given(plays, histories)
def test_the_clock_never_decides_and_a_timeout_is_never_a_persons_rejection(
    play: Play, history: list[tuple[Stimulus, int]]
) -> None:
    run(play, history)
    clocked = [event.body.type for event in play.events if event.actor == CLOCK]
    assert set(clocked) <= {"timed_out", "escalated", "paused"}
    if "decided" in play.path and "voted" not in play.path:
        assert play.outcome.source is not Source.HUMAN


@given(plays, histories)
def test_each_command_leaves_exactly_one_result(play: Play, history: list[tuple[Stimulus, int]]) -> None:
    run(play, history)
    sent = {stimulus.id for stimulus, _ in history if isinstance(stimulus, BaseCommand)}
    for command_id in sent:
        caused = [event.body.type for event in play.events if event.cause_id == command_id]
        if not caused:
            # It came before anybody was asked, and has its result when it is processed again.
            early = [one for one, _ in history if isinstance(one, BaseCommand) and one.id == command_id]
            assert all(one.actor.name in (ALICE, BOB) for one in early)
            continue
        assert caused in (["refused"], ["voted", "decided", "closed"], ["decided", "closed"], ["commented"])
        marks = [event.ends_command for event in play.events if event.cause_id == command_id]
        assert marks == [False] * (len(marks) - 1) + [True]
        assert (play.state.commands[command_id].refusal is not None) == (caused == ["refused"])


@given(plays, histories)
def test_an_ai_decides_only_where_its_step_was_reached(
    play: Play, history: list[tuple[Stimulus, int]]
) -> None:
    run(play, history)
    if "ai_decided" in play.path:
        assert play.path.index("fell_back") < play.path.index("ai_decided")
    if "decided" in play.path and play.outcome.source is Source.AI_PRESCREEN:
        assert play.policy.name == "document"
        assert "asked" not in play.path


@given(plays, histories)
def test_tiers_open_in_order_each_once(play: Play, history: list[tuple[Stimulus, int]]) -> None:
    run(play, history)
    opened = [event.body.tier for event in play.events if event.body.type == "tier_opened"]
    assert opened == list(range(1, len(opened) + 1))
    assert len(opened) <= len(play.policy.tiers)


@given(plays, histories)
def test_the_state_survives_its_journey_into_a_continued_run(
    play: Play, history: list[tuple[Stimulus, int]]
) -> None:
    run(play, history)
    assert ApprovalState.model_validate_json(play.state.model_dump_json()) == play.state


@given(plays, histories, stimuli)
def test_a_trial_leaves_the_state_as_it_was(
    play: Play, history: list[tuple[Stimulus, int]], stimulus: Stimulus
) -> None:
    run(play, history)
    before = play.state.model_dump_json()
    trial = play.state.copy_for_trial()
    aside = Play(play.policy)
    aside.state, aside.events, aside.now = trial, list(play.events), play.now
    aside.on(stimulus)
    assert play.state.model_dump_json() == before


@given(commands, st.sampled_from(list(ErrorReason)))
def test_every_refusal_has_words(command: BaseCommand, reason: ErrorReason) -> None:
    play = Play(POLICIES[0])
    play.on(Begin(), decision(ALICE))
    assert play.on(command)[0].type == "refused"
    assert explain_refusal(play.state, reason).strip()
