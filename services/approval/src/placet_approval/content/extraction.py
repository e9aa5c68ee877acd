"""Step "process": the text and features of a content."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

from placet_approval.content.errors import Unreadable
from placet_domain.events import Processed
from placet_text import NotText, decoded, says_nothing

METHODS = {
    "text/plain": "text",
    "text/markdown": "markdown",
    "text/x-diff": "diff",
    "application/json": "json",
    "application/pdf": "pdf",
}


@dataclass(frozen=True)
class Extracted:
    """The text, and its `processed` event."""

    text: str
    processed: Processed


def extract(body: bytes, media_type: str) -> Extracted:
    """Extracts the text of a content that is not a PDF. Raises Unreadable."""
    try:
        text = decoded(body)
    except NotText as error:
        raise Unreadable(str(error)) from error
    extracted = with_features(text, media_type)
    if media_type == "application/json":
        _check_json(text)
    return extracted


def with_features(text: str, media_type: str) -> Extracted:
    """A content's text with its features. Raises Unreadable for a text that says nothing."""
    if says_nothing(text):
        raise Unreadable("says nothing: it holds only white space and characters that are not shown")
    processed = Processed(
        method=METHODS[media_type],
        characters=len(text),
        words=len(text.split()),
        text_digest=hashlib.sha256(text.encode()).hexdigest(),
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
