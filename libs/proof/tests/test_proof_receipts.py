"""Receipts: what they prove; nothing in one can be changed, left out, moved or taken from elsewhere."""

from __future__ import annotations

import base64
import copy
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from google.protobuf.json_format import MessageToDict
from hypothesis import given
from hypothesis import strategies as st

from placet.audit.v1 import proof_pb2
from placet.event.v1 import error_reason_pb2, event_pb2
from placet_proof import Checkpoint, NotProven, Proven, VerifierKey, commitment, leaf_hash
from placet_proof.attestation import salt_of
from placet_proof.receipts import read_receipt, verify_receipt
from placet_proof.signer import cosigned, signed, verifier_key
from placet_testing.attestation import KEYS, attest, is_of_command
from placet_testing.merkle import path_of, root_of
from placet_testing.properties import bits_to_flip

KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
ORIGIN = "log.example/placet"
ID, OTHER = (f"1c9f0e4a-0000-5000-8000-00000000000{n}" for n in range(2))

Receipt = dict[str, Any]  # Any: JSON


@dataclass
class Log:
    """A log as a server keeps it, in memory; its proofs by the definitions of RFC 9162, which are slow."""

    tenant: str = "home"
    origin: str = ORIGIN
    leaves: list[bytes] = field(default_factory=list)
    disclosures: list[list[proof_pb2.Disclosure]] = field(default_factory=list)

    def append(self, approval_id: str, number: int, **event: Any) -> None:  # Any: fields of a message
        entry = event_pb2.Entry(
            tenant=self.tenant, approval_id=approval_id, number=number, event=event_pb2.Event(**event)
        )
        opened, seed = [], bytes([len(self.leaves)]) * 16
        if is_of_command(entry.event):
            attest(entry.event, self.tenant, approval_id, seed=seed)
            entry.event.attestation.service.ClearField("salt_seed")
        for path, erasable in erasables(entry):
            salt = salt_of(seed, path)
            opened.append(proof_pb2.Disclosure(path=path, salt=salt, value=erasable.value))
            erasable.CopyFrom(event_pb2.Erasable(commitment=commitment(salt, erasable.value)))
        self.leaves.append(entry.SerializeToString(deterministic=True))
        self.disclosures.append(opened)

    def note(self, *keys: Ed25519PrivateKey) -> str:
        hashes = [leaf_hash(leaf) for leaf in self.leaves]
        name = f"{self.origin}/{self.tenant}"
        text = Checkpoint(name, len(hashes), root_of(hashes)).text
        return text + "\n" + "".join(signed(text, key, name) for key in keys or (KEY,))

    def receipt(self, approval_id: str, *indexes: int) -> Receipt:
        hashes = [leaf_hash(leaf) for leaf in self.leaves]
        entries = [
            proof_pb2.ProvenEntry(
                index=n, leaf=self.leaves[n], disclosures=self.disclosures[n], proof=path_of(n, hashes)
            )
            for n in indexes
        ]
        message = proof_pb2.Receipt(
            approval_id=approval_id, checkpoint=self.note(), keys=[str(key_of(self))], entries=entries
        )
        message.attestation_keys.extend(map(str, KEYS))
        return MessageToDict(message)


def erasables(entry: event_pb2.Entry) -> list[tuple[str, event_pb2.Erasable]]:
    """Those that have a value, in the two messages that these logs use."""
    commented, erased = entry.event.commented, entry.event.erased
    all_of_them = {
        "actor.name": entry.event.actor.name,
        "commented.text": commented.text,
        "erased.reason": erased.reason,
    }
    return [(f"event.{path}", one) for path, one in all_of_them.items() if one.value]


def key_of(log: Log, private: Ed25519PrivateKey = KEY) -> VerifierKey:
    return verifier_key(private, f"{log.origin}/{log.tenant}")


def person(name: str) -> event_pb2.Actor:
    return event_pb2.Actor(kind=event_pb2.ACTOR_KIND_PERSON, name=event_pb2.Erasable(value=name))


def comment(text: str) -> event_pb2.Commented:
    return event_pb2.Commented(text=event_pb2.Erasable(value=text))


NOBODY = event_pb2.Actor(kind=event_pb2.ACTOR_KIND_SERVICE)


def refusal() -> event_pb2.Refused:
    return event_pb2.Refused(reason=error_reason_pb2.ERROR_REASON_NOT_ASKED)


