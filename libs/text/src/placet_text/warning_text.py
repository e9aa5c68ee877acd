"""Warnings about a text in words, for terminals and mails alike."""

from __future__ import annotations

CAREFUL = "Careful: this may look like something else than it is."
NUMBERED = "What could not be seen is shown by its number, like <U+202E>."

# By the names of fields and kinds in ApprovalService's contract, TextWarning.
_WHERE = {"title": "The title", "subject_id": "The subject", "text": "The content"}
_WHAT = {
    "BIDIRECTIONAL": "holds characters that turn the direction of others",
    "INVISIBLE": "holds characters that are not shown",
    "MIXED_SCRIPTS": "has words or numbers of several scripts that look alike",
    "CONTROL": "holds control characters",
}
_UNKNOWN = "may deceive"


def warning_words(field: str, kind: str, message: str, count: int) -> str:
    """One warning as a sentence: "The content holds characters that are not shown, 3 in all: U+200B …".

    A field or kind that a later service knows is told all the same.
    """
    total = f", {count:,} in all" if count > 1 else ""
    return f"{_WHERE.get(field, field)} {_WHAT.get(kind, _UNKNOWN)}{total}: {message}"
