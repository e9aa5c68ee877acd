"""The subtrees that a proof consists of: as RFC 9162 defines it, and as the verifier wants it."""

from __future__ import annotations

import pytest

from placet_audit.merkle_store import Span, consistency_spans, inclusion_spans, indexes_of, roots_of
from placet_proof import leaf_hash, verify_consistency, verify_inclusion
from placet_proof.frontier import Frontier, joined
from placet_testing.merkle import root_of

SIZE = 70
LEAVES = [leaf_hash(str(number).encode()) for number in range(SIZE)]


def kept() -> dict[int, bytes]:
    tree = Frontier()
    return {index: b"".join(tree.append(leaf)) for index, leaf in enumerate(LEAVES)}


KEPT = kept()


def test_a_spans_root_is_that_of_its_leaves() -> None:
    for start in range(0, SIZE, 16):
        for end in range(start + 1, min(start + 16, SIZE) + 1):
            assert roots_of([Span(start, end)], KEPT) == [root_of(LEAVES[start:end])]
    assert roots_of([Span(0, SIZE)], KEPT) == [root_of(LEAVES)]


def test_every_proof_convinces_the_verifier() -> None:
    for size in range(1, SIZE + 1):
        root = root_of(LEAVES[:size])
        for index in range(size):
            proof = roots_of(inclusion_spans(index, size), KEPT)
            verify_inclusion(LEAVES[index], index, size, proof, root)
        for first in range(1, size + 1):
            proof = roots_of(consistency_spans(first, size), KEPT)
            verify_consistency(first, size, root_of(LEAVES[:first]), root, proof)


def test_a_proof_in_a_tree_of_a_million_is_short_and_reads_little() -> None:
    size = 1_000_000
    for index in (0, 1, 524_287, 524_288, 999_998, 999_999):
        spans = inclusion_spans(index, size)
        assert len(spans) <= 20
        assert len(indexes_of(spans)) <= 40
    for first in (1, 2, 3, 524_288, 524_289, 777_777, 999_999):
        assert len(consistency_spans(first, size)) <= 21


def test_what_is_not_kept_is_named() -> None:
    missing = {index: roots for index, roots in KEPT.items() if index != 31}
    with pytest.raises(KeyError) as raised:
        roots_of([Span(0, 33)], missing)
    assert raised.value.args == (31,)
    short = KEPT | {31: KEPT[31][:-1]}
    with pytest.raises(KeyError):
        roots_of([Span(0, 33)], short)
    assert joined([]) == Frontier().root()