@pytest.fixture
def log() -> Log:
    """Two requests, the first of which is then erased."""
    log = Log()
    log.append(ID, 1, actor=person("carol@example.com"), received=event_pb2.Received(policy_version=1))
    log.append(OTHER, 1, actor=person("carol@example.com"), received=event_pb2.Received())
    log.append("", 0, access_refused=event_pb2.AccessRefused(approval_id=ID))
    log.append(ID, 2, actor=person("alice@example.com"), commented=comment("Seen the letter"))
    log.append(ID, 3, cause_id="late", actor=NOBODY, refused=refusal())
    log.append(OTHER, 2, actor=person("alice@example.com"), commented=comment("no"))
    log.append(
        "", 0, erased=event_pb2.Erased(approval_id=ID, reason=event_pb2.Erasable(value="asked"), values=3)
    )
    return log


def proven(receipt: Receipt, log: Log) -> Proven:
    return verify_receipt(receipt, [key_of(log), *KEYS])


def test_a_receipt_proves_who_said_what(log: Log) -> None:
    found = proven(log.receipt(ID, 0, 3, 4), log)
    assert (found.approval_id, found.checkpoint.size, found.erased_at) == (ID, 7, None)
    assert list(found.signers) == [key_of(log)]
    assert [one.index for one in found.entries] == [0, 3, 4]
    assert found.entries[1].values == {
        "event.actor.name": "alice@example.com",
        "event.commented.text": "Seen the letter",
    }
    assert all(one.withheld == () for one in found.entries)


def test_what_was_erased_is_withheld_and_the_rest_still_proven(log: Log) -> None:
    for n in (0, 3, 4):
        log.disclosures[n] = []
    found = proven(log.receipt(ID, 0, 3, 4, 6), log)
    assert found.erased_at == 6
    assert found.entries[1].withheld == ("event.actor.name", "event.commented.text")
    assert found.entries[3].values == {"event.erased.reason": "asked"}


def test_a_part_from_the_first_on_is_proven_as_a_part(log: Log) -> None:
    assert len(proven(log.receipt(ID, 0, 3), log).entries) == 2


def without(*names: str) -> Callable[[Receipt], None]:
    def change(receipt: Receipt) -> None:
        for name in names:
            del receipt[name]

    return change


def of_entry(n: int, **fields: object) -> Callable[[Receipt], None]:
    return lambda receipt: receipt["entries"][n].update(fields)


def swapped(receipt: Receipt) -> None:
    receipt["entries"][1:3] = reversed(receipt["entries"][1:3])


def doubled(receipt: Receipt) -> None:
    receipt["entries"].insert(1, receipt["entries"][0])


def disclosed_twice(receipt: Receipt) -> None:
    disclosures = receipt["entries"][1]["disclosures"]
    disclosures.append(disclosures[0])


def disclosed_in_each_others_place(receipt: Receipt) -> None:
    one, two = receipt["entries"][1]["disclosures"]
    one["path"], two["path"] = two["path"], one["path"]


