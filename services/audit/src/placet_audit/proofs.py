"""Which subtrees a proof consists of, and where their roots are kept. Pure; the tree is that of RFC 9162.

With each entry are kept the roots of the perfect subtrees that it completes, its own leaf's hash first. So
the root of the perfect subtree of 2^level leaves from `first` on is the one number `level` of entry
`first + 2^level - 1`, and a proof of any tree reads a few entries for each level.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from placet_proof.growing import joined

HASH_BYTES = 32


@dataclass(frozen=True, slots=True)
class Span:
    """The leaves from `start` to before `end`, which are a subtree of some tree."""

    start: int
    end: int

    def perfect(self) -> Iterator[tuple[int, int]]:
        """The perfect subtrees that it consists of, left to right: the entry that completed each, and its
        level."""
        at = self.start
        for level in reversed(range((self.end - self.start).bit_length())):
            if (self.end - self.start) >> level & 1:
                at += 1 << level
                yield at - 1, level


def inclusion(index: int, size: int) -> list[Span]:
    """PATH(index, tree of `size`), RFC 9162, section 2.1.3.1: the siblings' spans, from the leaf up."""
    spans, start, end = list[Span](), 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            spans.append(Span(middle, end))
            end = middle
        else:
            spans.append(Span(start, middle))
            start = middle
    return spans[::-1]


def consistency(first: int, second: int) -> list[Span]:
    """PROOF(first, tree of `second`), RFC 9162, section 2.1.4.1, for 0 < first <= second."""
    spans, start, end = list[Span](), 0, second
    while first < end:
        middle = start + _split(end - start)
        if first <= middle:
            spans.append(Span(middle, end))
            end = middle
        else:
            spans.append(Span(start, middle))
            start = middle
    # The first tree's last subtree is known to who knows its root, if it is the whole of it.
    if start:
        spans.append(Span(start, end))
    return spans[::-1]


def entries_of(spans: Iterable[Span]) -> list[int]:
    """The entries with which the roots of these spans are kept."""
    return sorted({index for span in spans for index, _ in span.perfect()})


def hashes_of(spans: Iterable[Span], kept: Mapping[int, bytes]) -> list[bytes]:
    """The roots of the spans. `kept`: what is kept with each of `entries_of`. Raises KeyError."""
    return [joined(roots_of(span, kept)) for span in spans]


def roots_of(span: Span, kept: Mapping[int, bytes]) -> Sequence[bytes]:
    """The roots of the perfect subtrees of a span, left to right. Raises KeyError."""
    return [_root(kept[index], index, level) for index, level in span.perfect()]


def _root(roots: bytes, index: int, level: int) -> bytes:
    root = roots[level * HASH_BYTES : (level + 1) * HASH_BYTES]
    if len(root) != HASH_BYTES:
        raise KeyError(index)
    return root


def _split(leaves: int) -> int:
    """The largest power of two that is smaller than `leaves`, which are two at least."""
    return 1 << (leaves - 1).bit_length() - 1
