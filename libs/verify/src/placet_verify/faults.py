"""Reasons of read errors, for users."""

from __future__ import annotations

import json


def fault_of(error: Exception) -> str:
    """The reason of an error, as it follows a colon; an error of this package has its own words."""
    if isinstance(error, UnicodeError):
        return "it is not text in UTF-8"
    if isinstance(error, json.JSONDecodeError):
        return "it is not JSON"
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, KeyError):
        return f"it has no {error.args[0]}"
    if isinstance(error, IndexError | TypeError | AttributeError):
        return "a part of it is missing, or not of its type"
    return str(error)
