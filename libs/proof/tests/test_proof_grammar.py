"""The log's grammar: each event in each state, what the interpreter writes, and what a forger would."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from google.protobuf.descriptor import EnumDescriptor
from hypothesis import given, settings
from hypothesis import strategies as st

from placet.event.v1 import error_reason_pb2, event_pb2, options_pb2
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
from placet_proof import Leaf, NotProven, verify_receipt, vocabulary
from placet_proof.grammar import BEGIN, NotInGrammar, check_of_tenant, follow
from placet_proof.signer import verifier_key
from placet_testing.grammar_paths import APPROVAL, messages, path_of, receipt_of, sealed
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

Events = list[event_pb2.Event]
BODY = event_pb2.Event.DESCRIPTOR.oneofs_by_name["body"]


def quorum_policy() -> Policy:
    """The escalating policy, in whose first tier both people must approve."""
    policy = shipped_policy("escalating")
    first, second = policy.tiers
    both = first.model_copy(update={"asks": first.asks + second.asks, "quorum": 2})
    return policy.model_copy(update={"tiers": (both, second)})


ESCALATING, DOCUMENT, QUORUM = shipped_policy("escalating"), shipped_policy("document"), quorum_policy()


def events(play: Play, *stimuli: Any) -> Events:  # Any: stimuli
    """Events of a request after these stimuli, an hour apart."""
    for stimulus in stimuli:
        play.after(timedelta(hours=1)).on(stimulus)
    return messages(play.events)


# The vocabulary equals the contract.


def test_the_kinds_are_those_of_the_contract() -> None:
    assert {field.number: field.name for field in BODY.fields} == vocabulary.KINDS


def test_the_kinds_of_the_tenant_are_those_that_the_contract_places_there() -> None:
    placed = {
        field.number
        for field in BODY.fields
        if field.message_type.GetOptions().Extensions[options_pb2.place] == options_pb2.PLACE_TENANT
    }
    # EraseEvents alone writes it, so that it has no place for appends.
    assert placed | {vocabulary.ERASED} == vocabulary.OF_THE_TENANT


def test_the_enums_are_those_of_the_contract() -> None:
    found = {
        field.number: {
            inner.number: largest(inner.enum_type) for inner in field.message_type.fields if inner.enum_type
        }
        for field in BODY.fields
    }
    assert {kind: enums for kind, enums in found.items() if enums} == vocabulary.ENUMS
    assert largest(event_pb2.ActorKind.DESCRIPTOR) == vocabulary.ACTOR_KINDS


def largest(enum: EnumDescriptor) -> int:
    assert [value.number for value in enum.values] == list(range(len(enum.values)))
    return len(enum.values) - 1


@pytest.mark.parametrize(
    ("table", "prefix"),
    [
        (vocabulary.State, "STATE"),
        (vocabulary.Source, "SOURCE"),
        (vocabulary.DecisionType, "DECISION_TYPE"),
    ],
)
def test_the_names_of_the_values_are_those_of_the_contract(table: Any, prefix: str) -> None:
    for one in table:
        assert getattr(event_pb2, f"{prefix}_{one.name}") == one.value
    assert vocabulary.PERSON == event_pb2.ACTOR_KIND_PERSON
    assert (vocabulary.APPROVE, vocabulary.REJECT) == (event_pb2.VERDICT_APPROVE, event_pb2.VERDICT_REJECT)
    assert vocabulary.AI_DECIDED_RESULT == event_pb2.AI_RESULT_DECIDED
    assert vocabulary.LOW_RISK == event_pb2.RISK_LEVEL_LOW


# Each event in each state.


def plain(kind: str, person: str = "", **fields: Any) -> event_pb2.Event:  # Any: fields of a message
    event = event_pb2.Event(cause_id="forged", **{kind: getattr(event_pb2, camel(kind))(**fields)})
    event.actor.kind = event_pb2.ACTOR_KIND_PERSON if person else event_pb2.ACTOR_KIND_SERVICE
    if person:
        event.actor.name.value = person
    return event


def camel(kind: str) -> str:
    return "".join(part.capitalize() for part in kind.split("_"))


def outcome(
    source: str, state: str, kind: str = "UNSPECIFIED", by: str = "", **fields: Any
) -> event_pb2.Event:
    event = plain(
        "decided",
        by or BOB,
        source=getattr(event_pb2, f"SOURCE_{source}"),
        state=getattr(event_pb2, f"STATE_{state}"),
        decision_type=getattr(event_pb2, f"DECISION_TYPE_{kind}"),
        **fields,
    )
    event.decided.approver.value = by
    return event


def candidates(before: Events) -> dict[str, event_pb2.Event]:
    """An event of each kind, as well formed for this state as can be; of decided, one of each source."""
    play = Play(ESCALATING)
    tiers = [one for one in before if one.HasField("tier_opened")]
    asked = [number for number, one in enumerate(before, 1) if one.HasField("asked")]
    told = {one.notified.asked_number for one in before if one.HasField("notified")}
    (received,) = messages(play.events)
    waiting = [number for number in asked if number not in told]
    known = before[0].received if before else received.received
    voted = plain(
        "voted",
        BOB,
        tier=len(tiers),
        verdict=event_pb2.VERDICT_REJECT,
        content_digest=known.content_digest,
        policy_digest=known.policy_digest,
        policy_version=known.policy_version,
    )
    decided = [one.decided for one in before if one.HasField("decided")]
    return {
        "received": received,
        "processed": plain("processed"),
        "pre_screened": plain("pre_screened", result=event_pb2.AI_RESULT_ABSTAINED),
        "tier_opened": plain("tier_opened", tier=len(tiers) + 1, quorum=1),
        "asked": plain("asked", tier=len(tiers)),
        "notified": plain("notified", asked_number=waiting[0] if waiting else 1),
        "timed_out": plain("timed_out", tier=len(tiers)),
        "escalated": plain("escalated", from_tier=len(tiers), to_tier=len(tiers) + 1),
        "voted": voted,
        "refused": plain("refused", reason=error_reason_pb2.ERROR_REASON_NOT_ASKED),
        "fell_back": plain("fell_back"),
        "ai_decided": plain(
            "ai_decided", result=event_pb2.AI_RESULT_DECIDED, verdict=event_pb2.VERDICT_APPROVE
        ),
        "paused": plain("paused", step="fallback"),
        "decided HUMAN": outcome("HUMAN", "APPROVED", "HUMAN", f"{ALICE}, {BOB}", tier=1),
        "decided AI_PRESCREEN": outcome("AI_PRESCREEN", "APPROVED", "AUTOMATIC"),
        "decided AI_FALLBACK": outcome("AI_FALLBACK", "APPROVED", "AI_FALLBACK"),
        "decided POLICY": outcome("POLICY", "REJECTED", "AUTOMATIC"),
        "decided REQUESTER": outcome("REQUESTER", "CANCELLED", by=REQUESTER),
        "closed": plain("closed", state=decided[0].state if decided else event_pb2.STATE_APPROVED),
        "access_refused": plain("access_refused"),
        "erased": plain("erased", approval_id=APPROVAL),
        "commented": plain("commented"),
        "fallback_alarm": plain("fallback_alarm"),
    }


def cut(path: Events, last: str, times: int = 1) -> Events:
    """The path up to the event of this kind, the first or a later one."""
    ends = [number for number, event in enumerate(path, 1) if event.WhichOneof("body") == last]
    return path[: ends[times - 1]]


SILENT = (Begin(), TierTimeout(1), TierTimeout(2), FallbackUnavailable(), FallbackDone(ai_says()))
STATES: dict[str, Callable[[], Events]] = {
    "nothing": list,
    "received": lambda: events(Play(ESCALATING)),
    "screened low": lambda: cut(events(Play(DOCUMENT), PreScreenDone(screened(0.01))), "pre_screened"),
    "tier opened": lambda: cut(events(Play(QUORUM), Begin()), "tier_opened"),
    "asked": lambda: events(Play(QUORUM), Begin()),
    "one of two voted": lambda: events(Play(QUORUM), Begin(), decision(ALICE)),
    "both voted": lambda: cut(events(Play(QUORUM), Begin(), decision(ALICE), decision(BOB)), "voted", 2),
    "timed out": lambda: cut(events(Play(ESCALATING), *SILENT), "timed_out"),
    "escalated": lambda: cut(events(Play(ESCALATING), *SILENT), "escalated"),
    "second tier": lambda: cut(events(Play(ESCALATING), *SILENT), "asked", 2),
    "fell back": lambda: cut(events(Play(ESCALATING), *SILENT), "fell_back"),
    "paused": lambda: cut(events(Play(ESCALATING), *SILENT), "paused"),
    "AI decided": lambda: cut(events(Play(ESCALATING), *SILENT), "ai_decided"),
    "decided": lambda: cut(events(Play(ESCALATING), *SILENT), "decided"),
    "closed": lambda: events(Play(ESCALATING), *SILENT),
}
ASIDE = {"refused", "commented"}
OPEN = ASIDE | {"processed", "pre_screened", "paused", "decided REQUESTER"}
LATE = ASIDE | {"processed", "notified", "voted", "ai_decided", "decided REQUESTER"}
ALLOWED: dict[str, set[str]] = {
    "nothing": {"received"},
    "received": OPEN | {"tier_opened", "fell_back"},
    "screened low": OPEN - {"pre_screened"} | {"tier_opened", "fell_back", "decided AI_PRESCREEN"},
    "tier opened": OPEN | {"asked", "timed_out"},
    "asked": OPEN | {"asked", "notified", "voted", "timed_out"},
    "one of two voted": OPEN | {"notified", "voted", "timed_out"},
    "both voted": {"decided HUMAN"},
    "timed out": {"escalated", "fell_back"},
    "escalated": {"tier_opened"},
    "second tier": OPEN | {"asked", "notified", "voted", "timed_out"},
    "fell back": LATE | {"paused", "decided POLICY"},
    "paused": LATE,
    "AI decided": {"decided AI_FALLBACK"},
    "decided": {"closed"},
    "closed": ASIDE | {"notified"},
}


@pytest.mark.parametrize("state", STATES)
def test_each_kind_of_event_in_each_state_is_allowed_or_refused(state: str) -> None:
    before = STATES[state]()
    path = BEGIN
    for number, event in enumerate(before, 1):
        path = follow(path, *sealed(event, number))
    allowed = set()
    for kind, event in candidates(before).items():
        try:
            follow(path, *sealed(event, len(before) + 1))
        except NotInGrammar:
            continue
        allowed.add(kind)
    assert allowed == ALLOWED[state]


@pytest.mark.parametrize("state", STATES)
def test_an_append_ends_where_a_step_ends(state: str) -> None:
    path = BEGIN
    for number, event in enumerate(STATES[state](), 1):
        path = follow(path, *sealed(event, number))
    assert path.settled is (state not in ("both voted", "timed out", "escalated", "AI decided", "decided"))


@pytest.mark.parametrize("kind", [field.name for field in BODY.fields])
def test_an_event_of_the_tenant_is_one_of_its_kinds(kind: str) -> None:
    leaf, _ = sealed(plain(kind), 0, approval_id="")
    if leaf.body in vocabulary.OF_THE_TENANT:
        check_of_tenant(leaf)
        return
    with pytest.raises(NotInGrammar):
        check_of_tenant(leaf)


# Found on a running stack.


def voted_path() -> Events:
    return events(Play(ESCALATING), Begin(), decision(ALICE))


def test_a_path_without_received_is_refused() -> None:
    for start in range(1, len(voted_path())):
        with pytest.raises(NotInGrammar, match="received"):
            path_of(voted_path()[start:])


def test_a_second_decided_is_refused() -> None:
    path = voted_path()
    for at in (len(path) - 1, len(path)):
        with pytest.raises(NotInGrammar):
            path_of([*path[:at], outcome("POLICY", "REJECTED", "AUTOMATIC"), *path[at:]])


def test_a_decision_of_people_without_their_votes_is_refused() -> None:
    path = voted_path()
    (vote,) = [event for event in path if event.HasField("voted")]
    with pytest.raises(NotInGrammar, match="grounds"):
        path_of([event for event in path if event is not vote])
    with pytest.raises(NotInGrammar, match="grounds"):
        path_of([*events(Play(QUORUM), Begin(), decision(ALICE)), *path[-2:]])


@pytest.mark.parametrize("field", ["state", "source", "decision_type"])
@pytest.mark.parametrize("value", [0, 1, 5, 99, 2**31 - 1])
def test_a_value_that_the_outcome_cannot_have_is_refused(field: str, value: int) -> None:
    path = voted_path()
    if getattr(path[-2].decided, field) == value:
        return
    setattr(path[-2].decided, field, value)
    with pytest.raises(NotProven):
        path_of(path)


# Who votes.


def with_vote(**changes: Any) -> Events:
    """A path whose vote and outcome are changed alike. Any: of each the field's type."""
    path = voted_path()
    vote, decided = path[-3], path[-2]
    for name, value in changes.items():
        if name == "person":
            vote.actor.name.value = decided.actor.name.value = decided.decided.approver.value = value
        elif name == "actor_kind":
            vote.actor.kind = value
        else:
            setattr(vote.voted, name, value)
    return path


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"person": BOB}, "was asked in that tier"),
        ({"person": REQUESTER}, "requester"),
        ({"person": "mallory@example.com"}, "was asked in that tier"),
        ({"person": ALICE.upper()}, "was asked in that tier"),
        ({"actor_kind": event_pb2.ACTOR_KIND_SERVICE}, "a person votes"),
        ({"tier": 2}, "not opened"),
        ({"tier": 0}, "not opened"),
        ({"verdict": 0}, "no verdict"),
        ({"verdict": 3}, "does not have"),
        ({"verdict": event_pb2.VERDICT_REJECT}, "grounds"),
        ({"content_digest": b"d" * 32}, "other content"),
        ({"policy_digest": b"d" * 32}, "another policy"),
        ({"policy_version": 9}, "another policy"),
    ],
)
def test_a_vote_that_nobody_asked_for_is_refused(changes: dict[str, Any], why: str) -> None:
    with pytest.raises(NotInGrammar, match=why):
        path_of(with_vote(**changes))


