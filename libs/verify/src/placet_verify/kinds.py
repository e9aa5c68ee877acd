"""Detects the kind of a file: a receipt, an export or a database."""

from __future__ import annotations

from enum import StrEnum

from placet_proof import MOST_RECEIPT_BYTES, NotJson, read_object

SQLITE = b"SQLite format 3\0"


class Kind(StrEnum):
    """The kind of a file, and the command that takes it."""

    RECEIPT = "this is a receipt: placet audit verify-receipt FILE"
    EXPORT = "this is an export: placet audit verify --export FILE"
    DATABASE = "this is a database: placet audit verify --database sqlite:///PATH"


def kind_of(raw: bytes) -> Kind | None:
    """By what is in it; None for anything else."""
    if raw.startswith(SQLITE):
        return Kind.DATABASE
    if _holds(raw, "approvalId", "checkpoint"):
        return Kind.RECEIPT
    return Kind.EXPORT if _holds(raw.partition(b"\n")[0], "checkpoint") else None


def _holds(raw: bytes, *names: str) -> bool:
    try:
        found = read_object(raw, MOST_RECEIPT_BYTES)
    except NotJson:
        return False
    return all(name in found for name in names)
