"""PDFs, as small as they can be."""

from __future__ import annotations

import zlib

_FONT = "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>"
_RESOURCES = f"/Resources << /Font << /F1 {_FONT} >> >>"


def pdf(*pages: str, compress: bool = False) -> bytes:
    """A PDF with a page for each text, in Helvetica (ISO 32000-1, 7.5)."""
    kids = " ".join(f"{3 + 2 * number} 0 R" for number in range(len(pages)))
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>".encode(),
    ]
    for number, text in enumerate(pages):
        content = f"BT /F1 12 Tf 72 720 Td ({text}) Tj ET".encode("cp1252")
        stream = zlib.compress(content, 9) if compress else content
        how = "/Filter /FlateDecode " if compress else ""
        page = (
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents {4 + 2 * number} 0 R"
            f" {_RESOURCES} >>"
        )
        objects.append(page.encode())
        objects.append(f"<< {how}/Length {len(stream)} >>\nstream\n".encode() + stream + b"\nendstream")
    return _with_cross_references(objects)


def pdf_file(
    content: bytes | str,
    *objects: bytes | str,
    page: str = "",
    resources: str = "",
    catalog: str = "",
    fonts: str = "",
) -> bytes:
    """A PDF of one page with this content, font /F1, and more entries in its dictionaries.

    Objects 1 to 4 are catalog, pages, page and content; `objects` are those from 5 on.
    """
    drawn = content.encode("cp1252") if isinstance(content, str) else content
    return _with_cross_references(
        [
            f"<< /Type /Catalog /Pages 2 0 R {catalog} >>".encode(),
            b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R {page}"
            f" /Resources << /Font << /F1 {_FONT} {fonts} >> {resources} >> >>".encode(),
            stream(drawn).encode("latin-1"),
            *(one.encode("latin-1") if isinstance(one, str) else one for one in objects),
        ]
    )


def stream(content: bytes | str, entries: str = "") -> str:
    """A stream object with more entries in its dictionary, each of its bytes a character."""
    text = content if isinstance(content, str) else content.decode("latin-1")
    return f"<< {entries} /Length {len(text)} >>\nstream\n{text}\nendstream"


def shows(text: str, *, at: str = "72 720", before: str = "") -> str:
    """Operators that show a text in /F1 at 12 points, after others."""
    return f"BT {before} /F1 12 Tf {at} Td ({text}) Tj ET"


def form(content: str, entries: str = "") -> str:
    """A form (ISO 32000-1, 8.10) with this content and font /F1."""
    return stream(content, f"/Type /XObject /Subtype /Form /BBox [0 0 612 792] {_RESOURCES} {entries}")


def revised(whole: bytes, number: int, written: str) -> bytes:
    """A PDF with another revision after it, in which object `number` is another (ISO 32000-1, 7.5.6)."""
    before = int(whole.rsplit(b"startxref", 1)[1].split()[0])
    size = whole.rsplit(b"/Size ", 1)[1].split()[0].decode()
    body = whole + f"{number} 0 obj\n{written}\nendobj\n".encode("latin-1")
    table = f"xref\n{number} 1\n{len(whole):010d} 00000 n \n"
    trailer = f"trailer\n<< /Size {size} /Root 1 0 R /Prev {before} >>\nstartxref\n{len(body)}\n%%EOF\n"
    return body + (table + trailer).encode()


def pdf_with_content(compressed: bytes) -> bytes:
    """A PDF of one page with this content, packed by zlib."""
    page = f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R {_RESOURCES} >>"
    return _with_cross_references(
        [
            b"<< /Type /Catalog /Pages 2 0 R >>",
            b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
            page.encode(),
            b"<< /Filter /FlateDecode /Length %d >>\nstream\n%s\nendstream" % (len(compressed), compressed),
        ]
    )


def _with_cross_references(objects: list[bytes]) -> bytes:
    body, offsets = b"%PDF-1.4\n", []
    for number, written in enumerate(objects, 1):
        offsets.append(len(body))
        body += b"%d 0 obj\n%s\nendobj\n" % (number, written)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    head = b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    trailer = b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n"
    return body + head + table + trailer % (len(objects) + 1, len(body))
