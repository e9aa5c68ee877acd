"""The Merkle tree rebuilt from a log's entries, compared with the stored tree."""

from __future__ import annotations

from placet_proof.frontier import Frontier

HASH_BYTES = 32


class RebuiltTree:
    """The rebuilt tree, and the stored tree from its first difference on."""

    def __init__(self) -> None:
        self._tree = Frontier()
        self._stored: Frontier | None = None
        self.torn = False
        """True when entries without a known hash are missing, so that no root is known."""

    @property
    def root(self) -> bytes:
        """The root of the rebuilt tree."""
        return self._tree.root()

    @property
    def stored_root(self) -> bytes:
        """The root of the stored tree."""
        return (self._stored or self._tree).root()

    def tear(self) -> None:
        """Entries are missing here, and their places in the tree too."""
        self.torn = True

    def resume(self) -> None:
        """The stored tree was signed as it is: what differs from it is known, and all goes on from there."""
        if self._stored is not None:
            self._tree, self._stored = self._stored, None

    def append(self, leaf: bytes | None) -> None:
        """Adds an entry by its leaf's hash, where nothing is stored of the tree."""
        self.torn = self.torn or leaf is None
        if leaf is not None and not self.torn:
            self._tree.append(leaf)

    def grow(self, leaf: bytes | None, roots: bytes | None) -> bool:
        """Adds an entry by its leaf's hash and what is stored of the tree beside it; None: it is not there.

        Whether the two agree. An entry that is missing is taken from the tree.
        """
        hashes = _hashes(roots)
        first = leaf or (hashes[0] if hashes else None)
        if first is None or self.torn:
            self.torn = True
            return bool(hashes) and leaf in (None, hashes[0])
        size, before = self._tree.size, self._tree.roots[:]
        added = self._tree.append(first)
        if self._stored is None:
            if hashes == added:
                return True
            self._stored = Frontier(size, before)
        followed = _follow(self._stored, hashes, first)
        if self._stored.roots == self._tree.roots:
            self._stored = None
        # Where one hash was changed, those that follow from it, or from what it was, are not to blame.
        return hashes in (added, followed) and leaf in (None, hashes[0])


def _follow(stored: Frontier, hashes: list[bytes], first: bytes) -> list[bytes]:
    """Lets the stored tree grow by what is stored, believed as it is. Answers what it should have been."""
    followed = stored.append(hashes[0] if hashes else first)
    if len(hashes) == len(followed):
        stored.roots[-1] = hashes[-1]
    return followed


def _hashes(roots: bytes | None) -> list[bytes]:
    """Taken apart; nothing where it is not whole hashes."""
    if not roots or len(roots) % HASH_BYTES:
        return []
    return [roots[at : at + HASH_BYTES] for at in range(0, len(roots), HASH_BYTES)]
