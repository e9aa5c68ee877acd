"""Receipts from people who mean ill: they bring keys of their own, and entries that say what they like."""

from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from placet.event.v1 import event_pb2
from placet_cli.commands.receipts import print_proof
from placet_cli.receipt_proof import Receipt, own_keys, read_receipt, verified
from placet_cli.screen import Screen
from placet_domain.stimuli import Begin
from placet_proof import COSIGNATURE, Checkpoint, NotProven, leaf_hash, node_hash
from placet_proof.signer import cosigned, signed, verifier_key
from placet_testing.grammar_paths import messages
from placet_testing.grammar_paths import receipt_of as full_receipt
from placet_testing.simulation import ALICE, CONTENT, Play, decision
from placet_testing.workflow_environment import shipped_policy
from placet_verify import KnownKeys

ID = "1c9f0e4a-0000-5000-8000-000000000000"
ORIGIN = "log.example/placet/home"


def receipt_of(*entries: event_pb2.Entry, origin: str = ORIGIN) -> Receipt:
    """The receipt of a log of these entries, two at most, signed by a key that it brings along."""
    key = Ed25519PrivateKey.generate()
    leaves = [entry.SerializeToString(deterministic=True) for entry in entries]
    hashes = [leaf_hash(leaf) for leaf in leaves]
    text = Checkpoint(origin, len(leaves), hashes[0] if len(leaves) == 1 else node_hash(*hashes)).text
    return {
        "approvalId": entries[0].approval_id,
        "checkpoint": f"{text}\n{signed(text, key, origin)}",
        "keys": [str(verifier_key(key, origin))],
        "entries": [
            {
                "index": str(index),
                "leaf": base64.b64encode(leaf).decode(),
                "proof": [base64.b64encode(one).decode() for one in hashes if one != hashes[index]],
            }
            for index, leaf in enumerate(leaves)
        ],
    }


def entry_of(**event: object) -> event_pb2.Entry:
    """A request's first entry."""
    made = event_pb2.Event(**event)  # type: ignore[arg-type]  # a test's shorthand
    return event_pb2.Entry(tenant="home", approval_id=ID, number=1, event=made)


def test_it_is_consistent_and_not_proven_by_a_known_key() -> None:
    receipt = receipt_of(entry_of(received=event_pb2.Received()))
    proof = verified(receipt, KnownKeys())
    assert not proof.by_known_key
    assert list(proof.proven.signers) == own_keys(receipt)
    with pytest.raises(NotProven, match="no known key"):
        verified(receipt, KnownKeys(public=(bytes(32),), origin="log.example/placet"))


def test_a_witness_alone_proves_only_what_it_signed_and_else_it_is_said_why() -> None:
    receipt, key = dict(receipt_of(entry_of(received=event_pb2.Received()))), Ed25519PrivateKey.generate()
    witness = KnownKeys(named=(verifier_key(key, "witness.example/w", COSIGNATURE),))
    with pytest.raises(NotProven, match="a receipt carries the signatures of the log alone"):
        verified(receipt, witness)
    note = str(receipt["checkpoint"])
    text = note.partition("\n\n")[0] + "\n"
    receipt["checkpoint"] = note + cosigned(text, key, "witness.example/w", 1_700_000_000)
    assert verified(receipt, witness).by_known_key


def test_a_time_that_is_none_is_refused() -> None:
    entry = entry_of(received=event_pb2.Received())
    entry.event.time.seconds = 1 << 62
    with pytest.raises(NotProven, match="says what cannot be"):
        verified(receipt_of(entry), KnownKeys())
    late = entry_of(received=event_pb2.Received())
    late.event.received.deadline_time.seconds = 1 << 62
    with pytest.raises(NotProven, match="says what cannot be"):
        verified(receipt_of(late), KnownKeys())


def test_a_value_that_is_hashed_in_the_clear_is_not_told_as_if_it_were_disclosed() -> None:
    entry = entry_of(received=event_pb2.Received(title=event_pb2.Erasable(value="I agree")))
    with pytest.raises(NotProven, match="something else than a commitment"):
        verified(receipt_of(entry), KnownKeys())


