"""The interpreter's events fit the log's grammar; with one change they are refused, or still consistent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from placet.event.v1 import event_pb2
from placet_domain.events import AiResult, Verdict
from placet_domain.policy import Policy
from placet_domain.stimuli import (
    Begin,
    DeadlinePassed,
    FallbackDone,
    FallbackUnavailable,
    PreScreenDone,
    TierTimeout,
)
from placet_proof import NotProven
from placet_proof.grammar import BEGIN, follow
from placet_testing.attestation import KEYS, attest_all
from placet_testing.grammar_paths import (
    asking_both,
    messages,
    path_of,
    play_events,
    sealed,
)
from placet_testing.simulation import (
    ALICE,
    APPROVAL,
    BOB,
    REQUESTER,
    TENANT,
    Play,
    ai_says,
    cancellation,
    comment,
    decision,
    screened,
)
from placet_testing.workflow_environment import shipped_policy

Events = list[event_pb2.Event]

ESCALATING = shipped_policy("escalating")
QUORUM = asking_both(ESCALATING)


# What the interpreter writes, and one change to it.

stimuli = st.one_of(
    st.builds(
        decision,
        st.sampled_from([ALICE, BOB, REQUESTER, "mallory@example.com"]),
        st.sampled_from([Verdict.APPROVE, Verdict.REJECT]),
    ),
    st.builds(cancellation, st.sampled_from([ALICE, REQUESTER]), operator=st.booleans()),
    st.builds(comment, st.sampled_from([ALICE, REQUESTER])),
    st.just(Begin()),
    st.just(DeadlinePassed()),
    st.just(FallbackUnavailable()),
    st.builds(TierTimeout, st.integers(1, 2)),
    st.builds(
        lambda risk, result: PreScreenDone(screened(risk, result)), st.floats(0, 1), st.sampled_from(AiResult)
    ),
    st.builds(
        lambda verdict, result: FallbackDone(ai_says(verdict, result)),
        st.sampled_from(Verdict),
        st.sampled_from(AiResult),
    ),
)
policies = st.sampled_from(
    [*map(shipped_policy, ("simple", "ai-fallback", "document", "business-timeouts")), ESCALATING, QUORUM]
)


@given(policy=policies, history=st.lists(stimuli, max_size=12))
def test_whatever_the_interpreter_writes_fits_and_each_step_ends_settled(
    policy: Policy, history: Sequence[Any]
) -> None:
    play, path, done = Play(policy), BEGIN, 0
    for stimulus in [None, *history]:
        if stimulus is not None:
            play.after(timedelta(hours=1)).on(stimulus)
        for event in messages(play.events[done:]):
            done += 1
            path = follow(path, *sealed(event, done), KEYS)
        assert path.settled
    assert path.outcome == (event_pb2.State.Value(f"STATE_{play.state.state}") if play.state.decided else 0)


def drop(path: Events, at: int, other: int) -> Events:
    return path[:at] + path[at + 1 :]


def double(path: Events, at: int, other: int) -> Events:
    return [*path[: at + 1], path[at], *path[at + 1 :]]


def move(path: Events, at: int, other: int) -> Events:
    rest = path[:at] + path[at + 1 :]
    return [*rest[: other % (len(rest) + 1)], path[at], *rest[other % (len(rest) + 1) :]]


def rename(path: Events, at: int, other: int) -> Events:
    path[at].actor.name.value = (ALICE, BOB, REQUESTER, "mallory@example.com")[other % 4]
    return path


def change_number(path: Events, at: int, other: int) -> Events:
    """Another value of one of the numbers in the body."""
    body = getattr(path[at], path[at].WhichOneof("body") or "")
    numbers = [
        one for one in body.DESCRIPTOR.fields if one.cpp_type in (one.CPPTYPE_UINT32, one.CPPTYPE_ENUM)
    ]
    if numbers and not (field := numbers[other % len(numbers)]).is_repeated:
        setattr(body, field.name, other // 7 % 7)
    return path


@given(
    policy=policies,
    history=st.lists(stimuli, min_size=1, max_size=8),
    how=st.sampled_from([drop, double, move, rename, change_number]),
    at=st.integers(0, 100),
    other=st.integers(0, 1000),
)
def test_a_path_with_one_change_is_refused_or_still_consistent(
    policy: Policy, history: Sequence[Any], how: Callable[[Events, int, int], Events], at: int, other: int
) -> None:
    path = play_events(Play(policy), *history)
    # Also where the command handler itself would have signed it.
    path = attest_all(how(path, at % len(path), other), TENANT, APPROVAL)
    try:
        path_of(path)
    except NotProven:
        return
    if path:
        assert_consistent(path)


def assert_consistent(path: Events) -> None:
    """The outcome of a path, by its events alone."""
    kinds = [event.WhichOneof("body") for event in path]
    assert kinds.index("received") == 0
    assert kinds.count("received") == 1
    assert kinds.count("decided") == kinds.count("closed") <= 1
    if "decided" not in kinds:
        return
    at = kinds.index("decided")
    assert kinds[at + 1] == "closed"
    assert set(kinds[at + 2 :]) <= {"refused", "notified"}
    decided = path[at].decided
    assert decided.state == path[at + 1].closed.state
    votes = [event for event in path[:at] if event.HasField("voted")]
    for vote in votes:
        asked = {one.asked.person.value for one in path if one.asked.tier == vote.voted.tier}
        assert vote.actor.name.value in asked - {path[0].actor.name.value}
        assert vote.voted.content_digest == path[0].received.content_digest
    if decided.source == event_pb2.SOURCE_HUMAN:
        mine = [vote for vote in votes if vote.voted.tier == decided.tier]
        (tier,) = [one.tier_opened for one in path if one.tier_opened.tier == decided.tier]
        yes = {one.actor.name.value for one in mine if one.voted.verdict == event_pb2.VERDICT_APPROVE}
        approved = len(yes) >= tier.quorum
        assert approved == (decided.state == event_pb2.STATE_APPROVED)
        assert approved or mine[-1].voted.verdict == event_pb2.VERDICT_REJECT
    else:
        assert not any(vote.voted.verdict == event_pb2.VERDICT_REJECT for vote in votes)
    if decided.source == event_pb2.SOURCE_AI_FALLBACK:
        assert kinds.index("fell_back") < kinds.index("ai_decided") == at - 1
