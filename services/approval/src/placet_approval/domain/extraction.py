"""Step "process": the text and features of a content."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass

from pypdf import PdfReader
from pypdf.errors import PyPdfError

from placet_workflows.events import Processed

# A PDF may unpack to far more text than its bytes; what is shown and judged stays bounded.
MAX_CHARACTERS = 2_000_000
MAX_PAGES = 500

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
    processed = Processed(
        method=METHODS[media_type],
        characters=len(text),
        words=len(text.split()),
        text_digest=hashlib.sha256(text.encode()).hexdigest(),
    )
    return Extracted(text=text, processed=processed)


def _plain_text(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        raise Unreadable(f"is not UTF-8 text: byte {error.start} cannot be read") from error


def _pdf_text(body: bytes) -> str:
    try:
        pages = PdfReader(io.BytesIO(body)).pages
        if len(pages) > MAX_PAGES:
            raise Unreadable(f"has {len(pages)} pages; the most is {MAX_PAGES}")
        text = "\n\n".join(page.extract_text() for page in pages).strip()
    except (PyPdfError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        # pypdf lets these through for files that are broken in ways it did not foresee.
        if isinstance(error, Unreadable):
            raise
        raise Unreadable("is not a PDF that can be read") from error
    if not text:
        raise Unreadable("is a PDF without text (scanned pages?); send its text instead")
    if len(text) > MAX_CHARACTERS:
        raise Unreadable(f"holds {len(text)} characters of text; the most is {MAX_CHARACTERS}")
    # A lone surrogate from a broken font map cannot be hashed or shown.
    return text.encode(errors="replace").decode()
