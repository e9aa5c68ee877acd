"""Verifies Placet's audit log offline."""

from placet_proof.attestation import NotAttested, attestation_keys
from placet_proof.entries import ERASABLE, ERASED, MOST_LEAF_BYTES, SALT_BYTES, Leaf, commitment
from placet_proof.json_reader import JsonObject, NotJson, read_json, read_object
from placet_proof.notes import (
    ATTESTATION,
    COSIGNATURE,
    LOG_SIGNATURE,
    Checkpoint,
    Note,
    VerifierKey,
    decoded,
)
from placet_proof.public_keys import check_public_key
from placet_proof.receipts import MOST_RECEIPT_BYTES, Proven, ProvenEntry, read_receipt, verify_receipt
from placet_proof.tree import (
    NotProven,
    leaf_hash,
    node_hash,
    verify_consistency,
    verify_inclusion,
)

__all__ = [
    "ATTESTATION",
    "COSIGNATURE",
    "ERASABLE",
    "ERASED",
    "LOG_SIGNATURE",
    "MOST_LEAF_BYTES",
    "MOST_RECEIPT_BYTES",
    "SALT_BYTES",
    "Checkpoint",
    "JsonObject",
    "Leaf",
    "NotAttested",
    "NotJson",
    "NotProven",
    "Note",
    "Proven",
    "ProvenEntry",
    "VerifierKey",
    "attestation_keys",
    "check_public_key",
    "commitment",
    "decoded",
    "leaf_hash",
    "node_hash",
    "read_json",
    "read_object",
    "read_receipt",
    "verify_consistency",
    "verify_inclusion",
    "verify_receipt",
]
