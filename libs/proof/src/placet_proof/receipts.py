"""Receipts: the whole path of a request, each entry with its proof, under one signed checkpoint."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from placet_proof.entries import MOST_LEAF_BYTES, Leaf
from placet_proof.grammar import check_of_tenant, follow_all
from placet_proof.json_reader import NotJson, read_object
from placet_proof.notes import NUMBER, Checkpoint, Note, VerifierKey, decoded
from placet_proof.tree import NotProven, leaf_hash, verify_inclusion


@dataclass(frozen=True, slots=True)
class ProvenEntry:
    """Entry that is proven to be in the log. `values`: the erasable values that the receipt discloses, by
    path; `withheld`: the paths of the others."""

    index: int
    bytes: bytes
    leaf: Leaf
    values: Mapping[str, str]
    withheld: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Proven:
    """Result of a verification: the entries were in the log at the checkpoint, which `signers` signed
    (witnesses with the time). `erased_at`: the index of the entry that says that values were erased."""

    approval_id: str
    checkpoint: Checkpoint
    signers: Mapping[VerifierKey, int | None]
    entries: Sequence[ProvenEntry]
    erased_at: int | None


MOST_RECEIPT_BYTES = 16 << 20
"""Most bytes of a receipt; AuditService makes none of more than 4 MiB in protobuf."""

_MOST_HASHES = 64
# Of base64: four for each three bytes.
_MOST_LEAF_CHARACTERS = (MOST_LEAF_BYTES + 2) // 3 * 4
_RECEIPT = {"approvalId", "checkpoint", "keys", "entries", "attestationKeys"}
_ENTRY = {"index", "leaf", "disclosures", "proof"}
_DISCLOSURE = {"path", "salt", "value"}


def read_receipt(raw: bytes) -> dict[str, Any]:  # Any: JSON
    """Parses the file of a receipt, of MOST_RECEIPT_BYTES at most; verifies nothing.

    Raises NotProven for what is no JSON object, or could be read in two ways.
    """
    try:
        return read_object(raw, MOST_RECEIPT_BYTES)
    except NotJson as error:
        raise NotProven(f"this is not a receipt: {error}") from error


# Any: JSON, of which every part is checked before it is used.
def verify_receipt(receipt: Mapping[str, Any], keys: Iterable[VerifierKey]) -> Proven:
    """Verifies a receipt (`placet.audit.v1.Receipt` as proto3 JSON) for a reader who trusts one of the keys,
    and those among them that sign attestations.

    `receipt`: as `read_receipt` parses it. Each entry is proven to be in the log before it is read.

    Raises NotProven, with a text that says what is wrong and where. The entries of the request are complete
    from its first on. The last ones may be missing, unless it is closed, and values may have been left out.
    """
    _check_fields(receipt, _RECEIPT)
    note, approval_id = Note.parse(_text(receipt, "checkpoint")), _text(receipt, "approvalId")
    keys = list(keys)
    checkpoint, signers = note.of_log(keys)
    proven = [_entry(one, checkpoint) for one in _list(receipt, "entries")]
    own = [one.leaf for one in proven if one.leaf.approval_id]
    if [(leaf.approval_id, leaf.number) for leaf in own] != [
        (approval_id, n) for n in range(1, len(own) + 1)
    ]:
        raise NotProven(f"these are not the entries of request {approval_id} from its first on, without gaps")
    others = [one for one in proven if not one.leaf.approval_id]
    if not own or any(one.leaf.erases != approval_id for one in others):
        raise NotProven(f"not all of these entries are about request {approval_id}")
    tenants = {one.leaf.tenant for one in proven}
    if len(tenants) != 1 or not checkpoint.origin.endswith(f"/{min(tenants)}"):
        raise NotProven(f"these entries are of {', '.join(sorted(tenants))}, not of {checkpoint.origin}")
    if [one.index for one in proven] != sorted({one.index for one in proven}):
        raise NotProven("the entries are not in the order of the log")
    _check_grammar(proven, keys)
    return Proven(approval_id, checkpoint, signers, proven, max((one.index for one in others), default=None))


def _check_grammar(proven: Sequence[ProvenEntry], keys: Sequence[VerifierKey]) -> None:
    """Raises NotProven where the log's grammar does not allow these entries."""
    for one in proven:
        if not one.leaf.approval_id:
            check_of_tenant(one.leaf)
    follow_all(((one.leaf, one.values) for one in proven if one.leaf.approval_id), keys)


# Any, below: JSON.
def _entry(entry: Any, checkpoint: Checkpoint) -> ProvenEntry:
    """Proves that the log holds an entry, and reads it then. Raises NotProven."""
    _check_fields(entry, _ENTRY)
    index, encoded, hashes = _index(entry), _text(entry, "leaf"), _list(entry, "proof")
    if len(encoded) > _MOST_LEAF_CHARACTERS:
        raise NotProven(f"entry {index} has more than {MOST_LEAF_BYTES:,} bytes")
    if len(hashes) > _MOST_HASHES:
        raise NotProven(f"the proof of entry {index} has more than {_MOST_HASHES} hashes")
    if not all(isinstance(one, str) for one in hashes):
        raise NotProven(f"the proof of entry {index} is not of texts")
    raw = decoded(encoded)
    proof = [decoded(one) for one in hashes]
    verify_inclusion(leaf_hash(raw), index, checkpoint.size, proof, checkpoint.root)
    try:
        leaf = Leaf.parse(raw)
        values = _values(leaf, _list(entry, "disclosures"))
    except NotProven as error:
        raise NotProven(f"entry {index}: {error}") from error
    withheld = tuple(path for path in leaf.commitments if path not in values)
    return ProvenEntry(index, raw, leaf, values, withheld)


def _values(leaf: Leaf, disclosures: Sequence[Any]) -> dict[str, str]:
    """Returns the disclosed values by their paths. Raises NotProven unless the entry committed to each."""
    values = dict[str, str]()
    for one in disclosures:
        _check_fields(one, _DISCLOSURE)
        path, salt = _text(one, "path"), decoded(_text(one, "salt"))
        # Proto3 JSON leaves out what is empty.
        value = _text(one, "value") if "value" in one else ""
        if path in values:
            raise NotProven(f"the value of {path} is disclosed twice")
        leaf.opened(path, salt, value)
        values[path] = value
    return values


def _check_fields(message: Any, known: Collection[str]) -> None:
    """Raises NotProven for what is no JSON object, and for a field that nothing here verifies."""
    if not isinstance(message, Mapping):
        raise NotProven("this is not a receipt: a part of it is no JSON object")
    if unknown := [name for name in message if name not in known]:
        raise NotProven(f"{unknown[0]!r:.80} has no place in a receipt")


def _text(message: Mapping[str, Any], name: str) -> str:
    found = message.get(name)
    if not isinstance(found, str):
        raise NotProven(f"this is not a receipt: {name} is {'no text' if name in message else 'missing'}")
    return found


def _list(message: Mapping[str, Any], name: str) -> list[Any]:
    """Returns a repeated field, which proto3 JSON omits when it is empty. Raises NotProven."""
    found = message.get(name, [])
    if not isinstance(found, list):
        raise NotProven(f"this is not a receipt: {name} is no list")
    return found


def _index(entry: Mapping[str, Any]) -> int:
    """Returns the index, which proto3 JSON writes as text, or omits when it is 0. Raises NotProven."""
    found = entry.get("index", "0")
    if not isinstance(found, str) or not NUMBER.fullmatch(found):
        raise NotProven("this is not a receipt: an index is not a number of 64 bits, written as text")
    return int(found)
