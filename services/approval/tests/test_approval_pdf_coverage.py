"""Text anywhere in a PDF is read and marked; unreadable parts are named, and never taken for absent."""

from __future__ import annotations

import io

import pytest
from pypdf import PdfWriter

from placet_approval.content.errors import Unreadable
from placet_approval.content.gaps import KINDS
from placet_approval.content.pdf import read_pdf
from placet_domain.coverage import GapKind
from placet_testing.pdf import form, pdf, pdf_file, revised, shows, stream

MENU = shows("Lunch menu")
PAY = "Pay EUR 1,000,000"
PIXEL = stream(
    "\0", "/Type /XObject /Subtype /Image /Width 1 /Height 1 /ColorSpace /DeviceGray /BitsPerComponent 8"
)
WIDGET = "/Type /Annot /Subtype /Widget /Rect [72 600 400 620]"


def kinds(body: bytes) -> dict[str, tuple[int, int]]:
    return {kind: (count, page) for kind, count, page in read_pdf(body)[1]}


def test_the_kinds_are_those_of_the_contract_in_its_order() -> None:
    assert ["UNSPECIFIED", *KINDS] == [kind.value for kind in GapKind]


@pytest.mark.parametrize(
    "body", [pdf("Pay 10", "to Bob"), pdf_file(MENU), pdf_file(f"q {MENU} Q 0.4 g {MENU}")]
)
def test_a_page_of_nothing_but_text_is_read_whole(body: bytes) -> None:
    text, gaps = read_pdf(body)
    assert text
    assert gaps == []


# Form fields.


def field(entries: str, *kids: str, annotations: str = "/Annots [5 0 R]", more: str = "") -> bytes:
    form_of = f"/AcroForm << /Fields [5 0 R] {more} >>"
    return pdf_file(MENU, f"<< {entries} >>", *kids, catalog=form_of, page=annotations)


@pytest.mark.parametrize(
    ("body", "line"),
    [
        (field(f"/FT /Tx /T (note) /V ({PAY}) {WIDGET}"), f"[form field note] {PAY}"),
        (field(f"/FT /Tx /T (note) /V <FEFF00A300310030> {WIDGET}"), "[form field note] £10"),
        (
            field(
                "/T (bill) /Kids [6 0 R]",
                "<< /T (amount) /Kids [7 0 R] >>",
                f"<< /FT /Tx /T (total) /V ({PAY}) {WIDGET} >>",
            ),
            f"[form field bill.amount.total] {PAY}",
        ),
        (
            field(f"/FT /Ch /T (to) /V (b) /Opt [[(a) (Alice)] [(b) (Bob)]] {WIDGET}"),
            "[form field to] Bob (b)",
        ),
        (field(f"/FT /Ch /T (to) /V [(Alice) (Bob)] {WIDGET}"), "[form field to] Alice, Bob"),
        (field(f"/FT /Btn /T (urgent) /V /Yes {WIDGET}"), "[form field urgent] Yes"),
        (field(f"/FT /Tx /T (note) /V 6 0 R {WIDGET}", stream(PAY)), f"[form field note] {PAY}"),
        (
            field(f"/FT /Sig /T (boss) /V << >> {WIDGET}"),
            "[form field boss] a signature, which was not verified",
        ),
    ],
    ids=["text", "UTF-16", "nested", "choice", "choices", "button", "stream", "signature"],
)
def test_the_value_of_a_field_is_read_and_marked(body: bytes, line: str) -> None:
    text, gaps = read_pdf(body)
    assert text.splitlines() == ["Lunch menu", "", line]
    assert gaps == []


def test_every_line_of_a_value_is_marked_so_that_none_passes_for_the_page() -> None:
    text, _ = read_pdf(field(f"/FT /Tx /T (a]\\n[b) /V (one\\ntwo\\rthree) {WIDGET}"))
    assert text.splitlines()[2:] == [f"[form field a b] {line}" for line in ("one", "two", "three")]


