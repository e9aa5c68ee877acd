"""Receipts: the whole path of a request, each entry with its proof, under one signed checkpoint."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from placet_proof.entries import Leaf
from placet_proof.grammar import check_of_tenant, follow_all
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


_RECEIPT = {"approvalId", "checkpoint", "keys", "entries"}
_ENTRY = {"index", "leaf", "disclosures", "proof"}
_DISCLOSURE = {"path", "salt", "value"}


# Any: JSON, of which every part is checked before it is used.
def verify_receipt(receipt: Mapping[str, Any], keys: Iterable[VerifierKey]) -> Proven:
    """Verifies a receipt (`placet.audit.v1.Receipt` as proto3 JSON) for a reader who trusts one of the keys.

    Raises NotProven, with a text that says what is wrong and where. The entries of the request are complete
    from its first on. The last ones may be missing, unless it is closed, and values may have been left out.
    """
    try:
        _check_fields(receipt, _RECEIPT)
        note = Note.parse(receipt["checkpoint"])
        approval_id, entries = str(receipt["approvalId"]), _list(receipt, "entries")
        checkpoint, signers = note.of_log(list(keys))
        proven = [_entry(one, checkpoint) for one in entries]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise NotProven(f"this is not a receipt: {error!r}") from error
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
    _check_grammar(proven)
    return Proven(approval_id, checkpoint, signers, proven, max((one.index for one in others), default=None))


def _check_grammar(proven: Sequence[ProvenEntry]) -> None:
    """Raises NotProven where the log's grammar does not allow these entries."""
    for one in proven:
        if not one.leaf.approval_id:
            check_of_tenant(one.leaf)
    follow_all((one.leaf, one.values) for one in proven if one.leaf.approval_id)


def _entry(entry: Mapping[str, Any], checkpoint: Checkpoint) -> ProvenEntry:
    _check_fields(entry, _ENTRY)
    index, raw = _index(entry.get("index", 0)), decoded(entry["leaf"])
    proof = [decoded(one) for one in _list(entry, "proof")]
    verify_inclusion(leaf_hash(raw), index, checkpoint.size, proof, checkpoint.root)
    try:
        leaf, values = Leaf.parse(raw), dict[str, str]()
        for one in _list(entry, "disclosures"):
            _check_fields(one, _DISCLOSURE)
            path, value = one["path"], one.get("value", "")
            leaf.opened(path, decoded(one["salt"]), value)
            if path in values:
                raise NotProven(f"the value of {path} is disclosed twice")
            values[path] = value
    except NotProven as error:
        raise NotProven(f"entry {index}: {error}") from error
    withheld = tuple(path for path in leaf.commitments if path not in values)
    return ProvenEntry(index, raw, leaf, values, withheld)


def _check_fields(message: Mapping[str, Any], known: Collection[str]) -> None:
    """Raises NotProven for a field that nothing here verifies."""
    if unknown := [name for name in message if name not in known]:
        raise NotProven(f"{unknown[0]!r} has no place in a receipt")


def _list(message: Mapping[str, Any], name: str) -> list[Any]:
    """Returns a repeated field, which proto3 JSON omits when it is empty. Raises TypeError."""
    found = message.get(name, [])
    if not isinstance(found, list):
        raise TypeError(f"{name!r} is no list")
    return found


def _index(given: object) -> int:
    """Returns a number of 64 bits, which proto3 JSON writes as text. Raises ValueError."""
    if isinstance(given, str) and NUMBER.fullmatch(given):
        return int(given)
    if isinstance(given, int) and not isinstance(given, bool):
        return given
    raise ValueError(f"{given!r:.80} is no index")