def test_a_person_votes_once_in_a_tier_and_where_they_were_asked_last() -> None:
    twice = events(Play(QUORUM), Begin(), decision(ALICE))
    with pytest.raises(NotInGrammar, match="once"):
        path_of([*twice, twice[-1]])
    # Bob is asked in both tiers.
    late = events(Play(QUORUM), Begin(), TierTimeout(1))
    early = plain("voted", BOB)
    early.voted.CopyFrom(twice[-1].voted)
    with pytest.raises(NotInGrammar, match="later tier"):
        path_of([*late, early])


def test_an_outcome_names_those_who_voted() -> None:
    path = voted_path()
    path[-2].decided.approver.value = BOB
    with pytest.raises(NotInGrammar, match="other people"):
        path_of(path)


def test_where_names_are_erased_the_rest_of_the_grammar_holds() -> None:
    path = BEGIN
    for number, event in enumerate(voted_path(), 1):
        path = follow(path, sealed(event, number)[0], {})
    assert path.outcome == event_pb2.STATE_APPROVED
    both = events(Play(QUORUM), Begin(), decision(ALICE), decision(BOB))
    path = BEGIN
    for number, event in enumerate(both, 1):
        path = follow(path, sealed(event, number)[0], {})
    assert path.outcome == event_pb2.STATE_APPROVED


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


