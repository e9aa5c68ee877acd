"""The wording of warnings about a text, for terminals and mails."""

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
    "UNDEFINED": "holds characters that each program shows in its own way",
    "STRUCK_THROUGH": "holds marks that strike letters through",
    "LOOK_ALIKE": "holds characters that look like others",
}
_UNKNOWN = "may deceive"


def warning_words(field: str, kind: str, message: str, count: int) -> str:
    """Words one warning: "The content holds characters that are not shown, 3 in all: U+200B …".

    A field or kind of a newer service is shown all the same.
    """
    total = f", {count:,} in all" if count > 1 else ""
    return f"{_WHERE.get(field, field)} {_WHAT.get(kind, _UNKNOWN)}{total}: {message}"
