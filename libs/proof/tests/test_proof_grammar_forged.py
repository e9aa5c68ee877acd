"""Forged events are refused by the log's grammar, and in receipts."""

from __future__ import annotations

from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from placet.event.v1 import event_pb2
from placet_domain.stimuli import (
    Begin,
    TierTimeout,
)
from placet_proof import Leaf, NotProven, verify_receipt, vocabulary
from placet_proof.grammar import BEGIN, NotInGrammar, follow
from placet_proof.signer import verifier_key
from placet_testing.attestation import KEYS, attest_all
from placet_testing.grammar_paths import (
    asking_both,
    outcome,
    path_of,
    plain,
    play_events,
    receipt_of,
    sealed,
)
from placet_testing.simulation import (
    ALICE,
    APPROVAL,
    BOB,
    REQUESTER,
    TENANT,
    Play,
    decision,
)
from placet_testing.workflow_environment import shipped_policy

Events = list[event_pb2.Event]

ESCALATING = shipped_policy("escalating")
QUORUM = asking_both(ESCALATING)


# Found on a running stack.


def voted_path() -> Events:
    return play_events(Play(ESCALATING), Begin(), decision(ALICE))


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
        path_of([*play_events(Play(QUORUM), Begin(), decision(ALICE)), *path[-2:]])


@pytest.mark.parametrize("field", ["state", "source", "decision_type"])
@pytest.mark.parametrize("value", [0, 1, 5, 99, 2**31 - 1])
def test_a_value_that_the_outcome_cannot_have_is_refused(field: str, value: int) -> None:
    path = voted_path()
    if getattr(path[-2].decided, field) == value:
        return
    setattr(path[-2].decided, field, value)
    with pytest.raises(NotProven):
        path_of(path)


# Voters.


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
        path_of(attest_all(with_vote(**changes), TENANT, APPROVAL))


def test_a_person_votes_once_in_a_tier_and_where_they_were_asked_last() -> None:
    twice = play_events(Play(QUORUM), Begin(), decision(ALICE))
    with pytest.raises(NotInGrammar, match="once"):
        path_of([*twice, twice[-1]])
    # Bob is asked in both tiers.
    late = play_events(Play(QUORUM), Begin(), TierTimeout(1))
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
        path = follow(path, sealed(event, number)[0], {}, KEYS)
    assert path.outcome == event_pb2.STATE_APPROVED
    both = play_events(Play(QUORUM), Begin(), decision(ALICE), decision(BOB))
    path = BEGIN
    for number, event in enumerate(both, 1):
        path = follow(path, sealed(event, number)[0], {}, KEYS)
    assert path.outcome == event_pb2.STATE_APPROVED


# Receipts are judged by it.

KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
LOG = "log.example/placet/default"


def test_a_receipt_is_proven_only_if_its_path_fits() -> None:
    path, keys = voted_path(), [verifier_key(KEY, LOG), *KEYS]
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
            follow(BEGIN, leaf, {}, KEYS)
        except NotProven:
            continue