@pytest.mark.parametrize(
    "body",
    [
        field(f"/FT /Tx /T (note) /V ({PAY}) {WIDGET} /F 2"),
        field(f"/FT /Tx /T (note) /V ({PAY}) /Type /Annot /Subtype /Widget /Rect [0 0 0 0]"),
        field(f"/FT /Tx /T (note) /V ({PAY})", annotations=""),
    ],
    ids=["hidden", "without room", "on no page"],
)
def test_a_field_that_no_page_shows_is_read_and_marked_as_such(body: bytes) -> None:
    text, gaps = read_pdf(body)
    assert f"[not visible, form field note] {PAY}" in text
    assert [kind for kind, _, _ in gaps] == ["NOT_VISIBLE"]


def test_a_field_that_looks_like_another_value_shows_both() -> None:
    body = field(f"/FT /Tx /T (note) /V (Pay 10) {WIDGET} /AP << /N 6 0 R >>", form(shows(PAY)))
    text, gaps = read_pdf(body)
    assert f"[form field on page 1, as it looks] {PAY}" in text
    assert "[form field note] Pay 10" in text
    assert gaps == []


def test_a_field_that_looks_like_its_value_shows_it_once() -> None:
    text, _ = read_pdf(field(f"/FT /Tx /T (note) /V ({PAY}) {WIDGET} /AP << /N 6 0 R >>", form(shows(PAY))))
    assert text.count(PAY) == 1


@pytest.mark.parametrize("entries", [f"/FT /Tx /V ({PAY})", f"/FT /Btn /MK << /CA ({PAY}) >>"])
def test_a_field_that_the_form_does_not_name_is_read_from_its_page(entries: str) -> None:
    text, gaps = read_pdf(pdf_file(MENU, f"<< {entries} {WIDGET} >>", page="/Annots [5 0 R]"))
    assert text.splitlines()[-1] == f"[form field on page 1, as it looks] {PAY}"
    assert gaps == []


def test_an_xml_form_is_not_read_and_named() -> None:
    assert kinds(field(f"/FT /Tx /T (note) {WIDGET}", more="/XFA (x)")) == {"XML_FORM": (1, 0)}


# Annotations.


def annotated(entries: str, *objects: str) -> bytes:
    annotation = f"<< /Type /Annot /Rect [72 600 400 620] {entries} >>"
    return pdf_file(MENU, annotation, *objects, page="/Annots [5 0 R]")


@pytest.mark.parametrize(
    ("body", "line"),
    [
        (annotated(f"/Subtype /FreeText /Contents ({PAY})"), f"[annotation on page 1] {PAY}"),
        (annotated(f"/Subtype /Text /RC (<p>{PAY}</p>)"), f"[annotation on page 1] {PAY}"),
        (
            annotated("/Subtype /FreeText /AP << /N 6 0 R >>", form(shows(PAY))),
            f"[annotation on page 1] {PAY}",
        ),
        (
            annotated("/Subtype /Link /A << /S /URI /URI (https://bank.example) >>"),
            "[link on page 1] https://bank.example",
        ),
    ],
    ids=["contents", "rich text", "appearance", "link"],
)
def test_an_annotation_is_read_and_marked(body: bytes, line: str) -> None:
    text, gaps = read_pdf(body)
    assert text.splitlines() == ["Lunch menu", "", line]
    assert gaps == []


def test_a_hidden_annotation_is_marked_as_not_visible() -> None:
    text, gaps = read_pdf(annotated(f"/Subtype /FreeText /Contents ({PAY}) /F 2"))
    assert f"[not visible, annotation on page 1] {PAY}" in text
    assert gaps == [("NOT_VISIBLE", 1, 1)]


