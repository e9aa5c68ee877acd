"""Step "process": the text and features of a content."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

from placet_approval.content.errors import Unreadable
from placet_approval.content.gaps import Gap
from placet_domain.coverage import ContentCoverage, ContentGap, GapKind
from placet_domain.events import Processed
from placet_text import NotText, decoded, says_nothing

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
    try:
        text = decoded(body)
    except NotText as error:
        raise Unreadable(str(error)) from error
    binary = len(_BINARY_CHANGE.findall(text)) if media_type == "text/x-diff" else 0
    extracted = with_features(text, media_type, [("BINARY", binary, 0)] if binary else [])
    if media_type == "application/json":
        _check_json(text)
    return extracted


def with_features(text: str, media_type: str, gaps: Sequence[Gap]) -> Extracted:
    """A content's text with its features and its gaps.

    Raises Unreadable for a text that says nothing and has no gaps, where nothing can be decided.
    """
    if says_nothing(text) and not gaps:
        raise Unreadable("says nothing: it holds only white space and characters that are not shown")
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


def _check_json(text: str) -> None:
    """Raises Unreadable for a text that is not JSON (RFC 8259). Numbers are taken as they are written."""
    try:
        json.loads(text, parse_int=str, parse_float=str, parse_constant=_no_number)
    except json.JSONDecodeError as error:
        raise Unreadable(f"is not JSON: line {error.lineno}, column {error.colno} cannot be read") from error
    except RecursionError as error:
        raise Unreadable("is JSON nested too deeply") from error


def _no_number(name: str) -> object:
    raise Unreadable(f"is not JSON: it holds {name}, and JSON has no such number; write null or a text")
