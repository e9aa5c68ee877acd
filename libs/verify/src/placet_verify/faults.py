"""Why something could not be read, for people: what Python says of it is for those who wrote the program."""

from __future__ import annotations

import json


def fault_of(error: Exception) -> str:
    """In words that follow a colon. What was raised here with words of its own is told in these."""
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
