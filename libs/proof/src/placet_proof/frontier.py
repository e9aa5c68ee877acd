"""Growth of a Merkle tree, for programs that keep a log or rebuild one. No proof is verified with it."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256

from placet_proof.tree import node_hash

EMPTY_ROOT = sha256(b"").digest()
"""Root of a tree without leaves."""


class Frontier:
    """A growing tree: the roots of the perfect subtrees that it consists of, from left to right."""

    def __init__(self, size: int = 0, roots: Sequence[bytes] = ()) -> None:
        """Resumes a tree of `size` leaves. `roots`: one for each bit set in `size`, else ValueError."""
        if len(roots) != size.bit_count():
            raise ValueError(f"a tree of {size} leaves consists of {size.bit_count()} perfect subtrees")
        self.size = size
        self.roots = list(roots)

    def append(self, leaf: bytes) -> list[bytes]:
        """Adds a leaf by its hash. Returns the roots of the subtrees that it completes, its hash first."""
        completed = [leaf]
        # Each trailing bit that is set in the size is a subtree as large as the one completed to its right.
        while self.size >> (len(completed) - 1) & 1:
            completed.append(node_hash(self.roots.pop(), completed[-1]))
        self.roots.append(completed[-1])
        self.size += 1
        return completed

    def root(self) -> bytes:
        """Returns the root of the tree, 32 bytes."""
        return joined(self.roots)


def joined(roots: Sequence[bytes]) -> bytes:
    """Returns the root over adjacent perfect subtrees, given from left (larger) to right (smaller)."""
    if not roots:
        return EMPTY_ROOT
    *others, root = roots
    for left in reversed(others):
        root = node_hash(left, root)
    return root
