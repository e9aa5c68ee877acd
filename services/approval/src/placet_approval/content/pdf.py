"""The text of a PDF, and what of it the text does not hold.

Untrusted bytes may make this code run without end or take all memory. It runs in a process of its own, which
can be killed (`placet_jobs`).
"""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from pypdf import PdfReader
from pypdf.errors import FileNotDecryptedError, LimitReachedError
from pypdf.generic import DictionaryObject

from placet_approval.content.errors import Unreadable
from placet_approval.content.gaps import Gap, Gaps, Kind
from placet_approval.content.pdf_actions import count_actions
from placet_approval.content.pdf_annotations import FormFields, annotation_lines, marked
from placet_approval.content.pdf_layers import Layers
from placet_approval.content.pdf_page import PageReader
from placet_approval.content.pdf_values import array, dictionary, tree

# A PDF may unpack to far more text than its bytes; content and text must fit into one message (4 MiB).
MAX_TEXT_BYTES = 2 << 20
MAX_PAGES = 500

_LINEARIZED = re.compile(rb"/Linearized\b[^>]{0,200}?/L\s+(\d+)")
_LINEARIZED_WITHIN = 1024
_END = b"%%EOF"
_TOO_MUCH = "holds more than can be read; send its text instead"
# Gaps that are something to see, or to open, in a PDF without any text.
_SEEN: Final[tuple[Kind, ...]] = ("IMAGE", "DRAWING", "FONT", "ATTACHMENT", "XML_FORM")
# Characters that stand for none: a font's map that says nothing.
_MEANINGLESS = re.compile("[\0-\x08\x0e-\x1f\x7f\ufffd\ue000-\uf8ff\U000f0000-\U0010ffff]")


def read_pdf(body: bytes) -> tuple[str, list[Gap]]:
    """The text, page by page, and the gaps. Raises Unreadable, and MemoryError."""
    gaps = Gaps()
    try:
        with _warnings_counted(gaps):
            text = "\n\n".join(part for part in _parts(body, gaps) if part)
    except (Unreadable, MemoryError):
        raise
    except LimitReachedError as error:
        raise Unreadable(_TOO_MUCH) from error
    except FileNotDecryptedError as error:
        raise Unreadable("is a PDF that needs a password; send it without one") from error
    except Exception as error:  # pypdf raises arbitrary errors for untrusted bytes
        raise Unreadable("is not a PDF that can be read") from error
    found = gaps.all()
    if not text and not any(kind in _SEEN for kind, _, _ in found):
        raise Unreadable("is a PDF without text or anything else to see; send its text instead")
    return text, found


def _parts(body: bytes, gaps: Gaps) -> Iterator[str]:
    """The text of each page, then that of the form. Raises Unreadable beyond a limit."""
    pdf = PdfReader(io.BytesIO(body))
    pages = pdf.pages
    if len(pages) > MAX_PAGES:
        raise Unreadable(f"has {len(pages)} pages; the most is {MAX_PAGES}")
    catalog = dictionary(pdf.root_object)
    layers = Layers(catalog)
    reader = PageReader(gaps, layers)
    fields = FormFields(catalog, gaps)
    _count_in_file(body, dictionary(pdf.trailer), catalog, layers, gaps)
    remaining = MAX_TEXT_BYTES
    for number, page in enumerate(pages, 1):
        gaps.add("ACTION", number, count_actions(page))
        text = reader.page(page, number)
        lines = marked(f"not visible on page {number}", text.hidden)
        lines += annotation_lines(reader, page, number, fields, gaps)
        part = _storable("\n\n".join(one for one in (text.visible.strip(), "\n".join(lines)) if one))
        if not gaps.has("FONT") and _MEANINGLESS.search(text.visible):
            gaps.add("FONT", number)
        remaining -= len(part.encode()) + 2
        if remaining < 0:
            raise Unreadable(f"holds more than {MAX_TEXT_BYTES} bytes of text")
        yield part
    form = _storable("\n".join(fields.lines))
    if len(form.encode()) > remaining:
        raise Unreadable(f"holds more than {MAX_TEXT_BYTES} bytes of text")
    yield form


def _storable(text: str) -> str:
    """The text without lone surrogates, which cannot be hashed or shown, and without NUL, which not every
    database stores."""
    return text.encode(errors="replace").replace(b"\0", b"?").decode()


def _count_in_file(
    body: bytes, trailer: DictionaryObject, catalog: DictionaryObject, layers: Layers, gaps: Gaps
) -> None:
    names = dictionary(catalog.get("/Names"))
    gaps.add("LAYER", count=layers.count)
    files = [dictionary(names.get("/EmbeddedFiles"))]
    files += [node for node, _ in tree(files[0].get("/Kids"), "/Kids")]
    embedded = sum((len(array(node.get("/Names"))) + 1) // 2 for node in files)
    gaps.add("ATTACHMENT", count=max(embedded, len(array(catalog.get("/AF"))), "/Collection" in catalog))
    scripts = [dictionary(names.get("/JavaScript"))]
    scripts += [node for node, _ in tree(scripts[0].get("/Kids"), "/Kids")]
    named = sum((len(array(node.get("/Names"))) + 1) // 2 for node in scripts)
    gaps.add("ACTION", count=named + count_actions(catalog))
    gaps.add("REVISION", count=_revisions(body, is_revised="/Prev" in trailer))
    start, end = body.find(b"%PDF-"), body.rfind(_END)
    gaps.add("MALFORMED", count=(start != 0) + (end < 0 or bool(body[end + len(_END) :].strip(b"\0\r\n\t "))))


def _revisions(body: bytes, *, is_revised: bool) -> int:
    """The number of revisions before the last: each ends with the place of its table."""
    tables = body.count(b"startxref")
    linearized = _LINEARIZED.search(body[:_LINEARIZED_WITHIN])
    # Such a file has two tables; once it is revised, its length is not the one that it names.
    if linearized is not None and int(linearized[1]) == len(body):
        return max(0, tables - 2)
    return max(0, tables - 1, int(is_revised))


@contextmanager
def _warnings_counted(gaps: Gaps) -> Iterator[None]:
    """Counts pypdf's warnings: it reads on by a guess, and other programs may guess differently."""
    handler = _Counting(gaps)
    log = logging.getLogger("pypdf")
    before = (log.level, log.propagate)
    log.addHandler(handler)
    log.setLevel(logging.WARNING)
    log.propagate = False
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.level, log.propagate = before


class _Counting(logging.Handler):
    def __init__(self, gaps: Gaps) -> None:
        super().__init__(logging.WARNING)
        self._gaps = gaps

    def emit(self, record: logging.LogRecord) -> None:
        self._gaps.add("MALFORMED")
