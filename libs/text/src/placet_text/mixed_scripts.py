"""Words and host names that mix letters of several scripts that look alike, and numbers with such digits.

Unlike the levels of UTS 39 (5.2), this covers only scripts with letters that look alike: text without spaces,
or with whole Latin words in it, mixes other scripts every day.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache

# By the first word of a letter's name in Unicode.
_LOOK_ALIKE = re.compile(
    r"(?:ARMENIAN|CANADIAN|CARIAN|CHEROKEE|COPTIC|CYRILLIC|DESERET|ELBASAN|FULLWIDTH|GEORGIAN|GOTHIC|GREEK|LATIN"
    r"|LISU|LYCIAN|LYDIAN|MATHEMATICAL|MIAO|OLD|OSAGE|RUNIC|TIFINAGH|VAI|WARANG)\b"
)
# Other Greek letters stand beside Latin ones in honest text, and look like none of them: μm, kΩ, Δt.
_GREEK_LIKE_LATIN = frozenset("ΑΒΕΖΗΙΚΜΝΟΡΤΥΧαγηικνορστυχωϲϳϱϹ")
_SCIENCE = "GREEK, unlike LATIN"
# Within a number.
_SEPARATORS = frozenset(".,'’٫٬")
# No letter of another script is among these, and they are most of Unicode: Han and Hangul.
_IDEOGRAPHS = re.compile("[\\u3400-\\ua4cf\\uac00-\\ud7a3\\U00020000-\\U0003ffff]")

# The code of each character's group, by which a text is matched; "" may stand within a word, None ends it.
_CODES = {None: " ", "": "-", "LATIN": "L", "GREEK": "G", _SCIENCE: "g"}
_FIRST_OTHER, _OTHERS = 0xE000, "\\ue000-\\uf8ff"
_MIXED = (
    f"(?<![-LGg{_OTHERS}])(?:"
    # Two groups, but for the Greek letters of science;
    f"(?=[-g]*+(?P<first>[LG{_OTHERS}])(?:(?P=first)|[-g])*+[LG{_OTHERS}])"
    # or those, and any but Latin and Greek.
    f"|(?=[-LGg]*+[{_OTHERS}])(?=[-LG{_OTHERS}]*+g)"
    f")[-LGg{_OTHERS}]++"
)

# Cyrillic. A label of a host name that consists of these may be a word in Latin letters. Small letters only:
# host names use them, and few words consist of them, while honest words in capitals do (СМЕТА.xlsx).
_LIKE_LATIN = "аеорсухѕіјѵүһӏԁԛԝ"
_HOST = (
    f"(?<!\\w)[{_LIKE_LATIN}][0-9{_LIKE_LATIN}]*+"
    # The rest of the name ends in Latin letters; bounded, so that each place is tried a few times.
    f"(?:[-.][0-9A-Za-z{_LIKE_LATIN}]++){{0,4}}?\\.[A-Za-z]{{2}}"
)
PATTERNS = (_LOOK_ALIKE.pattern, _MIXED, _HOST, "".join(sorted(_GREEK_LIKE_LATIN)))
# At the first use: most texts are plain ASCII.
_compiled: Callable[[str], re.Pattern[str]] = cache(re.compile)

_Grouping = Callable[[str], str | None]


@dataclass(frozen=True)
class Mixture:
    """The mixed words of a text: the first foreign character, its place and neighbours, the word count."""

    place: int
    stranger: str
    among: str
    count: int


def mixtures(text: str) -> list[Mixture]:
    """Finds mixtures: at most one for words and host names, and one for numbers.

    Takes some tenths of a second for the worst text of a mebibyte.
    """
    if text.isascii():
        return []
    words = _first_of(_mixed(text, _script, "letters"), _hosts(text))
    found = (words, _mixed(text, _digits, "digits"))
    return [mixture for mixture in found if mixture is not None]


def _first_of(one: Mixture | None, other: Mixture | None) -> Mixture | None:
    """Merges two findings: the first of them, with the sum of their counts."""
    if one is None or other is None:
        return one or other
    return replace(min(one, other, key=lambda mixture: mixture.place), count=one.count + other.count)


def _hosts(text: str) -> Mixture | None:
    matches = _compiled(_HOST).finditer(text)
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
    matches = _compiled(_MIXED).finditer(written)
    first = next(matches, None)
    if first is None:
        return None
    word = [(groups[text[place]] or "").partition(",")[0] for place in range(*first.span())]
    counted = Counter(group for group in word if group)
    home = max(counted, key=lambda group: (counted[group], group in ("LATIN", "ASCII")))
    place = first.start() + next(offset for offset, group in enumerate(word) if group not in ("", home))
    return Mixture(place, text[place], f"{home} {kind}", 1 + sum(1 for _ in matches))


def _script(character: str) -> str | None:
    """A letter's script, if letters of other scripts look like its letters."""
    if _IDEOGRAPHS.match(character):
        return None
    category = unicodedata.category(character)
    if category[0] != "L":
        # Marks, digits, connectors (copy_file) and hidden characters do not end a word.
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
