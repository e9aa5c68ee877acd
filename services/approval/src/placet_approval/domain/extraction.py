"""Step "process": the text and features of a content."""

from __future__ import annotations

import hashlib
import io
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass

from pypdf import PdfReader

from placet_workflows.events import Processed

# A PDF may unpack to far more text than its bytes, and take far longer. Content and text together must go
# into one message (4 MiB).
MAX_TEXT_BYTES = 2 << 20
MAX_PAGES = 500
MAX_SECONDS = 10.0

METHODS = {
    "text/plain": "text",
    "text/markdown": "markdown",
    "text/x-diff": "diff",
    "application/json": "json",
    "application/pdf": "pdf",
}


class Unreadable(ValueError):
    """The content is not what its media type says; the message says how."""


@dataclass(frozen=True)
class Extracted:
    """The text, and what the log says about it."""

    text: str
    processed: Processed


def extract(body: bytes, media_type: str) -> Extracted:
    """Reads the text of a content. Raises Unreadable. CPU-bound: a PDF may take seconds."""
    text = _pdf_text(body) if media_type == "application/pdf" else _plain_text(body)
    if media_type == "application/json":
        _check_json(text)
    processed = Processed(
        method=METHODS[media_type],
        characters=len(text),
        words=len(text.split()),
        text_digest=hashlib.sha256(text.encode()).hexdigest(),
    )
    return Extracted(text=text, processed=processed)


def _plain_text(body: bytes) -> str:
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise Unreadable(f"is not UTF-8 text: byte {error.start} cannot be read") from error
    if "\0" in text:
        # No text holds it, not every database can store it, and nobody would see it.
        raise Unreadable(f"is not text: byte {body.index(0)} is NUL")
    if not text.strip():
        raise Unreadable("holds nothing but white space")
    return text


def _check_json(text: str) -> None:
    try:
        json.loads(text)
    except ValueError as error:
        raise Unreadable(f"is not JSON: {error}") from error
    except RecursionError as error:
        raise Unreadable("is JSON nested too deeply") from error


def _pdf_text(body: bytes) -> str:
    try:
        text = "\n\n".join(_pages(body)).strip()
    except Unreadable:
        raise
    except Exception as error:  # a stranger's file: pypdf raises whatever its bytes provoke
        raise Unreadable("is not a PDF that can be read") from error
    if not text:
        raise Unreadable("is a PDF without text (scanned pages?); send its text instead")
    return text


def _pages(body: bytes) -> Iterator[str]:
    """The text of each page, as long as all bounds are kept."""
    deadline = time.monotonic() + MAX_SECONDS
    pages = PdfReader(io.BytesIO(body)).pages
    if len(pages) > MAX_PAGES:
        raise Unreadable(f"has {len(pages)} pages; the most is {MAX_PAGES}")
    room = MAX_TEXT_BYTES
    for page in pages:
        # A lone surrogate from a broken font map cannot be hashed or shown, and NUL cannot be stored.
        text = page.extract_text().encode(errors="replace").replace(b"\0", b"?")
        room -= len(text) + 2
        if room < 0:
            raise Unreadable(f"holds more than {MAX_TEXT_BYTES} bytes of text")
        if time.monotonic() > deadline:
            raise Unreadable(f"takes more than {MAX_SECONDS:.0f} s to read; send its text instead")
        yield text.decode()
