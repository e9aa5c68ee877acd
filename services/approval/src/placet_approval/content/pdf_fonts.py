"""Fonts of a PDF: the letters that their codes stand for, if they say so, and the width of a text."""

from __future__ import annotations

from typing import Any

# pypdf's own reading of a font, which its text is made with: a code without an entry here is a guess there.
from pypdf._cmap import get_encoding
from pypdf.generic import DictionaryObject

from placet_approval.content.pdf_values import array, dictionary, number

# Width of a character of which the font gives none, in units of the font's size.
_USUAL_WIDTH = 0.5
_FILES = ("/FontFile", "/FontFile2", "/FontFile3")
# CMaps of composite fonts whose codes are glyphs of the font itself, and no characters.
_GLYPH_CODES = ("/Identity-H", "/Identity-V")


class Font:
    """One font resource."""

    def __init__(self, resource: DictionaryObject) -> None:
        self._encoding, self._map = get_encoding(resource)
        kind = resource.get("/Subtype")
        self.is_composite = kind == "/Type0"
        # Its letters are drawings of their own: nothing says that they look like their names.
        self._is_drawn = kind == "/Type3"
        self._has_map = "/ToUnicode" in resource
        named = resource.get("/Encoding")
        descriptor = dictionary(resource.get("/FontDescriptor"))
        own = named is None and any(file in descriptor for file in _FILES)
        self._codes_are_known = not own
        if self.is_composite:
            self._codes_are_known = isinstance(named, str) and named not in _GLYPH_CODES
        self._first = int(number(resource.get("/FirstChar")))
        self._widths = array(resource.get("/Widths"))
        scale = number(next(iter(array(resource.get("/FontMatrix"))), 0.001), 0.001)
        self.scale = scale * 1000 if self._is_drawn else 1.0

    def is_mapped(self, codes: bytes) -> bool:
        """Tells whether the font says which letters all of these codes stand for."""
        if self._is_drawn:
            return False
        if isinstance(self._encoding, str):
            letters = list(codes.decode(self._encoding, "replace"))
        else:
            letters = [self._encoding.get(code, "\0") for code in codes]
        return all(self._is_letter(letter) for letter in letters)

    def _is_letter(self, letter: str) -> bool:
        if letter in self._map:
            return True
        if self._has_map and self.is_composite:
            return False
        # The name of a glyph that has no character: "/g12".
        is_glyph = len(letter) > 1 and letter.startswith("/")
        return self._codes_are_known and not is_glyph and letter not in ("\0", "\ufffd")

    def width(self, codes: bytes) -> float:
        """The width of a text, in units of the font's size; approximate where the font gives none."""
        if self.is_composite:
            return len(codes) / 2 * _USUAL_WIDTH
        return sum(self._width(code) for code in codes)

    def _width(self, code: int) -> float:
        place = code - self._first
        if 0 <= place < len(self._widths):
            return number(self._widths[place]) / 1000
        return _USUAL_WIDTH


def font_of(resource: Any) -> Font | None:  # Any: a PDF's value is of any type
    """The font; None where it cannot be read."""
    found = dictionary(resource)
    return Font(found) if found else None