STRUCTURAL: dict[str, Callable[[Receipt], None]] = {
    "no checkpoint": without("checkpoint"),
    "no request": without("approvalId"),
    "no entries": without("entries"),
    "the first entry left out": lambda receipt: receipt["entries"].pop(0),
    "one in the midst left out": lambda receipt: receipt["entries"].pop(1),
    "all left out": lambda receipt: receipt["entries"].clear(),
    "two swapped": swapped,
    "one doubled": doubled,
    "of another request by name": lambda receipt: receipt.update(approvalId=OTHER),
    "of no request by name": lambda receipt: receipt.update(approvalId=""),
    "the index of another": of_entry(1, index="2"),
    "an index without end": of_entry(1, index="9" * 5000),
    "an index below 0": of_entry(1, index=-1),
    "an index that is a number": of_entry(1, index=3),
    "an index with zeros before it": of_entry(1, index="03"),
    "a leaf that is too large": of_entry(1, leaf="A" * ((1 << 20) // 3 * 4 + 8)),
    "a proof of too many hashes": of_entry(1, proof=["A" * 43 + "="] * 65),
    "a hash that is a number": of_entry(1, proof=[5]),
    "a value that is null": lambda receipt: receipt["entries"][1]["disclosures"][0].update(value=None),
    "an index that is true": of_entry(2, index=True),
    "an index that is half": of_entry(1, index=3.5),
    "an index that is infinite": of_entry(1, index=float("inf")),
    "an index with spaces": of_entry(1, index=" 3"),
    "an index in other digits": of_entry(1, index="٣"),
    "a leaf that is a number": of_entry(1, leaf=5),
    "a leaf that is not base64": of_entry(1, leaf="a"),
    "a proof that is too long": lambda receipt: receipt["entries"][1]["proof"].append("A" * 43 + "="),
    "a proof that is too short": lambda receipt: receipt["entries"][1]["proof"].pop(),
    "no proof": of_entry(1, proof=[]),
    "a proof that is text": of_entry(1, proof="AAAA"),
    "disclosures that are text": of_entry(1, disclosures="AAAA"),
    "disclosures that are an empty object": of_entry(1, disclosures={}),
    "disclosures without paths": of_entry(1, disclosures=[{}]),
    "a disclosure's path that is a list": of_entry(1, disclosures=[{"path": [], "salt": ""}]),
    "a value that is disclosed twice": disclosed_twice,
    "two values that are disclosed in each other's place": disclosed_in_each_others_place,
    "an entry that is text": lambda receipt: receipt["entries"].__setitem__(1, "AAAA"),
    "entries that are text": lambda receipt: receipt.update(entries="AAAA"),
    "something that nobody verifies": lambda receipt: receipt.update(comment="approved by bob"),
    "something in an entry that nobody verifies": of_entry(1, comment="approved by bob"),
    "a checkpoint that is a number": lambda receipt: receipt.update(checkpoint=7),
    "a checkpoint that is no text": lambda receipt: receipt.update(checkpoint="\ud800\n1\nA\n\n— a AAAA\n"),
}


@pytest.mark.parametrize("how", STRUCTURAL)
def test_a_receipt_is_refused_with(how: str, log: Log) -> None:
    receipt = log.receipt(ID, 0, 3, 4)
    proven(copy.deepcopy(receipt), log)
    STRUCTURAL[how](receipt)
    with pytest.raises(NotProven):
        proven(receipt, log)


@pytest.mark.parametrize("found", [None, [], ["approvalId"], "receipt", 5, {}, [[]]])
def test_what_is_no_receipt_is_refused(found: Any, log: Log) -> None:  # Any: whatever JSON may be
    with pytest.raises(NotProven):
        proven(found, log)


def test_entries_about_others_are_refused(log: Log) -> None:
    for indexes in [(0, 3, 4, 5), (0, 2, 3, 4), (0, 1, 3, 4), (1, 5, 6), (6,), (2,)]:
        with pytest.raises(NotProven):
            proven(log.receipt(ID, *indexes), log)


def test_entries_that_are_not_in_the_order_of_the_log_are_refused(log: Log) -> None:
    proven(log.receipt(ID, 0, 3, 4, 6), log)
    for indexes in [(6, 0, 3, 4), (0, 6, 3, 4), (0, 3, 4, 6, 6)]:
        with pytest.raises(NotProven, match="order"):
            proven(log.receipt(ID, *indexes), log)


def test_entries_of_another_tenant_are_refused(log: Log) -> None:
    """A server could put another tenant's entries into a log; then its own signature shows it."""
    log.tenant = "guest"
    log.append(OTHER, 3, cause_id="late", actor=NOBODY, refused=refusal())
    log.tenant = "home"
    with pytest.raises(NotProven, match="guest"):
        proven(log.receipt(OTHER, 1, 5, 7), log)
    log.leaves[:7] = [leaf.replace(b"\x0a\x04home", b"\x0a\x05guest") for leaf in log.leaves[:7]]
    with pytest.raises(NotProven, match="guest"):
        proven(log.receipt(ID, 0, 3, 4), log)


def test_a_checkpoint_of_another_log_is_refused(log: Log) -> None:
    receipt, strange = log.receipt(ID, 0, 3, 4), Log(tenant="guest", leaves=log.leaves)
    for other in (Log(leaves=log.leaves[:5]), strange, Log(origin="x/y", leaves=log.leaves)):
        with pytest.raises(NotProven):
            proven({**receipt, "checkpoint": other.note()}, log)
    # The same key signs for all tenants, and the name beside a signature is not signed.
    text, _, lines = strange.note().rpartition("\n\n")
    renamed = key_of(log).line(base64.b64decode(lines.split()[2])[4:])
    with pytest.raises(NotProven, match="no known key of it signed"):
        proven({**receipt, "checkpoint": f"{text}\n\n{renamed}"}, log)


def test_a_signature_by_an_unknown_key_is_refused_and_one_by_a_known_one_among_others_is_not(
    log: Log,
) -> None:
    mallory = Ed25519PrivateKey.from_private_bytes(bytes(31) + b"m")
    receipt = log.receipt(ID, 0, 3, 4)
    with pytest.raises(NotProven, match="no known key signed"):
        proven({**receipt, "checkpoint": log.note(mallory)}, log)
    handed_over = {**receipt, "checkpoint": log.note(mallory, KEY)}
    assert list(proven(handed_over, log).signers) == [key_of(log)]
    assert len(verify_receipt(handed_over, [key_of(log, mallory), key_of(log), *KEYS]).signers) == 2
    with pytest.raises(NotProven, match="no known key signed"):
        verify_receipt(receipt, [])


def test_a_witness_says_when_it_saw_the_log(log: Log) -> None:
    receipt, known = cosigned_by_a_witness(log, 1_700_000_000)
    assert verify_receipt(receipt, [key_of(log), known, *KEYS]).signers == {
        key_of(log): None,
        known: 1_700_000_000,
    }


def test_a_witness_of_many_logs_stands_for_none_whose_key_is_known(log: Log) -> None:
    strange = Log(origin="x/y", leaves=log.leaves, disclosures=log.disclosures)
    receipt, known = cosigned_by_a_witness(strange, 1_700_000_000)
    assert verify_receipt(receipt, [known, *KEYS]).checkpoint.origin == f"x/y/{log.tenant}"
    with pytest.raises(NotProven, match="no known key of it signed"):
        verify_receipt(receipt, [key_of(log), known, *KEYS])


def cosigned_by_a_witness(log: Log, time: int) -> tuple[dict[str, Any], VerifierKey]:
    witness = Ed25519PrivateKey.from_private_bytes(bytes(31) + b"w")
    receipt = log.receipt(ID, 0, 3, 4)
    text = receipt["checkpoint"].rpartition("\n\n")[0] + "\n"
    receipt["checkpoint"] += cosigned(text, witness, "witness.example/w", time)
    return receipt, verifier_key(witness, "witness.example/w", 0x04)


# Where a receipt's file may differ and still mean the same: how JSON is written, and the keys that it brings
# along, which nobody believes.


@pytest.mark.slow
def test_a_flipped_bit_of_a_receipts_file_is_refused_or_says_the_same(log: Log) -> None:
    receipt = log.receipt(ID, 0, 3)
    said, file = proven(receipt, log), json.dumps(receipt).encode()
    keys = {
        place
        for name in (b'"keys": ["', b'"attestationKeys": ["')
        for place in range(file.index(name) + len(name), file.index(b'"]', file.index(name)))
    }
    same = []
    for bit in bits_to_flip(len(file)):
        changed = bytearray(file)
        changed[bit // 8] ^= 1 << bit % 8
        try:
            again = proven(read_receipt(bytes(changed)), log)
        except NotProven:
            continue
        assert again == said
        if bit // 8 not in keys:
            same.append(bytes(changed))
    # White space.
    assert all(json.loads(one) == receipt for one in same)
    assert len(same) < len(file)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just("AAAA"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@pytest.mark.slow
@given(value=VALUES, place=st.integers(0, 10_000))
def test_whatever_stands_in_a_receipts_place_is_refused_or_says_the_same(value: object, place: int) -> None:
    log = Log()
    log.append(ID, 1, actor=person("carol@example.com"), received=event_pb2.Received())
    log.append(ID, 2, actor=person("alice@example.com"), commented=comment("yes"))
    receipt = log.receipt(ID, 0, 1)
    said = proven(receipt, log)
    places = places_of(receipt)
    holder, name = places[place % len(places)]
    holder[name] = value
    try:
        again = proven(receipt, log)
    except NotProven:
        return
    if name == "disclosures" or holder in [one["disclosures"] for one in receipt["entries"]]:
        return  # fewer of them: what is not disclosed is withheld
    assert again == said


def places_of(found: Any) -> list[tuple[Any, Any]]:  # Any: JSON
    here = list(found.items()) if isinstance(found, dict) else list(enumerate(found))
    inner = [places_of(one) for _, one in here if isinstance(one, dict | list)]
    return [(found, name) for name, _ in here] + [one for some in inner for one in some]
