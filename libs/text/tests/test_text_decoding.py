"""Bytes are text alike wherever they are read, or it is said what to do."""

from __future__ import annotations

import codecs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from placet_text import NotText, decoded

TEXT = "id;amount;name\r\n1;950,00;Zoë\r\n"


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0")))
def test_text_in_utf_8_is_taken_as_it_is_with_and_without_a_byte_order_mark(text: str) -> None:
    if text.startswith("\ufeff"):
        return
    assert decoded(text.encode()) == decoded(codecs.BOM_UTF8 + text.encode()) == text


@pytest.mark.parametrize(
    ("written", "encoding"),
    [
        ("utf-16", "UTF-16"),
        ("utf-16-le", "UTF-16LE"),
        ("utf-16-be", "UTF-16BE"),
        ("utf-32", "UTF-32"),
    ],
)
def test_another_encoding_is_refused_with_its_name_and_what_to_do(written: str, encoding: str) -> None:
    for text in (TEXT, "a", "1"):
        with pytest.raises(NotText, match="save it as UTF-8") as told:
            decoded(text.encode(written))
        assert told.value.encoding == encoding
    with pytest.raises(NotText) as told:
        decoded(codecs.BOM_UTF16_BE + TEXT.encode("utf-16-be"))
    assert told.value.encoding == "UTF-16"


@pytest.mark.parametrize("body", [b"caf\xe9", b"\xed\xa0\x80", b"a\0b", b"\0" * 100, b"\x7fELF\0\0\1"])
def test_what_is_no_text_is_refused_with_the_place(body: bytes) -> None:
    with pytest.raises(NotText, match=r"byte [0-9]+ ") as told:
        decoded(body)
    assert told.value.encoding == ""


@given(st.binary())
def test_any_bytes_are_text_or_refused(body: bytes) -> None:
    try:
        text = decoded(body)
    except NotText:
        return
    assert "\0" not in text
    text.encode()