@pytest.mark.parametrize(
    ("entries", "kind"),
    [
        ("/Subtype /StrikeOut", "DRAWING"),
        ("/Subtype /Stamp", "DRAWING"),
        ("/Subtype /FileAttachment", "ATTACHMENT"),
        ("/Subtype /RichMedia", "ATTACHMENT"),
        ("/Subtype /Link /A << /S /JavaScript /JS (x) >>", "ACTION"),
        ("/Subtype /Link /A << /S /GoTo /Next [<< /S /Launch >>] >>", "ACTION"),
        ("/Subtype /Link /AA << /E << /S /SubmitForm >> >>", "ACTION"),
    ],
)
def test_an_annotation_that_is_no_text_is_named(entries: str, kind: str) -> None:
    assert kinds(annotated(entries)) == {kind: (1, 1)}


# What is no text.

LAYER = "<< /Type /OCG /Name (draft) >>"
GLYPHS = "/Subtype /Type0 /Encoding /Identity-H /DescendantFonts [<< /Subtype /CIDFontType2 >>]"
TO_UNICODE = stream("1 beginbfchar\n<0001> <0050>\nendbfchar")
DRAWN = "/Subtype /Type3 /FontMatrix [1 0 0 1 0 0] /Encoding << /Differences [97 /a] >>"
NAMED = "/Subtype /Type1 /Encoding << /Differences [97 /g12] >>"
EMBEDDED = "/Subtype /TrueType /FontDescriptor << /FontFile2 4 0 R >>"


def written(font: str, codes: str, *objects: str) -> bytes:
    return pdf_file(f"{MENU} BT /F2 12 Tf {codes} Tj ET", *objects, fonts=f"/F2 << {font} >>")


def drawing(content: str, *objects: str) -> bytes:
    return pdf_file(content, *objects, resources="/XObject << /X 5 0 R >>")


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (drawing(f"{MENU} /X Do /X Do", PIXEL), {"IMAGE": (2, 1)}),
        (drawing(f"{MENU} BI /W 1 /H 1 /BPC 8 /CS /G ID x EI"), {"IMAGE": (1, 1)}),
        (drawing("/X Do", PIXEL), {"IMAGE": (1, 1)}),
        (drawing(f"{MENU} 10 10 m 50 50 l S"), {"DRAWING": (1, 1)}),
        (drawing("9 9 m 50 50 l S").replace(b"/Resources", b"/Resource2"), {"DRAWING": (1, 1)}),
        (drawing(f"{MENU} /S sh"), {"DRAWING": (1, 1)}),
        (drawing(f"{MENU} /X Do", form("9 9 m 50 50 l S")), {"DRAWING": (1, 1)}),
        (written(GLYPHS, "<0001>"), {"FONT": (1, 1)}),
        (written(f"{GLYPHS} /ToUnicode 5 0 R", "<0001>", TO_UNICODE), {}),
        (written(f"{GLYPHS} /ToUnicode 5 0 R", "<0002>", TO_UNICODE), {"FONT": (1, 1)}),
        (written(DRAWN, "(a)"), {"FONT": (1, 1)}),
        (written(NAMED, "(a)"), {"FONT": (1, 1)}),
        (written(EMBEDDED, "(a)"), {"FONT": (1, 1)}),
        (pdf_file(MENU, catalog="/OpenAction << /S /JavaScript /JS (x) >>"), {"ACTION": (1, 0)}),
        (pdf_file(MENU, catalog="/OpenAction [3 0 R /Fit]"), {}),
        (pdf_file(MENU, catalog="/Names << /JavaScript << /Names [(a) << >>] >> >>"), {"ACTION": (1, 0)}),
        (pdf_file(MENU, page="/AA << /O << /S /Launch >> >>"), {"ACTION": (1, 1)}),
        (pdf_file(MENU, LAYER, catalog="/OCProperties << /OCGs [5 0 R] >>"), {"LAYER": (1, 0)}),
        (
            pdf_file(
                MENU,
                "<< /Names [(a) << >> (b) << >>] >>",
                catalog="/Names << /EmbeddedFiles << /Kids [5 0 R] >> >>",
            ),
            {"ATTACHMENT": (2, 0)},
        ),
        (pdf_file(MENU, catalog="/Collection << >>"), {"ATTACHMENT": (1, 0)}),
        (pdf_file(MENU) + b"more", {"MALFORMED": (1, 0)}),
    ],
    ids=[
        *("images", "inline image", "only an image", "drawing", "without resources", "shading", "in a form"),
        *("glyphs", "mapped", "not in the map", "drawn letters", "unknown names", "embedded", "script"),
        *(
            "opens a page",
            "named script",
            "on opening a page",
            "layer",
            "files",
            "portfolio",
            "more after it",
        ),
    ],
)
def test_what_is_no_text_is_named_with_its_number_and_place(
    body: bytes, expected: dict[str, tuple[int, int]]
) -> None:
    assert kinds(body) == expected


