"""People of assignments in a receipt: each is disclosed once, at a path of their own."""

from __future__ import annotations

from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from google.protobuf.json_format import MessageToDict

from placet.audit.v1 import proof_pb2
from placet.event.v1 import event_pb2
from placet_proof import Checkpoint, NotProven, commitment, leaf_hash, verify_receipt
from placet_proof.signer import signed, verifier_key

KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
ORIGIN, TENANT = "log.example/placet/home", "home"
ID = "1c9f0e4a-0000-5000-8000-000000000000"
PEOPLE = {
    "[0].people[0]": "alice@example.com",
    "[0].people[1]": "bob@example.com",
    "[1].people[0]": "carol@example.com",
}

Receipt = dict[str, Any]  # Any: JSON


def full(path: str) -> str:
    return f"event.received.assignments{path}"


@pytest.fixture
def receipt() -> Receipt:
    """A receipt of one entry, the only one of its log, that discloses all people."""
    entry = event_pb2.Entry(tenant=TENANT, approval_id=ID, number=1)
    assignments = [entry.event.received.assignments.add(slot=slot) for slot in ("first", "second")]
    disclosures = []
    for number, (path, name) in enumerate(PEOPLE.items()):
        salt = bytes([number]) * 16
        assignments[int(path[1])].people.add(commitment=commitment(salt, name))
        disclosures.append(proof_pb2.Disclosure(path=full(path), salt=salt, value=name))
    leaf = entry.SerializeToString(deterministic=True)
    text = Checkpoint(ORIGIN, 1, leaf_hash(leaf)).text
    message = proof_pb2.Receipt(
        approval_id=ID,
        checkpoint=f"{text}\n{signed(text, KEY, ORIGIN)}",
        entries=[proof_pb2.ProvenEntry(leaf=leaf, disclosures=disclosures)],
    )
    return MessageToDict(message)


def disclosure(receipt: Receipt, path: str) -> Receipt:
    found: list[Receipt] = receipt["entries"][0]["disclosures"]
    return next(one for one in found if one["path"] == full(path))


def values(receipt: Receipt) -> dict[str, str]:
    (entry,) = verify_receipt(receipt, [verifier_key(KEY, ORIGIN)]).entries
    return dict(entry.values)


def test_each_person_is_disclosed_at_a_path_of_their_own(receipt: Receipt) -> None:
    assert values(receipt) == {full(path): name for path, name in PEOPLE.items()}


def test_a_person_who_is_not_disclosed_is_withheld(receipt: Receipt) -> None:
    receipt["entries"][0]["disclosures"].remove(disclosure(receipt, "[0].people[1]"))
    (entry,) = verify_receipt(receipt, [verifier_key(KEY, ORIGIN)]).entries
    assert entry.withheld == (full("[0].people[1]"),)


@pytest.mark.parametrize("other", ["[0].people[1]", "[1].people[0]"])
def test_two_people_cannot_be_swapped(receipt: Receipt, other: str) -> None:
    one, two = disclosure(receipt, "[0].people[0]"), disclosure(receipt, other)
    one["path"], two["path"] = two["path"], one["path"]
    with pytest.raises(NotProven):
        values(receipt)


@pytest.mark.parametrize(
    "path",
    ["[0].people[1]", "[1].people[0]", "[0].people[2]", "[2].people[0]", "[0].people[00]", "[0].people"],
)
def test_a_person_is_not_disclosed_at_another_path(receipt: Receipt, path: str) -> None:
    disclosure(receipt, "[0].people[0]")["path"] = full(path)
    with pytest.raises(NotProven):
        values(receipt)


def test_a_person_is_not_disclosed_twice(receipt: Receipt) -> None:
    receipt["entries"][0]["disclosures"].append(disclosure(receipt, "[0].people[0]"))
    with pytest.raises(NotProven, match="twice"):
        values(receipt)
