"""How a tree grows, for who keeps a log or builds one again: no proof is verified with it."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256

from placet_proof.tree import node_hash

EMPTY_ROOT = sha256(b"").digest()
"""The root of a tree without leaves."""


class Frontier:
    """A growing tree, known by the roots of the perfect subtrees that it consists of, from left to right."""

    def __init__(self, size: int = 0, roots: Sequence[bytes] = ()) -> None:
        """A tree of `size` leaves; `roots`: one for each bit that is set in it, else ValueError."""
        if len(roots) != size.bit_count():
            raise ValueError(f"a tree of {size} leaves consists of {size.bit_count()} perfect subtrees")
        self.size = size
        self.roots = list(roots)

    def append(self, leaf: bytes) -> list[bytes]:
        """Adds a leaf by its hash. Answers the roots of the subtrees that it completes, itself first."""
        completed = [leaf]
        # Each bit that is set at the size's end is a subtree as large as what stands to its right now.
        while self.size >> (len(completed) - 1) & 1:
            completed.append(node_hash(self.roots.pop(), completed[-1]))
        self.roots.append(completed[-1])
        self.size += 1
        return completed

    def root(self) -> bytes:
        """The tree's root, 32 bytes."""
        return joined(self.roots)


def joined(roots: Sequence[bytes]) -> bytes:
    """The root of neighbouring perfect subtrees, given from left (larger) to right (smaller)."""
    if not roots:
        return EMPTY_ROOT
    *others, root = roots
    for left in reversed(others):
        root = node_hash(left, root)
    return root