def test_only_an_erasure_of_the_request_itself_explains_what_is_not_disclosed() -> None:
    hidden = event_pb2.Erasable(commitment=bytes(32))
    received = entry_of(received=event_pb2.Received(title=hidden))
    erased = entry_of(erased=event_pb2.Erased(approval_id=ID, values=1))
    erased.number = 2
    assert verified(receipt_of(received), KnownKeys()).withheld == [(0, "event.received.title")]
    with pytest.raises(NotProven, match="erased is no event of a request"):
        verified(receipt_of(received, erased), KnownKeys())
    erased.approval_id, erased.number = "", 0
    assert verified(receipt_of(received, erased), KnownKeys()).withheld == []


def test_what_others_wrote_cannot_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    evil = "\x1b[2J\u202e"
    entry = entry_of(
        received=event_pb2.Received(policy=evil, media_type=evil, policy_version=1),
        actor=event_pb2.Actor(authenticated_by=evil),
    )
    entry.approval_id = f"{ID}{evil}"
    print_proof(Screen(), verified(receipt_of(entry, origin="log\u202e.example/placet/home"), KnownKeys()))
    told = capsys.readouterr().out
    assert "\x1b" not in told
    assert "\u202e" not in told


def test_a_persons_approval_is_told_with_the_content_and_how_they_were_authenticated(
    capsys: pytest.CaptureFixture[str],
) -> None:
    play = Play(shipped_policy("simple"))
    play.on(Begin(), decision(ALICE))
    key = Ed25519PrivateKey.generate()
    print_proof(Screen(), verified(full_receipt(messages(play.events), key, "x.y/z/default"), KnownKeys()))
    told = " ".join(capsys.readouterr().out.split())
    for part in (
        f"Approved by {ALICE} at ",
        "said yes",
        f"SHA-256 {CONTENT}",
        "decided on this content",
        "policy simple, version 1",
        f"approver {ALICE}, authenticated by test",
    ):
        assert part in told, part


@pytest.mark.parametrize(
    "event",
    [
        {"received": event_pb2.Received(kind=99)},  # type: ignore[arg-type]  # not one of the contract's
        {"decided": event_pb2.Decided(state=event_pb2.STATE_APPROVED)},
        {"voted": event_pb2.Voted(content_digest=b"x" * 32)},
    ],
)
def test_a_path_that_the_log_may_not_hold_is_refused(event: dict[str, object]) -> None:
    with pytest.raises(NotProven, match="event 1"):
        verified(receipt_of(entry_of(**event)), KnownKeys())


@pytest.mark.parametrize("text", ['{"keys": [], "keys": []}', '{"entries": [{"index": "1", "index": "2"}]}'])
def test_what_could_be_read_in_two_ways_is_refused(text: str) -> None:
    with pytest.raises(NotProven, match="a field is there twice"):
        read_receipt(text.encode())


@pytest.mark.parametrize("text", ["", "nul", "5", "[]", '"x"', "{", "[" * 100_000])
def test_what_is_no_json_object_is_refused(text: str) -> None:
    with pytest.raises(NotProven):
        read_receipt(text.encode())


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "{}", '{"entries": [5]}', '{"entries": []}'])
def test_what_is_no_receipt_is_told_in_words_and_not_in_pythons(text: str) -> None:
    with pytest.raises(NotProven) as refused:
        verified(read_receipt(text.encode()), KnownKeys(public=(bytes(32),)))
    told = str(refused.value)
    assert told.startswith("this is not a receipt: ")
    assert not any(
        word in told for word in ("Error", "Expecting", "recursion", "indices", "index", "object is")
    )


@pytest.mark.parametrize(
    "found", [{}, {"keys": "x"}, {"keys": [5]}, {"entries": {}}, {"entries": []}, {"entries": [5]}]
)
@pytest.mark.parametrize("known", [KnownKeys(), KnownKeys(public=(bytes(32),))])
def test_an_object_that_is_no_receipt_is_refused(found: Receipt, known: KnownKeys) -> None:
    with pytest.raises(NotProven):
        verified(found, known)
