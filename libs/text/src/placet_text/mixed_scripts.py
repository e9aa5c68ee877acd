"""Words and hosts' names in which letters of several scripts stand side by side and look alike, and numbers
with such digits.

Unlike the levels of UTS 39 (5.2) this tells only of scripts that have letters in common by their looks: what
is written without spaces, or borrows Latin words whole, mixes others every day.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace

# By the first word of their letters' names in Unicode.
_LOOK_ALIKE = re.compile(
    r"(?:ARMENIAN|CANADIAN|CARIAN|CHEROKEE|COPTIC|CYRILLIC|DESERET|ELBASAN|FULLWIDTH|GEORGIAN|GOTHIC|GREEK|LATIN"
    r"|LISU|LYCIAN|LYDIAN|MATHEMATICAL|MIAO|OLD|OSAGE|RUNIC|TIFINAGH|VAI|WARANG)\b"
)
# Others stand beside Latin letters in honest text, and nobody takes them for Latin: μm, kΩ, Δt.
_GREEK_LIKE_LATIN = frozenset("ΑΒΕΖΗΙΚΜΝΟΡΤΥΧαγηικνορστυχωϲϳϱϹ")
_SCIENCE = "GREEK, unlike LATIN"
# Within a number.
_SEPARATORS = frozenset(".,'’٫٬")
# No letter of another script is among these, and they are most of Unicode: Han and Hangul.
_IDEOGRAPHS = re.compile("[\\u3400-\\ua4cf\\uac00-\\ud7a3\\U00020000-\\U0003ffff]")

# A text is written down here character by character, each as the code of its group; "" may stand within a
# word, None ends it.
_CODES = {None: " ", "": "-", "LATIN": "L", "GREEK": "G", _SCIENCE: "g"}
_FIRST_OTHER, _OTHERS = 0xE000, "\\ue000-\\uf8ff"
_MIXED = re.compile(
    f"(?<![-LGg{_OTHERS}])(?:"
    # Two groups, but for the Greek letters of science;
    f"(?=[-g]*+(?P<first>[LG{_OTHERS}])(?:(?P=first)|[-g])*+[LG{_OTHERS}])"
    # or those, and any but Latin and Greek.
    f"|(?=[-LGg]*+[{_OTHERS}])(?=[-LG{_OTHERS}]*+g)"
    f")[-LGg{_OTHERS}]++"
)

# Cyrillic. A part of a host's name that is wholly of these may be any word in Latin letters. Small ones only:
# so are hosts' names written, and few words are of these, while in capitals honest ones are (СМЕТА.xlsx).
_LIKE_LATIN = "аеорсухѕіјѵүһӏԁԛԝ"
_HOST = re.compile(
    f"(?<!\\w)[{_LIKE_LATIN}][0-9{_LIKE_LATIN}]*+"
    # What follows of the name ends in Latin letters; bounded, so that each place is looked at a few times.
    f"(?:[-.][0-9A-Za-z{_LIKE_LATIN}]++){{0,4}}?\\.[A-Za-z]{{2}}"
)
PATTERNS = (_LOOK_ALIKE.pattern, _MIXED.pattern, _HOST.pattern, "".join(sorted(_GREEK_LIKE_LATIN)))

_Grouping = Callable[[str], str | None]


@dataclass(frozen=True)
class Mixture:
    """Such words of a text: where the first stranger stands, which it is, among what, and how many words."""

    place: int
    stranger: str
    among: str
    count: int


def mixtures(text: str) -> list[Mixture]:
    """One for the words and hosts' names, and one for the numbers, where there are any.

    Takes some tenths of a second for the worst text of a mebibyte.
    """
    if text.isascii():
        return []
    words = _first_of(_mixed(text, _script, "letters"), _hosts(text))
    found = (words, _mixed(text, _digits, "digits"))
    return [mixture for mixture in found if mixture is not None]


def _first_of(one: Mixture | None, other: Mixture | None) -> Mixture | None:
    """Both in one: the first of them, and how many there are in all."""
    if one is None or other is None:
        return one or other
    return replace(min(one, other, key=lambda mixture: mixture.place), count=one.count + other.count)


def _hosts(text: str) -> Mixture | None:
    matches = _HOST.finditer(text)
    first = next(matches, None)
    if first is None:
        return None
    return Mixture(first.start(), first[0][0], "LATIN letters", 1 + sum(1 for _ in matches))


def _mixed(text: str, grouping: _Grouping, kind: str) -> Mixture | None:
    groups = {character: grouping(character) for character in set(text)}
    names = sorted({group for group in groups.values() if group})
    if len(names) < 2:
        return None
    codes = {name: chr(_FIRST_OTHER + n) for n, name in enumerate(names)} | _CODES
    written = text.translate({ord(character): codes[group] for character, group in groups.items()})
    matches = _MIXED.finditer(written)
    first = next(matches, None)
    if first is None:
        return None
    word = [(groups[text[place]] or "").partition(",")[0] for place in range(*first.span())]
    counted = Counter(group for group in word if group)
    home = max(counted, key=lambda group: (counted[group], group in ("LATIN", "ASCII")))
    place = first.start() + next(offset for offset, group in enumerate(word) if group not in ("", home))
    return Mixture(place, text[place], f"{home} {kind}", 1 + sum(1 for _ in matches))


def _script(character: str) -> str | None:
    """A letter's script, where letters of others look like its own."""
    if _IDEOGRAPHS.match(character):
        return None
    category = unicodedata.category(character)
    if category[0] != "L":
        # Marks, digits, what connects (copy_file), and what is not shown: a word goes on over them.
        return "" if category[0] == "M" or category in ("Nd", "Pc", "Cf") else None
    script = _LOOK_ALIKE.match(unicodedata.name(character, ""))
    if script is None:
        return None
    science = script[0] == "GREEK" and unicodedata.normalize("NFD", character)[0] not in _GREEK_LIKE_LATIN
    return _SCIENCE if science else script[0]


def _digits(character: str) -> str | None:
    """A digit's script."""
    category = unicodedata.category(character)
    if category == "Nd":
        return "ASCII" if character.isascii() else unicodedata.name(character, "").partition(" DIGIT")[0]
    return "" if category[0] == "M" or category == "Cf" or character in _SEPARATORS else None
