"""Verifies Placet's audit log offline."""

from placet_proof.entries import ERASABLE, ERASED, SALT_BYTES, Leaf, commitment
from placet_proof.notes import (
    COSIGNATURE,
    LOG_SIGNATURE,
    Checkpoint,
    Note,
    VerifierKey,
    cosigned,
    decoded,
    new_key,
    signed,
)
from placet_proof.receipts import Proven, ProvenEntry, verify_receipt
from placet_proof.tree import (
    EMPTY_ROOT,
    Frontier,
    NotProven,
    joined,
    leaf_hash,
    node_hash,
    verify_consistency,
    verify_inclusion,
)

__all__ = [
    "COSIGNATURE",
    "EMPTY_ROOT",
    "ERASABLE",
    "ERASED",
    "LOG_SIGNATURE",
    "SALT_BYTES",
    "Checkpoint",
    "Frontier",
    "Leaf",
    "NotProven",
    "Note",
    "Proven",
    "ProvenEntry",
    "VerifierKey",
    "commitment",
    "cosigned",
    "decoded",
    "joined",
    "leaf_hash",
    "new_key",
    "node_hash",
    "signed",
    "verify_consistency",
    "verify_inclusion",
    "verify_receipt",
]
