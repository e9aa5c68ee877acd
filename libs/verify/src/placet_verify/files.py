"""Reads small files that somebody else wrote."""

from __future__ import annotations

from pathlib import Path

from placet_proof.json_reader import size_in_words

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
