"""What proving costs: a proof's length in a log of a million entries, and its verification."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass

from placet_audit.proofs import Span, entries_of, hashes_of, inclusion
from placet_bench.figures import Figure, Report, at_most, percentile
from placet_bench.setting import Setting
from placet_proof import Frontier, leaf_hash, verify_inclusion

MILLION = 1_000_000
SEED = 6962


@dataclass(frozen=True)
class Proof:
    """An inclusion proof with what it is about."""

    leaf: bytes
    index: int
    hashes: Sequence[bytes]


async def measure(setting: Setting) -> Report:
    """Proofs of entries chosen at random."""
    root, proofs = await asyncio.to_thread(_proofs, 50_000 if setting.quick else MILLION)
    size = 50_000 if setting.quick else MILLION
    taken = [_verification(proof, size, root) for proof in proofs for _ in range(5)]
    setting.say("proofs: done")
    longest = max(len(proof.hashes) for proof in proofs)
    return Report(
        (
            Figure(f"inclusion proof in a log of {size:,}, longest", longest, "hashes", target=at_most(20)),
            Figure(
                "verification of an inclusion proof, p50", percentile(taken, 0.5), "µs", target=at_most(100)
            ),
            Figure("verification of an inclusion proof, p99", percentile(taken, 0.99), "µs"),
        )
    )


def _proofs(size: int) -> tuple[bytes, list[Proof]]:
    """A tree's root, and proofs of some hundred of its leaves; only what they need is kept of it."""
    chosen = [0, size - 1, *random.Random(SEED).sample(range(size), 200)]
    spans = {index: [Span(index, index + 1), *inclusion(index, size)] for index in chosen}
    needed = set(entries_of(span for some in spans.values() for span in some))
    tree, kept = Frontier(), dict[int, bytes]()
    for index in range(size):
        roots = tree.append(leaf_hash(index.to_bytes(8, "big")))
        if index in needed:
            kept[index] = b"".join(roots)
    proofs = []
    for index, some in spans.items():
        leaf, *hashes = hashes_of(some, kept)
        proofs.append(Proof(leaf, index, hashes))
    return tree.root(), proofs


def _verification(proof: Proof, size: int, root: bytes) -> float:
    """Microseconds of one."""
    begun = time.perf_counter()
    verify_inclusion(proof.leaf, proof.index, size, proof.hashes, root)
    return 1e6 * (time.perf_counter() - begun)
