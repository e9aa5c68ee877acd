"""Text that a PDF does not show is read, and marked as not visible."""

from __future__ import annotations

import pytest

from placet_approval.content.pdf import read_pdf
from placet_testing.pdf import form, pdf_file, shows, stream

MENU = shows("Lunch menu")
PAY = "Pay EUR 1,000,000"
PIXEL = stream("\0", "/Subtype /Image /Width 1 /Height 1 /ColorSpace /DeviceGray /BitsPerComponent 8")
OFF = "/OCProperties << /OCGs [5 0 R] /D << /OFF [5 0 R] >> >>"
LAYER = "<< /Type /OCG /Name (draft) >>"
FAINT = "/ExtGState << /G << /ca 0 >> /M << /SMask << /S /Alpha >> >> >>"


@pytest.mark.parametrize(
    "hidden",
    [
        pdf_file(f"{MENU} {shows(PAY, at='72 600', before='1 1 1 rg')}"),
        pdf_file(f"{MENU} {shows(PAY, at='72 600', before='0.97 g')}"),
        pdf_file(f"{MENU} {shows(PAY, at='72 600', before='0 0 0 0 k')}"),
        pdf_file(f"{MENU} /DeviceRGB cs 1 1 1 sc {shows(PAY, at='72 600')}"),
        pdf_file(f"{MENU} /Pattern cs /P scn {shows(PAY, at='72 600')}"),
        pdf_file(f"{MENU} {shows(PAY, at='72 600', before='3 Tr')}"),
        pdf_file(f"{MENU} 1 1 1 RG {shows(PAY, at='72 600', before='1 Tr')}"),
        pdf_file(f"{MENU} q 0.1 0 0 0.1 0 0 cm {shows(PAY, at='720 6000')} Q"),
        pdf_file(f"{MENU} BT 1 Tz /F1 12 Tf 72 600 Td ({PAY}) Tj ET"),
        pdf_file(f"{MENU} {shows(PAY, at='-200 600')}"),
        pdf_file(f"{MENU} {shows(PAY, at='72 900')}"),
        pdf_file(f"{MENU} BT /F1 12 Tf 72 600 Td [-90000 ({PAY})] TJ ET"),
        pdf_file(f"{MENU} {shows(PAY, at='300 300')}", page="/CropBox [0 400 612 792]"),
        pdf_file(f"{MENU} q 0 0 9 9 re W n {shows(PAY, at='72 600')} Q"),
        pdf_file(f"{MENU} q W n {shows(PAY, at='72 600')} Q"),
        pdf_file(f"{MENU} q /G gs {shows(PAY, at='72 600')} Q", resources=FAINT),
        pdf_file(f"{MENU} q /M gs {shows(PAY, at='72 600')} Q", resources=FAINT),
        pdf_file(
            f"{MENU} /F Do",
            form(shows(PAY, at="72 600"), "/Matrix [0.01 0 0 0.01 0 0]"),
            resources="/XObject << /F 5 0 R >>",
        ),
        pdf_file(f"{MENU} 1 g /F Do", form(shows(PAY, at="72 600")), resources="/XObject << /F 5 0 R >>"),
    ],
    ids=[
        *(
            "white",
            "nearly white",
            "no ink",
            "white by space",
            "pattern",
            "no paint",
            "white outline",
            "tiny",
        ),
        *(
            "narrow",
            "left of the page",
            "above it",
            "moved off it",
            "cropped",
            "clipped",
            "clipped by nothing",
        ),
        *("transparent", "masked", "shrunk by a form", "white from outside of a form"),
    ],
)
def test_text_that_nobody_can_see_is_read_and_marked(hidden: bytes) -> None:
    text, gaps = read_pdf(hidden)
    assert text.splitlines() == ["Lunch menu", "", f"[not visible on page 1] {PAY}"]
    assert gaps == [("NOT_VISIBLE", 1, 1)]


@pytest.mark.parametrize(
    ("body", "more"),
    [
        (pdf_file(f"{shows(PAY, at='72 600')} 1 g 60 590 300 30 re f {MENU[:3]} 0 g {MENU[3:]}"), "DRAWING"),
        (pdf_file(f"{MENU} 0 g 60 590 300 30 re f {shows(PAY, at='72 600')}"), "DRAWING"),
        (
            pdf_file(
                f"{MENU} {shows(PAY, at='72 600')} q 300 0 0 30 60 590 cm /I Do Q",
                PIXEL,
                resources="/XObject << /I 5 0 R >>",
            ),
            "IMAGE",
        ),
        (
            pdf_file(
                f"{MENU} /OC /L BDC {shows(PAY, at='72 600')} EMC",
                LAYER,
                catalog=OFF,
                resources="/Properties << /L 5 0 R >>",
            ),
            "LAYER",
        ),
        (
            pdf_file(
                f"{MENU} /F Do",
                LAYER,
                form(shows(PAY, at="72 600"), "/OC 5 0 R"),
                catalog=OFF,
                resources="/XObject << /F 6 0 R >>",
            ),
            "LAYER",
        ),
    ],
    ids=["covered", "black on black", "under an image", "in a layer", "a form in a layer"],
)
def test_text_behind_or_in_something_is_marked_and_that_is_named_too(body: bytes, more: str) -> None:
    text, gaps = read_pdf(body)
    assert f"[not visible on page 1] {PAY}" in text.splitlines()
    assert text.splitlines()[0] == "Lunch menu"
    assert {kind for kind, _, _ in gaps} == {"NOT_VISIBLE", more}


def test_white_text_on_a_dark_ground_is_visible() -> None:
    body = pdf_file(f"{MENU} 0 0 0.5 rg 60 590 300 30 re f {shows(PAY, at='72 600', before='1 g')}")
    assert read_pdf(body)[1] == [("DRAWING", 1, 1)]


def test_several_lines_of_a_text_part_are_told_apart() -> None:
    body = pdf_file("BT /F1 12 Tf 14 TL 72 720 Td (one) Tj 1 g (two) ' 0 g (three) ' 1 g 0 0 (four) \" ET")
    text, gaps = read_pdf(body)
    assert text.splitlines() == [
        "one",
        "three",
        "",
        *(f"[not visible on page 1] {n}" for n in ("two", "four")),
    ]
    assert gaps == [("NOT_VISIBLE", 2, 1)]
