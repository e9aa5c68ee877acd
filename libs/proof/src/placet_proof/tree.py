"""Merkle tree of RFC 6962, section 2.1, and RFC 9162: hashes, and the verification of proofs."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256


class NotProven(Exception):
    """A proof, note, leaf or receipt is not valid; the text says what is wrong, and where."""


def leaf_hash(leaf: bytes) -> bytes:
    """Returns SHA-256(0x00 || leaf), 32 bytes."""
    return sha256(b"\x00" + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Returns SHA-256(0x01 || left || right), 32 bytes."""
    return sha256(b"\x01" + left + right).digest()


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """Raises NotProven unless the leaf with the hash `leaf` is number `index` (from 0) in the tree of `size`
    leaves with this root. RFC 9162, section 2.1.3."""
    _check_hashes(leaf, root, *proof)
    if not 0 <= index < size:
        raise NotProven(f"there is no leaf {index} in a tree of {size}")
    below, total = _siblings(index, size, 0)
    if len(proof) != total:
        raise NotProven(f"the proof of leaf {index} in a tree of {size} has {total} hashes, not {len(proof)}")
    computed = leaf
    for level, sibling in enumerate(proof):
        stands_left = level < below and not index >> level & 1
        computed = node_hash(computed, sibling) if stands_left else node_hash(sibling, computed)
    if computed != root:
        raise NotProven(f"leaf {index} leads to another root of the tree of {size}")


def verify_consistency(
    first: int, second: int, first_root: bytes, second_root: bytes, proof: Sequence[bytes]
) -> None:
    """Raises NotProven unless the tree of `second` leaves begins with the whole tree of `first` leaves.

    RFC 9162, section 2.1.4. Trees of one size must be equal, and the proof empty. There is no proof from an
    empty tree, from which nothing follows, and none to a smaller tree.
    """
    _check_hashes(first_root, second_root, *proof)
    if first == second and not proof and first_root == second_root:
        return
    if not 0 < first < second or not proof:
        raise NotProven(f"this proves nothing from {first} to {second} leaves")
    # The proof begins with the last perfect subtree of the first tree, unless that is the whole tree.
    level = (first & -first).bit_length() - 1
    hashes = list(proof) if first != 1 << level else [first_root, *proof]
    below, total = _siblings(first - 1, second, level)
    if len(hashes) != 1 + total:
        raise NotProven(f"the proof from {first} to {second} leaves has not {len(proof)} hashes")
    old = new = hashes[0]
    for above, sibling in enumerate(hashes[1:]):
        if above < below and not (first - 1) >> level + above & 1:
            new = node_hash(new, sibling)
        else:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
    if old != first_root or new != second_root:
        raise NotProven(f"the tree of {second} leaves does not begin with this tree of {first}")


def _siblings(index: int, size: int, level: int) -> tuple[int, int]:
    """Counts the siblings of a leaf's ancestors from a level on: those below the level where its path meets
    the tree's right border, which stand on either side; and all, with those on the border to the left."""
    below = (index ^ size - 1).bit_length()
    return below - level, below - level + (index >> below).bit_count()


def _check_hashes(*hashes: bytes) -> None:
    if any(len(one) != 32 for one in hashes):
        raise NotProven("a hash has 32 bytes")
