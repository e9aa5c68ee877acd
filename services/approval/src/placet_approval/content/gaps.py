"""Gaps between a content and the text that is read from it."""

from __future__ import annotations

from typing import Final, Literal, get_args

# By the names of GapKind in the contract, in its order.
Kind = Literal[
    "IMAGE",
    "DRAWING",
    "FONT",
    "NOT_VISIBLE",
    "LAYER",
    "ATTACHMENT",
    "XML_FORM",
    "ACTION",
    "REVISION",
    "MALFORMED",
    "BINARY",
    "LIMIT",
]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)

# A kind, the number of its places, and the first page with one (0: the whole file).
Gap = tuple[Kind, int, int]


class Gaps:
    """Collects gaps by kind."""

    def __init__(self) -> None:
        self._found: dict[Kind, tuple[int, int]] = {}

    def add(self, kind: Kind, page: int = 0, count: int = 1) -> None:
        """Counts `count` more places of a kind on a page; pages come in order."""
        if count > 0:
            before, first = self._found.get(kind, (0, page))
            self._found[kind] = (before + count, first)

    def has(self, kind: Kind) -> bool:
        """Tells whether there is one of a kind."""
        return kind in self._found

    def all(self) -> list[Gap]:
        """All of them, in the order of the contract."""
        return [(kind, *self._found[kind]) for kind in KINDS if kind in self._found]
