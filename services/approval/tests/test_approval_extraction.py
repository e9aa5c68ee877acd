"""Text is extracted from whatever a stranger sends, or the stranger is told why not."""

from __future__ import annotations

import asyncio
import hashlib
import random
import zlib

import pytest

from placet_approval.content.errors import Unreadable
from placet_approval.content.extraction import extract
from placet_approval.content.extractor import Extractor
from placet_approval.content.pdf import MAX_TEXT_BYTES, read_pdf
from placet_jobs import Limits
from placet_testing.pdf import pdf, pdf_with_content

PDF = "application/pdf"


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


@pytest.mark.integration
async def test_a_pdf_is_its_text_page_by_page() -> None:
    extracted = await Extractor().extract("acme", pdf("Pay 4,711 EUR", "to Example Ltd."), PDF)

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
        (b" \n\t ", "only white space"),
        ("\u200b\u2060 \u3164\ufeff".encode(), "says nothing"),
        ("\ufeff \r\n".encode(), "says nothing"),
        ("Zoë".encode("utf-16"), "UTF-16.*save it as UTF-8"),
        ("Zoë".encode("utf-32"), "UTF-32.*save it as UTF-8"),
        ("id;amount\r\n".encode("utf-16-be"), "UTF-16BE.*save it as UTF-8"),
        ("id;amount\r\n".encode("utf-16-le"), "UTF-16LE.*save it as UTF-8"),
    ],
)
def test_what_is_no_text_is_refused_with_the_place(media_type: str, body: bytes, why: str) -> None:
    with pytest.raises(Unreadable, match=why):
        extract(body, media_type)


@pytest.mark.parametrize("media_type", ["text/plain", "text/markdown", "text/x-diff", "application/json"])
def test_a_byte_order_mark_is_no_part_of_the_text(media_type: str) -> None:
    assert extract(b'\xef\xbb\xbf{"amount": 950}\r\n', media_type).text == '{"amount": 950}\r\n'


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"{", "line 1, column 2 cannot be read"),
        (b"{\n'a': 1}", "line 2, column 1 cannot be read"),
        (b"1 2", "line 1, column 3 cannot be read"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a": NaN}', "it holds NaN"),
        (b"[-Infinity]", "it holds -Infinity"),
    ],
)
def test_json_that_is_none_is_refused_in_words_of_our_own(body: bytes, why: str) -> None:
    with pytest.raises(Unreadable, match=f"^is (not )?JSON.*{why}"):
        extract(body, "application/json")


@pytest.mark.parametrize(
    "number", ["9007199254740993", "1e400", "-0", "9" * 100_000, "1" * 5000 + ".5e-99999"]
)
def test_a_number_of_json_is_taken_as_it_is_written(number: str) -> None:
    assert extract(f"[{number}]".encode(), "application/json").text == f"[{number}]"


@pytest.mark.integration
async def test_a_pdf_whose_text_is_not_shown_is_refused() -> None:
    with pytest.raises(Unreadable, match="says nothing"):
        await Extractor().extract("acme", pdf("\\255 \\255"), PDF)


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
        read_pdf(body)


@pytest.mark.parametrize("body", [pdf(""), pdf("   ", ""), pdf()], ids=["no text", "spaces", "no pages"])
def test_a_pdf_without_text_is_refused_with_what_to_do(body: bytes) -> None:
    with pytest.raises(Unreadable, match=r"without text or anything else to see; send its text instead"):
        read_pdf(body)


def test_no_damage_to_a_pdf_provokes_anything_but_a_refusal() -> None:
    chance = random.Random(4711)
    whole = pdf("Pay 4,711 EUR", "to Example Ltd.", compress=True)
    for _ in range(300):
        damaged = bytearray(whole)
        for _ in range(chance.randint(1, 8)):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        try:
            text, gaps = read_pdf(bytes(damaged[: chance.randint(1, len(damaged))]))
        except Unreadable:
            continue
        assert text.strip() or gaps


