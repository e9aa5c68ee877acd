"""Verifies Placet's audit log offline."""

from placet_proof.entries import ERASABLE, ERASED, SALT_BYTES, Leaf, commitment
from placet_proof.notes import (
    COSIGNATURE,
    LOG_SIGNATURE,
    Checkpoint,
    Note,
    VerifierKey,
    decoded,
)
from placet_proof.receipts import Proven, ProvenEntry, verify_receipt
from placet_proof.tree import (
    NotProven,
    leaf_hash,
    node_hash,
    verify_consistency,
    verify_inclusion,
)

__all__ = [
    "COSIGNATURE",
    "ERASABLE",
    "ERASED",
    "LOG_SIGNATURE",
    "SALT_BYTES",
    "Checkpoint",
    "Leaf",
    "NotProven",
    "Note",
    "Proven",
    "ProvenEntry",
    "VerifierKey",
    "commitment",
    "decoded",
    "leaf_hash",
    "node_hash",
    "verify_consistency",
    "verify_inclusion",
    "verify_receipt",
]
