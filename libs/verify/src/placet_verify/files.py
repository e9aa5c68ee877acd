"""Reads small files that somebody else wrote; detects receipts, exports and databases by their content."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

from placet_proof import MOST_RECEIPT_BYTES, NotJson, read_object
from placet_proof.json_reader import size_in_words

SQLITE = b"SQLite format 3\0"

MOST_KEY_BYTES = 64 << 10
"""Most bytes of a file with keys, and of a note."""

MOST_WITNESS_BYTES = 256 << 10
"""Most bytes of an alarm, which holds a note, and of a status."""


def read_bytes(path: Path, most: int) -> bytes:
    """Reads a file. Raises OSError, and ValueError for one of more than `most` bytes."""
    with path.open("rb") as file:
        raw = file.read(most + 1)
    if len(raw) > most:
        raise ValueError(f"it is larger than {size_in_words(most)}")
    return raw


def read_text(path: Path, most: int) -> str:
    """As `read_bytes`, for text. Raises UnicodeDecodeError, a ValueError, for what is not UTF-8."""
    return read_bytes(path, most).decode()


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