def test_nul_in_a_pdf_is_replaced_because_no_database_must_refuse_it() -> None:
    assert read_pdf(pdf("a\\000b"))[0] == "a?b"


@pytest.mark.slow
def test_a_pdf_that_unpacks_to_too_much_text_is_refused() -> None:
    text = "Pay. " * (MAX_TEXT_BYTES // 5 // 4)
    bomb = pdf(*[text] * 5, compress=True)
    assert len(bomb) < 1 << 20

    with pytest.raises(Unreadable, match=f"more than {MAX_TEXT_BYTES} bytes"):
        read_pdf(bomb)


@pytest.mark.slow
def test_a_pdf_that_unpacks_to_more_than_pypdf_takes_is_refused_as_such() -> None:
    content = b"BT /F1 12 Tf [" + b"(a) " * 200_000 + b"] TJ ET"

    with pytest.raises(Unreadable, match="holds more than can be read; send its text instead"):
        read_pdf(pdf_with_content(zlib.compress(content)))


def test_a_pdf_with_too_many_pages_is_refused() -> None:
    with pytest.raises(Unreadable, match="has 501 pages; the most is 500"):
        read_pdf(pdf(*["x"] * 501))


# A page of eight million letters, each written by an operator of its own: minutes, and gigabytes.
ENDLESS = pdf_with_content(zlib.compress(b"BT /F1 12 Tf " + b"(a) Tj " * 8_000_000 + b"ET", 9))


@pytest.mark.integration
async def test_a_page_that_takes_for_ever_is_killed_and_the_next_pdf_is_read() -> None:
    assert len(ENDLESS) < 1 << 20
    extractor = Extractor(Limits(cpu_seconds=1), slots=1)
    hanging = asyncio.create_task(extractor.extract("acme", ENDLESS, PDF))
    waiting = asyncio.create_task(extractor.extract("acme", pdf("Pay"), PDF))

    with pytest.raises(Unreadable, match="takes too long to read; send its text instead"):
        await hanging

    assert (await waiting).text == "Pay"


@pytest.mark.integration
async def test_another_tenants_pdf_is_read_while_one_tenants_take_for_ever() -> None:
    extractor = Extractor(slots=2)
    hanging = [asyncio.create_task(extractor.extract("slow", ENDLESS, PDF)) for _ in range(8)]
    await asyncio.sleep(0)

    assert (await extractor.extract("acme", pdf("Pay"), PDF)).text == "Pay"

    assert not any(one.done() for one in hanging)
    for one in hanging:
        one.cancel()
    await asyncio.wait(hanging)


@pytest.mark.integration
async def test_a_pdf_that_waits_is_killed_too() -> None:
    with pytest.raises(Unreadable, match="takes too long"):
        await Extractor(Limits(seconds=0.2)).extract("acme", ENDLESS, PDF)


@pytest.mark.integration
async def test_a_pdf_that_takes_all_memory_is_refused() -> None:
    with pytest.raises(Unreadable, match="takes too much memory to read; send its text instead"):
        await Extractor(Limits(cpu_seconds=60, seconds=60, mebibytes=128)).extract("acme", ENDLESS, PDF)


@pytest.mark.integration
async def test_a_caller_who_goes_away_takes_the_reading_of_their_pdf_along() -> None:
    extractor = Extractor(slots=1)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await extractor.extract("acme", ENDLESS, PDF)

    assert (await extractor.extract("acme", pdf("Pay"), PDF)).text == "Pay"


@pytest.mark.integration
@pytest.mark.parametrize("body", [pdf(""), b"not a PDF"])
async def test_a_pdfs_own_process_refuses_in_the_same_words(body: bytes) -> None:
    with pytest.raises(Unreadable) as here:
        read_pdf(body)
    with pytest.raises(Unreadable) as there:
        await Extractor().extract("acme", body, PDF)

    assert str(there.value) == str(here.value)