@settings(max_examples=200, deadline=None)
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
            path = follow(path, *sealed(event, done))
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


@settings(max_examples=500, deadline=None)
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
    path = events(Play(policy), *history)
    path = how(path, at % len(path), other)
    try:
        path_of(path)
    except NotProven:
        return
    if path:
        assert_consistent(path)


def assert_consistent(path: Events) -> None:
    """What a path says of itself, by its events alone."""
    kinds = [event.WhichOneof("body") for event in path]
    assert kinds.index("received") == 0
    assert kinds.count("received") == 1
    assert kinds.count("decided") == kinds.count("closed") <= 1
    if "decided" not in kinds:
        return
    at = kinds.index("decided")
    assert kinds[at + 1] == "closed"
    assert set(kinds[at + 2 :]) <= {"refused", "commented", "notified"}
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


# Receipts are judged by it.

KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
LOG = "log.example/placet/default"


def test_a_receipt_is_proven_only_if_its_path_fits() -> None:
    path, keys = voted_path(), [verifier_key(KEY, LOG)]
    assert len(verify_receipt(receipt_of(path, KEY, LOG), keys).entries) == len(path)
    twice = [*path, outcome("POLICY", "REJECTED", "AUTOMATIC"), plain("closed", state=3)]
    for forged in (path[1:], [*path[:3], *path[4:]], twice, path[:-1]):
        with pytest.raises(NotInGrammar):
            verify_receipt(receipt_of(forged, KEY, LOG), keys)


@given(raw=st.binary(max_size=60))
def test_a_body_of_anything_is_refused_and_nothing_else_is_raised(raw: bytes) -> None:
    for kind in vocabulary.KINDS:
        head = bytes([kind << 3 & 0x7F | 0x82, kind >> 4]) + bytes([len(raw)]) + raw
        event = b"\x22" + bytes([len(head)]) + head
        try:
            leaf = Leaf.parse(b"\x12\x01a\x18\x01" + event)
            follow(BEGIN, leaf, {})
        except NotProven:
            continue
