"""The text of a PDF.

Untrusted bytes may make this code run without end or take all memory. It runs in a process of its own, which
can be killed (`placet_approval.content.pdf_process`), and imports little.
"""

from __future__ import annotations

import io
from collections.abc import Iterator

from pypdf import PdfReader
from pypdf.errors import LimitReachedError

from placet_approval.content.errors import Unreadable

# A PDF may unpack to far more text than its bytes; content and text must fit into one message (4 MiB).
MAX_TEXT_BYTES = 2 << 20
MAX_PAGES = 500


def text_of(body: bytes) -> str:
    """The text, page by page. Raises Unreadable, and MemoryError."""
    try:
        text = "\n\n".join(_pages(body)).strip()
    except (Unreadable, MemoryError):
        raise
    except LimitReachedError as error:
        raise Unreadable("holds more than can be read; send its text instead") from error
    except Exception as error:  # pypdf raises arbitrary errors for untrusted bytes
        raise Unreadable("is not a PDF that can be read") from error
    if not text:
        raise Unreadable("is a PDF without text (scanned pages?); send its text instead")
    return text


def _pages(body: bytes) -> Iterator[str]:
    """The text of each page. Raises Unreadable beyond a limit."""
    pages = PdfReader(io.BytesIO(body)).pages
    if len(pages) > MAX_PAGES:
        raise Unreadable(f"has {len(pages)} pages; the most is {MAX_PAGES}")
    remaining = MAX_TEXT_BYTES
    for page in pages:
        # A lone surrogate from a broken font map cannot be hashed or shown, and NUL cannot be stored.
        text = page.extract_text().encode(errors="replace").replace(b"\0", b"?")
        remaining -= len(text) + 2
        if remaining < 0:
            raise Unreadable(f"holds more than {MAX_TEXT_BYTES} bytes of text")
        yield text.decode()
