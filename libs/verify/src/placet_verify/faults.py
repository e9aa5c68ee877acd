"""Reasons of read errors, for users."""

from __future__ import annotations


def fault_of(error: Exception) -> str:
    """The reason of an error, as it follows a colon; an error of this package has its own words."""
    if isinstance(error, UnicodeError):
        return "it is not text in UTF-8"
    if isinstance(error, OverflowError | MemoryError):
        return "a value in it is too large"
    return str(error)