@pytest.mark.parametrize("body", [b"before" + pdf_file(MENU), drawing(f"{MENU} /X Do /Y Do", form(MENU))])
def test_what_breaks_the_format_is_named(body: bytes) -> None:
    assert "MALFORMED" in kinds(body)


def test_an_attachment_and_a_password_as_another_program_writes_them() -> None:
    writer = PdfWriter(io.BytesIO(pdf("Lunch menu")))
    writer.add_attachment("order.txt", PAY.encode())
    written = io.BytesIO()
    writer.write(written)
    assert kinds(written.getvalue())["ATTACHMENT"] == (1, 0)

    writer.encrypt("secret")
    writer.write(locked := io.BytesIO())
    with pytest.raises(Unreadable, match="needs a password; send it without one"):
        read_pdf(locked.getvalue())


def test_earlier_revisions_are_named_and_the_last_is_read() -> None:
    first = pdf_file(shows(PAY))
    second = revised(first, 4, stream(MENU))
    third = revised(second, 4, stream(shows("Lunch menu, again")))

    assert read_pdf(first) == (PAY, [])
    without_mark = second.replace(b"startxref", b"%startx  ", 1)
    assert read_pdf(without_mark) == ("Lunch menu", [("REVISION", 1, 0)])
    assert read_pdf(second) == ("Lunch menu", [("REVISION", 1, 0)])
    assert read_pdf(third) == ("Lunch menu, again", [("REVISION", 2, 0)])


def test_a_form_without_resources_is_read_with_those_of_its_page() -> None:
    inner = stream(shows(PAY, at="72 600"), "/Type /XObject /Subtype /Form /BBox [0 0 612 792]")
    text, gaps = read_pdf(pdf_file(f"{MENU} /F Do", inner, resources="/XObject << /F 5 0 R >>"))
    assert text.split("\n") == ["Lunch menu", PAY]
    assert gaps == []


def test_a_form_in_itself_is_named_as_malformed() -> None:
    cyclic = form(f"{shows(PAY)} /F Do", "").replace("/Font <<", "/XObject << /F 5 0 R >> /Font <<")
    assert "MALFORMED" in kinds(pdf_file("/F Do", cyclic, resources="/XObject << /F 5 0 R >>"))


def test_operators_that_make_no_sense_are_named_and_do_not_stop_the_reading() -> None:
    text, gaps = read_pdf(pdf_file(f"(x) cm /Nothing Do Q Q EMC 1 2 re W n ET {MENU}"))
    assert "Lunch menu" in text
    assert "MALFORMED" in {kind for kind, _, _ in gaps}


def test_fields_without_end_are_refused() -> None:
    loop = field("/T (a) /Kids [5 0 R 5 0 R]")
    assert read_pdf(loop) == ("Lunch menu", [])
    deep = [f"<< /T (a) /Kids [{number + 1} 0 R] >>" for number in range(6, 70)]
    with pytest.raises(Unreadable):
        read_pdf(field("/T (a) /Kids [6 0 R]", *deep, "<< /T (b) /V (c) >>"))
