"""Text is extracted from whatever a stranger sends, or the stranger is told why not."""

from __future__ import annotations

import hashlib
import random
import zlib

import pytest

from placet_approval.domain import extraction
from placet_approval.domain.extraction import MAX_TEXT_BYTES, Unreadable, extract

PDF = "application/pdf"


def pdf(*pages: str, compress: bool = False) -> bytes:
    """A PDF with a page for each text, in Helvetica (ISO 32000-1, 7.5)."""
    kids = " ".join(f"{3 + 2 * number} 0 R" for number in range(len(pages)))
    font = "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>"
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
            f" /Resources << /Font << /F1 {font} >> >> >>"
        )
        objects.append(page.encode())
        objects.append(f"<< {how}/Length {len(stream)} >>\nstream\n".encode() + stream + b"\nendstream")
    return _with_cross_references(objects)


def _with_cross_references(objects: list[bytes]) -> bytes:
    body, offsets = b"%PDF-1.4\n", []
    for number, written in enumerate(objects, 1):
        offsets.append(len(body))
        body += b"%d 0 obj\n%s\nendobj\n" % (number, written)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    head = b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    trailer = b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n"
    return body + head + table + trailer % (len(objects) + 1, len(body))


@pytest.mark.parametrize(
    ("media_type", "method"),
    [
        ("text/plain", "text"),
        ("text/markdown", "markdown"),
        ("text/x-diff", "diff"),
        ("application/json", "json"),
    ],
)
def test_text_is_taken_as_it_is_and_described(media_type: str, method: str) -> None:
    text = '"Zwölf Boxkämpfer \\n 拳 \\u202e"\n'
    extracted = extract(text.encode(), media_type)

    assert extracted.text == text
    assert extracted.processed.method == method
    assert extracted.processed.characters == len(text)
    assert extracted.processed.words == 5
    assert extracted.processed.text_digest == hashlib.sha256(text.encode()).hexdigest()


def test_a_pdf_is_its_text_page_by_page() -> None:
    extracted = extract(pdf("Pay 4,711 EUR", "to Example Ltd."), PDF)

    assert extracted.text == "Pay 4,711 EUR\n\nto Example Ltd."
    assert extracted.processed.method == "pdf"
    assert extracted.processed.words == 6


@pytest.mark.parametrize("media_type", ["text/plain", "text/markdown", "text/x-diff", "application/json"])
@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"caf\xe9", "not UTF-8 text: byte 3"),
        (b"\xed\xa0\x80", "not UTF-8 text: byte 0"),
        ("π\0".encode(), "byte 2 is NUL"),
        (b" \n\t ", "nothing but white space"),
    ],
)
def test_what_is_no_text_is_refused_with_the_place(media_type: str, body: bytes, why: str) -> None:
    with pytest.raises(Unreadable, match=why):
        extract(body, media_type)


@pytest.mark.parametrize("body", [b"{", b"{'a': 1}", b"[" * 100_000])
def test_json_that_is_none_is_refused(body: bytes) -> None:
    with pytest.raises(Unreadable, match="JSON"):
        extract(body, "application/json")


@pytest.mark.parametrize(
    "body",
    [
        b"%PDF-1.4",
        b"not a PDF",
        b"%PDF-1.4\n%%EOF",
        pdf("text")[:200],
        pdf("text").replace(b"/Kids", b"/Kinder"),
    ],
    ids=["only a head", "text", "nothing inside", "cut off", "no pages"],
)
def test_a_broken_pdf_is_refused(body: bytes) -> None:
    with pytest.raises(Unreadable, match="PDF"):
        extract(body, PDF)


@pytest.mark.parametrize("body", [pdf(""), pdf("   ", ""), pdf()], ids=["no text", "spaces", "no pages"])
def test_a_pdf_without_text_is_refused_with_what_to_do(body: bytes) -> None:
    with pytest.raises(Unreadable, match=r"without text.*send its text instead"):
        extract(body, PDF)


def test_no_damage_to_a_pdf_provokes_anything_but_a_refusal() -> None:
    chance = random.Random(4711)
    whole = pdf("Pay 4,711 EUR", "to Example Ltd.", compress=True)
    for _ in range(300):
        damaged = bytearray(whole)
        for _ in range(chance.randint(1, 8)):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        try:
            extracted = extract(bytes(damaged[: chance.randint(1, len(damaged))]), PDF)
        except Unreadable:
            continue
        assert extracted.text.strip()


def test_nul_in_a_pdf_is_replaced_because_no_database_must_refuse_it() -> None:
    assert extract(pdf("a\\000b"), PDF).text == "a?b"


def test_a_pdf_that_unpacks_to_too_much_text_is_refused() -> None:
    text = "Pay. " * (MAX_TEXT_BYTES // 5 // 4)
    bomb = pdf(*[text] * 5, compress=True)
    assert len(bomb) < 1 << 20

    with pytest.raises(Unreadable, match=f"more than {MAX_TEXT_BYTES} bytes"):
        extract(bomb, PDF)


def test_a_pdf_with_too_many_pages_is_refused() -> None:
    with pytest.raises(Unreadable, match="has 501 pages; the most is 500"):
        extract(pdf(*["x"] * 501), PDF)


def test_a_pdf_that_takes_too_long_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extraction, "MAX_SECONDS", 0.0)

    with pytest.raises(Unreadable, match="to read"):
        extract(pdf("text"), PDF)
