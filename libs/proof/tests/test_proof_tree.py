"""The Merkle tree: its growth, its proofs, and what must not pass for one."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from placet_proof import NotProven, leaf_hash, verify_consistency, verify_inclusion
from placet_proof.frontier import EMPTY_ROOT, Frontier
from placet_testing.merkle import path_of, proof_of, root_of

# The root hashes of RFC 6962's well-known eight leaves, as other implementations publish them.
LEAVES = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


def leaves_of(size: int) -> list[bytes]:
    return [leaf_hash(str(number).encode()) for number in range(size)]


def test_the_tree_grows_to_the_published_roots() -> None:
    tree = Frontier()
    assert tree.root() == EMPTY_ROOT == sha256(b"").digest()
    for leaf, root in zip(LEAVES, ROOTS, strict=True):
        tree.append(leaf_hash(bytes.fromhex(leaf)))
        assert tree.root().hex() == root


def test_each_leaf_completes_as_many_subtrees_as_its_index_ends_in_ones() -> None:
    tree, leaves = Frontier(), leaves_of(70)
    for index, leaf in enumerate(leaves):
        completed = tree.append(leaf)
        assert tree.root() == root_of(leaves[: index + 1])
        assert completed == [
            root_of(leaves[index + 1 - (1 << level) : index + 1]) for level in range(len(completed))
        ]
        assert (index + 1) % (1 << len(completed) - 1) == 0
        assert (index + 1) % (1 << len(completed)) != 0
        again = Frontier(tree.size, tree.roots)
        assert again.root() == tree.root()
    with pytest.raises(ValueError, match="consists of"):
        Frontier(3, leaves[:1])


def test_every_proof_of_small_trees_is_accepted() -> None:
    leaves = leaves_of(35)
    for size in range(1, 36):
        root = root_of(leaves[:size])
        for index in range(size):
            verify_inclusion(leaves[index], index, size, path_of(index, leaves[:size]), root)
        for first in range(1, size + 1):
            verify_consistency(first, size, root_of(leaves[:first]), root, proof_of(first, leaves[:size]))


@pytest.mark.slow
@given(size=st.integers(2, 40), data=st.data())
def test_a_proof_that_is_changed_anywhere_is_refused(size: int, data: st.DataObject) -> None:
    leaves = leaves_of(size)
    index, first = data.draw(st.integers(0, size - 1)), data.draw(st.integers(1, size - 1))
    root, first_root = root_of(leaves), root_of(leaves[:first])
    path, proof = path_of(index, leaves), proof_of(first, leaves)
    verify_inclusion(leaves[index], index, size, path, root)
    verify_consistency(first, size, first_root, root, proof)
    place, bit = data.draw(st.integers(0, len(path) - 1)), data.draw(st.integers(0, 255))

    wrong: list[Callable[[], None]] = [
        lambda: verify_inclusion(flipped(leaves[index], bit), index, size, path, root),
        lambda: verify_inclusion(leaves[index], index, size, path, flipped(root, bit)),
        lambda: verify_inclusion(leaves[index], index, size, changed(path, place, bit), root),
        lambda: verify_inclusion(leaves[index], index, size, path[:-1], root),
        lambda: verify_inclusion(leaves[index], index, size, [*path, root], root),
        lambda: verify_inclusion(leaves[index], index ^ 1, size, path, root),
        lambda: verify_inclusion(leaves[index], -1, size, path, root),
        lambda: verify_inclusion(leaves[index], size, size, path, root),
        lambda: verify_inclusion(leaves[index][:-1], index, size, path, root),
        lambda: verify_consistency(first, size, flipped(first_root, bit), root, proof),
        lambda: verify_consistency(first, size, first_root, flipped(root, bit), proof),
        lambda: verify_consistency(first, size, root, first_root, proof),
        lambda: verify_consistency(first, size, first_root, root, changed(proof, place % len(proof), bit)),
        lambda: verify_consistency(first, size, first_root, root, proof[1:]),
        lambda: verify_consistency(first, size, first_root, root, [*proof, root]),
        lambda: verify_consistency(first, size, first_root, root, []),
        lambda: verify_consistency(size, first, root, first_root, proof),
        lambda: verify_consistency(size, size, root, root, proof),
        lambda: verify_consistency(size, size, root, first_root, []),
        lambda: verify_consistency(0, size, EMPTY_ROOT, root, []),
        lambda: verify_consistency(0, size, EMPTY_ROOT, root, proof),
    ]
    for attempt in wrong:
        with pytest.raises(NotProven):
            attempt()


# Probes that others wrote; where from is said in the file.
PROBES = json.loads((Path(__file__).parent / "vectors" / "rfc6962-inclusion.json").read_text())["probes"]


@pytest.mark.parametrize("probe", PROBES, ids=lambda probe: probe["name"])
def test_a_proof_is_judged_as_others_judge_it(probe: dict[str, Any]) -> None:  # Any: JSON
    leaf, root = base64.b64decode(probe["leafHash"]), base64.b64decode(probe["root"])
    proof = [base64.b64decode(one) for one in probe["proof"] or []]
    if not probe["wantErr"]:
        verify_inclusion(leaf, probe["leafIdx"], probe["treeSize"], proof, root)
        return
    with pytest.raises(NotProven):
        verify_inclusion(leaf, probe["leafIdx"], probe["treeSize"], proof, root)


def test_the_probes_of_others_hold_good_and_bad_ones_and_hashes_of_wrong_length() -> None:
    lengths = {len(base64.b64decode(one)) for probe in PROBES for one in (probe["leafHash"], probe["root"])}
    assert {probe["wantErr"] for probe in PROBES} == {True, False}
    assert lengths > {32}


def flipped(found: bytes, bit: int) -> bytes:
    return bytes(byte ^ (1 << bit % 8 if place == bit // 8 else 0) for place, byte in enumerate(found))


def changed(hashes: list[bytes], place: int, bit: int) -> list[bytes]:
    return [flipped(one, bit) if place == at else one for at, one in enumerate(hashes)]
