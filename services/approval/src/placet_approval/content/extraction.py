"""Step "process": the text and features of a content."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

from placet_approval.content.errors import Unreadable
from placet_approval.content.gaps import Gap
from placet_domain.events import ContentCoverage, ContentGap, GapKind, Processed

METHODS = {
    "text/plain": "text",
    "text/markdown": "markdown",
    "text/x-diff": "diff",
    "application/json": "json",
    "application/pdf": "pdf",
}
# The largest number that the contract's fields hold.
_MOST = 2**32 - 1

# A change of a file that is no text, as git writes it, and as other programs do.
_BINARY_CHANGE = re.compile(
    r"^(?:GIT binary patch|Binary files .* differ|Cannot display: file marked as a binary)", re.MULTILINE
)


@dataclass(frozen=True)
class Extracted:
    """The text, and its `processed` event."""

    text: str
    processed: Processed


def extract(body: bytes, media_type: str) -> Extracted:
    """Extracts the text of a content that is not a PDF; of Markdown without its gaps. Raises Unreadable."""
    text = _plain_text(body)
    if media_type == "application/json":
        _check_json(text)
    binary = len(_BINARY_CHANGE.findall(text)) if media_type == "text/x-diff" else 0
    return with_features(text, media_type, [("BINARY", binary, 0)] if binary else [])


def with_features(text: str, media_type: str, gaps: Sequence[Gap]) -> Extracted:
    """A content's text with its features and its gaps."""
    processed = Processed(
        method=METHODS[media_type],
        characters=len(text),
        words=len(text.split()),
        text_digest=hashlib.sha256(text.encode()).hexdigest(),
        coverage=ContentCoverage(
            whole=not gaps,
            gaps=tuple(
                ContentGap(kind=GapKind(kind), count=min(count, _MOST), first_page=page)
                for kind, count, page in gaps
            ),
        ),
    )
    return Extracted(text=text, processed=processed)


def _plain_text(body: bytes) -> str:
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise Unreadable(f"is not UTF-8 text: byte {error.start} cannot be read") from error
    if "\0" in text:
        # NUL belongs to no text, is invisible, and not every database stores it.
        raise Unreadable(f"is not text: byte {body.index(0)} is NUL")
    if not text.strip():
        raise Unreadable("holds only white space")
    return text


def _check_json(text: str) -> None:
    try:
        json.loads(text)
    except ValueError as error:
        raise Unreadable(f"is not JSON: {error}") from error
    except RecursionError as error:
        raise Unreadable("is JSON nested too deeply") from error
