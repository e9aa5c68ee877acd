"""Files of receipts that somebody else wrote: good, or refused with a sentence of ours."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from google.protobuf.json_format import MessageToDict
from hypothesis import given
from hypothesis import strategies as st

from placet.audit.v1 import proof_pb2
from placet.event.v1 import event_pb2
from placet_proof import (
    Checkpoint,
    Leaf,
    NotProven,
    Proven,
    commitment,
    leaf_hash,
    read_receipt,
    verify_receipt,
)
from placet_proof.signer import signed, verifier_key
from placet_testing.merkle import path_of, root_of

PRIVATE = Ed25519PrivateKey.from_private_bytes(bytes(32))
ORIGIN, ID = "log.example/placet/home", "1c9f0e4a-0000-5000-8000-000000000000"
KEY, SALT = verifier_key(PRIVATE, ORIGIN), b"s" * 16
# Words of Python's own errors.
PYTHON = re.compile(r"Error|codec|Expecting|object (is|has)|NoneType|int\(\)|str\(\)|indices|<class")


def leaf(number: int, name: str, **body: object) -> bytes:
    actor = event_pb2.Actor(name=event_pb2.Erasable(commitment=commitment(SALT, name)))
    event = event_pb2.Event(actor=actor, **body)  # type: ignore[arg-type]  # a test's shorthand
    entry = event_pb2.Entry(tenant="home", approval_id=ID, number=number, event=event)
    return entry.SerializeToString(deterministic=True)


LEAVES = {
    "carol@example.com": leaf(1, "carol@example.com", received=event_pb2.Received()),
    "alice@example.com": leaf(2, "alice@example.com", processed=event_pb2.Processed()),
}


def receipt() -> bytes:
    """The file of a receipt of two entries, whose actors are disclosed."""
    hashes = [leaf_hash(one) for one in LEAVES.values()]
    text = Checkpoint(ORIGIN, len(hashes), root_of(hashes)).text
    entries = [
        proof_pb2.ProvenEntry(
            index=n,
            leaf=raw,
            disclosures=[proof_pb2.Disclosure(path="event.actor.name", salt=SALT, value=name)],
            proof=path_of(n, hashes),
        )
        for n, (name, raw) in enumerate(LEAVES.items())
    ]
    note = f"{text}\n{signed(text, PRIVATE, ORIGIN)}"
    made = proof_pb2.Receipt(approval_id=ID, checkpoint=note, keys=[str(KEY)], entries=entries)
    return json.dumps(MessageToDict(made)).encode()


def proven(raw: bytes) -> Proven:
    return verify_receipt(read_receipt(raw), [KEY])


def test_a_file_as_it_was_written_is_proven() -> None:
    assert [one.values["event.actor.name"] for one in proven(receipt()).entries] == list(LEAVES)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[]",
        b"{",
        b'{"keys": [], "keys": []}',
        b'{"entries": [{"index": NaN}]}',
        b"\xff",
        b" " * (30 << 20),
    ],
    ids=lambda raw: repr(raw[:20]),
)
def test_what_is_no_json_is_refused_as_no_receipt(raw: bytes) -> None:
    with pytest.raises(NotProven, match="this is not a receipt: "):
        read_receipt(raw)


def test_an_entry_is_read_only_when_the_log_is_proven_to_hold_it(monkeypatch: pytest.MonkeyPatch) -> None:
    read, parse = list[bytes](), Leaf.parse

    def recorded(raw: bytes) -> Leaf:
        read.append(raw)
        return parse(raw)

    monkeypatch.setattr(Leaf, "parse", recorded)
    strange = read_receipt(receipt())
    strange["entries"][1]["leaf"] = strange["entries"][0]["leaf"]
    with pytest.raises(NotProven, match="another root"):
        verify_receipt(strange, [KEY])
    assert read == [LEAVES["carol@example.com"]]


PIECES = st.binary(max_size=4) | st.sampled_from(
    [b"null", b"[]", b"{}", b"NaN", b"1e999", b"9" * 400, b'"', b"\\ud800", b"\xef\xbb\xbf", b"[" * 99]
)


@given(data=st.data())
def test_a_changed_file_is_good_or_refused_with_a_sentence(data: st.DataObject) -> None:
    raw = bytearray(receipt())
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(raw)))
        raw[start : start + data.draw(st.integers(0, 9))] = data.draw(PIECES)
    try:
        assert proven(bytes(raw)).approval_id == ID
        refused = ""
    except NotProven as error:
        refused = str(error)
    assert not PYTHON.search(refused)


@pytest.mark.integration
def test_a_receipt_is_verified_without_network_home_or_any_other_part_of_placet(
    tmp_path: Path,
) -> None:
    (tmp_path / "receipt.json").write_bytes(receipt())
    code = f"""
        import socket, sys
        def refuse(*_, **__): raise AssertionError("no network")
        socket.socket = refuse
        from placet_proof import VerifierKey, read_receipt, verify_receipt
        receipt = read_receipt(open("receipt.json", "rb").read())
        proven = verify_receipt(receipt, [VerifierKey.parse({str(KEY)!r})])
        others = [name for name in sys.modules if name.split(".")[0] in ("placet", "grpc", "google")]
        assert others == []
        print(proven.entries[1].values["event.actor.name"])
    """
    finished = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        cwd=tmp_path,
        env={},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert finished.stdout == "alice@example.com\n"
