"""A person's command has its event only with the attestation of exactly this command."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from placet.event.v1 import error_reason_pb2, event_pb2
from placet_domain.stimuli import Begin
from placet_proof import NotAttested, NotProven, VerifierKey, attestation_keys, verify_receipt
from placet_proof.attestation import Statement
from placet_proof.grammar import BEGIN, NotInGrammar, Path, follow, follow_all
from placet_proof.signer import verifier_key
from placet_testing.attestation import KEY, KEYS, attest, public_key
from placet_testing.grammar_paths import messages, play_events, receipt_of, sealed
from placet_testing.simulation import (
    ALICE,
    APPROVAL,
    BOB,
    REQUESTER,
    TENANT,
    Play,
    cancellation,
    comment,
    decision,
)
from placet_testing.workflow_environment import shipped_policy

Events = list[event_pb2.Event]
OTHER = "bbbbbbbb-bbbb-5bbb-8bbb-bbbbbbbbbbbb"
OTHER_KEY = Ed25519PrivateKey.from_private_bytes(b"o" * 32)
LOG_KEY, LOG = Ed25519PrivateKey.from_private_bytes(bytes(32)), "log.example/placet/default"
SENDERS = {"voted": ALICE, "decided": REQUESTER, "commented": ALICE, "refused": BOB}


def before() -> Events:
    """A request for which alice was asked."""
    return play_events(Play(shipped_policy("simple")), Begin())


def commanded(kind: str) -> event_pb2.Event:
    """The event of each kind of command that may follow `before`, as the command handler signs it."""
    play = Play(shipped_policy("simple"))
    play.on(Begin())
    sent = {
        "voted": decision(ALICE, policy_digest=play.policy.digest(), rendering="text/1"),
        "decided": cancellation(),
        "commented": comment(ALICE),
        "refused": decision(BOB),
    }
    at = len(play.events)
    play.telling = False
    play.on(sent[kind])
    event = messages(play.events)[at]
    assert event.WhichOneof("body") == kind
    return event


def unsigned(kind: str) -> event_pb2.Event:
    event = commanded(kind)
    event.ClearField("attestation")
    return event


def judged(event: event_pb2.Event, keys: tuple[VerifierKey, ...] = KEYS, approval_id: str = APPROVAL) -> Path:
    """The path with this event after `before`."""
    told = [one for one in before() if not one.HasField("notified")]
    path = follow_all((sealed(one, n, approval_id) for n, one in enumerate(told, 1)), keys)
    return follow(path, *sealed(event, len(told) + 1, approval_id), keys)


@pytest.mark.parametrize("kind", SENDERS)
def test_the_event_of_a_command_has_its_attestation(kind: str) -> None:
    event = commanded(kind)
    assert judged(event).commands == (event.cause_id,)
    with pytest.raises(NotAttested, match="no attestation"):
        judged(unsigned(kind))


# Parts of an event that a worker, or whoever can append, can change.
CHANGES: dict[str, Callable[[event_pb2.Event], object]] = {
    "command id": lambda event: setattr(event, "cause_id", "another"),
    "person": lambda event: setattr(event.actor.name, "value", SENDERS["voted"] + ".org"),
    "kind of sender": lambda event: setattr(event.actor, "kind", event_pb2.ACTOR_KIND_SERVICE),
    "authentication": lambda event: setattr(event.actor, "authenticated_by", "jwt:elsewhere"),
    "key": lambda event: setattr(event.attestation.service, "key_id", b"none"),
    "signature": lambda event: setattr(event.attestation.service, "signature", bytes(64)),
    "no signature": lambda event: event.attestation.service.ClearField("signature"),
    "signature of one byte more": lambda event: setattr(
        event.attestation.service, "signature", event.attestation.service.signature + b"\0"
    ),
    "time": lambda event: setattr(event.attestation.service.time, "seconds", 1_800_000_000),
    "fraction of the time": lambda event: setattr(event.attestation.service.time, "nanos", 1),
    "body": lambda event: setattr(event.attestation.service, "body_digest", bytes(32)),
    "operator": lambda event: setattr(
        event.attestation.service, "operator", not event.attestation.service.operator
    ),
    "salts": lambda event: setattr(event.attestation.service, "salt_seed", b"s" * 16),
    "no signer": lambda event: event.attestation.ClearField("service"),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("kind", SENDERS)
def test_a_change_of_what_was_signed_is_refused(kind: str, change: str) -> None:
    event = commanded(kind)
    CHANGES[change](event)
    with pytest.raises(NotProven):
        judged(event)


# Fields of one kind of event alone.
BODIES: dict[str, tuple[str, Callable[[event_pb2.Event], object]]] = {
    "verdict": ("voted", lambda event: setattr(event.voted, "verdict", event_pb2.VERDICT_REJECT)),
    "reason": ("voted", lambda event: setattr(event.voted.reason, "value", "I was forced")),
    "no reason": ("voted", lambda event: event.voted.ClearField("reason")),
    "rendering": ("voted", lambda event: setattr(event.voted, "rendering", "text/9")),
    "on whose behalf": ("voted", lambda event: setattr(event.voted.on_behalf_of, "value", BOB)),
    "reason of a withdrawal": ("decided", lambda event: setattr(event.decided.reasoning, "value", "never")),
    "comment": ("commented", lambda event: setattr(event.commented.text, "value", "I agree")),
    "kind of command": ("refused", lambda event: setattr(event.refused, "command", "cancel")),
}


@pytest.mark.parametrize("change", BODIES)
def test_a_change_of_what_the_command_said_is_refused(change: str) -> None:
    kind, make = BODIES[change]
    event = commanded(kind)
    make(event)
    with pytest.raises(NotAttested):
        judged(event)


# An attestation that the key did sign, and of another statement.
STATEMENTS: dict[str, dict[str, Any]] = {
    "tenant": {"tenant": "other"},
    "request": {"approval_id": OTHER},
    "command id": {"command_id": "another"},
    "kind of command": {"command": "claim"},
    "body": {"body_digest": bytes(32)},
    "kind of sender": {"sender_kind": 2},
    "person": {"sender": bytes(32)},
    "authentication": {"authenticated_by": "jwt:elsewhere"},
    "role": {"operator": True},
    "time": {"seconds": 1},
    "fraction of the time": {"nanos": 999},
}


def test_each_field_of_the_statement_is_tried() -> None:
    tried = {name for changes in STATEMENTS.values() for name in changes}
    assert tried == set(Statement.__dataclass_fields__)


@pytest.mark.parametrize("changed", STATEMENTS)
@pytest.mark.parametrize("kind", SENDERS)
def test_the_attestation_of_another_statement_is_refused(kind: str, changed: str) -> None:
    judged(attest(unsigned(kind), TENANT, APPROVAL))
    with pytest.raises(NotAttested, match="not one of this statement"):
        judged(attest(unsigned(kind), TENANT, APPROVAL, lie=STATEMENTS[changed]))


def test_texts_of_a_statement_cannot_be_shifted_from_one_field_to_the_next() -> None:
    one = Statement("ab", "c", "d", "e", b"", 1, b"", "", False, 0, 0)
    other = Statement("a", "bc", "d", "e", b"", 1, b"", "", False, 0, 0)
    assert one.encoded != other.encoded


@pytest.mark.parametrize("kind", SENDERS)
def test_an_attestation_moved_to_another_request_is_refused(kind: str) -> None:
    with pytest.raises(NotAttested):
        judged(commanded(kind), approval_id=OTHER)


@pytest.mark.parametrize("kind", ["commented", "refused"])
def test_a_command_has_one_event(kind: str) -> None:
    event = commanded(kind)
    path = judged(event)
    number = len([one for one in before() if not one.HasField("notified")]) + 2
    for again in (event, attest(unsigned(kind), TENANT, APPROVAL)):
        again.cause_id = event.cause_id
        attest(again, TENANT, APPROVAL)
        with pytest.raises(NotAttested, match="already"):
            follow(path, *sealed(again, number), KEYS)


def test_a_vote_is_no_refusal_of_the_same_command_after_the_outcome() -> None:
    path = [*before(), *messages_of_decision()]
    voted = next(one for one in path if one.HasField("voted"))
    late = event_pb2.Event()
    late.CopyFrom(voted)
    late.refused.command, late.refused.reason = "decision", error_reason_pb2.ERROR_REASON_CLOSED
    with pytest.raises(NotAttested, match="already"):
        follow_all((sealed(one, n) for n, one in enumerate([*path, late], 1)), KEYS)


def messages_of_decision() -> Events:
    return play_events(Play(shipped_policy("simple")), Begin(), decision(ALICE))[len(before()) :]


def test_an_attestation_belongs_on_the_event_of_a_command_alone() -> None:
    path = [*before(), *messages_of_decision()]
    (voted,) = [one for one in path if one.HasField("voted")]
    path[-1].attestation.CopyFrom(voted.attestation)
    with pytest.raises(NotInGrammar, match="not the event of a command"):
        follow_all((sealed(one, n) for n, one in enumerate(path, 1)), KEYS)


def test_only_the_requester_or_an_operator_withdraws() -> None:
    event = unsigned("decided")
    event.actor.name.value = event.decided.approver.value = BOB
    with pytest.raises(NotInGrammar, match="requester or an operator"):
        judged(attest(event, TENANT, APPROVAL))
    assert judged(attest(event, TENANT, APPROVAL, operator=True)).outcome == event_pb2.STATE_CANCELLED


def test_what_could_not_be_read_has_no_sender_and_no_attestation() -> None:
    event = unsigned("refused")
    event.actor.Clear()
    event.actor.kind = event_pb2.ACTOR_KIND_SERVICE
    judged(event)
    event.actor.name.value = "ci@example.com"
    with pytest.raises(NotAttested):
        judged(event)


@pytest.mark.parametrize("kind", SENDERS)
def test_it_is_valid_after_an_erasure_too_and_what_it_says_stays_bound(kind: str) -> None:
    def erased(event: event_pb2.Event) -> Path:
        path = BEGIN
        for number, one in enumerate([*before(), event], 1):
            path = follow(path, sealed(one, number)[0], {}, KEYS)
        return path

    assert erased(commanded(kind)).commands
    event = commanded(kind)
    event.actor.name.value = "mallory@example.com"
    with pytest.raises(NotAttested):
        erased(event)


# Keys.


def signed_by(key: Ed25519PrivateKey, seconds: int) -> event_pb2.Event:
    event = unsigned("commented")
    event.time.seconds = seconds
    return attest(event, TENANT, APPROVAL, key=key)


def test_a_key_that_ended_stays_valid_for_its_time_and_signs_nothing_later() -> None:
    received_at = before()[0].time.seconds
    new = public_key(OTHER_KEY)
    old = public_key(KEY, until=received_at + 60)
    for keys in ((old, new), (new, old)):
        judged(signed_by(KEY, received_at + 60), keys)
        judged(signed_by(OTHER_KEY, received_at + 90), keys)
        with pytest.raises(NotAttested, match="had ended"):
            judged(signed_by(KEY, received_at + 61), keys)
    # Whoever stole the old key cannot sign as if it were earlier, of requests that came later.
    with pytest.raises(NotAttested, match="had ended"):
        judged(signed_by(KEY, received_at - 100), (public_key(KEY, until=received_at - 1), new))


@pytest.mark.parametrize("keys", [(), (public_key(OTHER_KEY),), (verifier_key(KEY, "x/default"),)])
def test_a_key_that_is_not_known_proves_nothing(keys: tuple[VerifierKey, ...]) -> None:
    with pytest.raises(NotAttested, match="no known key"):
        judged(commanded("voted"), keys)


def test_keys_of_attestations_are_lines_with_or_without_an_end() -> None:
    old, new = public_key(KEY, until=1_800_000_000), public_key(OTHER_KEY)
    lines = ["# newest first", str(new), "", str(old), str(verifier_key(KEY, "log/x"))]
    assert str(old).endswith(" until 2027-01-15T08:00:00Z")
    assert attestation_keys(lines) == (new, old)
    with pytest.raises(NotProven, match="no key of attestations"):
        attestation_keys([str(verifier_key(KEY, "log/x"))])


@pytest.mark.parametrize(
    "line",
    [
        f"{KEYS[0]} until tomorrow",
        f"{KEYS[0]} until 2027-01-15",
        f"{KEYS[0]} until ",
        f"{verifier_key(KEY, 'log/x')} until 2027-01-15T08:00:00Z",
        str(verifier_key(KEY, "log/x", 0xF0)),
        str(verifier_key(KEY, "placet-attestation")),
        "placet-attestation+00000000+8AEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB",
        # A point of small order.
        str(VerifierKey("placet-attestation", 0xF0, bytes([1]) + bytes(31))),
        # Not canonical.
        str(VerifierKey("placet-attestation", 0xF0, b"\xff" * 31 + b"\x7f")),
    ],
)
def test_a_line_that_is_no_key_of_attestations_is_refused(line: str) -> None:
    with pytest.raises(NotProven):
        attestation_keys([line])


# Receipts.


def test_a_receipt_is_proven_with_the_keys_of_its_attestations_alone() -> None:
    path = [*before(), *messages_of_decision()]
    receipt, log = receipt_of(path, LOG_KEY, LOG), verifier_key(LOG_KEY, LOG)
    assert len(verify_receipt(receipt, [log, *KEYS]).entries) == len(path)
    for keys in ([log], [log, public_key(OTHER_KEY)]):
        with pytest.raises(NotAttested, match="no known key"):
            verify_receipt(receipt, keys)
    forged = [*before(), *messages_of_decision()]
    (voted,) = [one for one in forged if one.HasField("voted")]
    voted.ClearField("attestation")
    with pytest.raises(NotAttested, match=r"event \d: .*no attestation"):
        verify_receipt(receipt_of(forged, LOG_KEY, LOG), [log, *KEYS])


def test_a_key_of_attestations_signs_no_checkpoint() -> None:
    path = [*before(), *messages_of_decision()]
    receipt = receipt_of(path, KEY, "placet-attestation")
    with pytest.raises(NotProven, match="no known key signed"):
        verify_receipt(receipt, KEYS)
