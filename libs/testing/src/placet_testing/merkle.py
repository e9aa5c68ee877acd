"""The definitions of RFC 9162, sections 2.1.1, 2.1.3.1 and 2.1.4.1, word for word: slow, and plainly right.

Leaves are given by their hashes.
"""

from __future__ import annotations

from hashlib import sha256

from placet_proof import node_hash


def root_of(leaves: list[bytes]) -> bytes:
    """The tree's root."""
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    k = _split(len(leaves))
    return node_hash(root_of(leaves[:k]), root_of(leaves[k:]))


def path_of(m: int, leaves: list[bytes]) -> list[bytes]:
    """The proof that leaf `m` is in the tree."""
    if len(leaves) <= 1:
        return []
    k = _split(len(leaves))
    if m < k:
        return [*path_of(m, leaves[:k]), root_of(leaves[k:])]
    return [*path_of(m - k, leaves[k:]), root_of(leaves[:k])]


def proof_of(m: int, leaves: list[bytes], whole: bool = True) -> list[bytes]:
    """The proof that the tree begins with its first `m` leaves. `whole`: no part of another tree."""
    if m == len(leaves):
        return [] if whole else [root_of(leaves)]
    k = _split(len(leaves))
    if m <= k:
        return [*proof_of(m, leaves[:k], whole), root_of(leaves[k:])]
    return [*proof_of(m - k, leaves[k:], False), root_of(leaves[:k])]


def _split(size: int) -> int:
    """The largest power of two that is smaller than `size`."""
    return 1 << (size - 1).bit_length() - 1
