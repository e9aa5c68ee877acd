"""Characters by which a text may deceive: look different from what it is.

They are Unicode's Default_Ignorable_Code_Point (DerivedCoreProperties.txt), Bidi_Control (PropList.txt),
category Cc, and a few others that are blank or not shown; private use and noncharacters, which programs show
in different ways; and marks that strike letters through.

Honest text needs some of them beside others: they shape an emoji, or the letters next to them. There, and
only there, they do not count.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache


class Deception(StrEnum):
    """The kinds of characters that may deceive."""

    BIDIRECTIONAL = "BIDIRECTIONAL"
    INVISIBLE = "INVISIBLE"
    CONTROL = "CONTROL"
    UNDEFINED = "UNDEFINED"
    STRUCK_THROUGH = "STRUCK_THROUGH"


_BIDIRECTIONAL = "\\u061c\\u200e\\u200f\\u202a-\\u202e\\u2066-\\u2069"
_INVISIBLE = (
    # Soft hyphen, grapheme joiner, fillers of Hangul, vowels of Khmer, selectors of Mongolian.
    "\\u00ad\\u034f\\u115f\\u1160\\u3164\\uffa0\\u17b4\\u17b5\\u180b-\\u180f"
    # Of no width: spaces, joiners, mathematical operators, old format controls, the byte order mark.
    "\\u200b-\\u200d\\u2060-\\u2065\\u206a-\\u206f\\ufeff"
    # Line and paragraph separators, which only some programs honour; a Braille pattern without dots.
    "\\u2028\\u2029\\u2800"
    # Variation selectors; annotations between lines.
    "\\ufe00-\\ufe0f\\ufff0-\\ufffb"
    # Format controls of hieroglyphs, shorthand and music; tags and further selectors.
    "\\U00013430-\\U0001343f\\U0001bca0-\\U0001bca3\\U0001d159\\U0001d173-\\U0001d17a\\U000e0000-\\U000e0fff"
)
_LAYOUT = "\\t\\n\\r"
_LAYOUTS = re.compile(f"[{_LAYOUT}]")
_LINE_END = re.compile("\r\n|\r|\n")
_CONTROL = "\\x00-\\x08\\x0b\\x0c\\x0e-\\x1f\\x7f-\\x9f"
# Private use, noncharacters (two at the end of each plane, and U+FDD0 to U+FDEF), and U+FFFC, the place of an
# object that is not there.
_PLANE_ENDS = "".join(
    f"\\U{plane + 0xFFFE:08x}\\U{plane + 0xFFFF:08x}" for plane in range(0, 0xF0000, 0x10000)
)
_UNDEFINED = f"\\ue000-\\uf8ff\\ufdd0-\\ufdef\\ufffc{_PLANE_ENDS}\\U000f0000-\\U0010ffff"
# Marks laid over a letter (Canonical_Combining_Class 1), and the circle that forbids. A solidus is part of a
# decomposed sign (U+2260) too.
_STRIKING = "\\u0334-\\u0338\\u20d2\\u20d3\\u20d8-\\u20da\\u20e0\\u20e5\\u20e6\\u20ea\\u20eb"
_NEGATED = "".join(
    f"\\u{code:04x}"
    for code in (*range(0x3C, 0x3F), *range(0x2190, 0x22D0))
    if len(unicodedata.normalize("NFC", f"{chr(code)}\u0338")) == 1
)
# No text from a wire holds one; a Python string may.
_SURROGATES = "\\ud800-\\udfff"

# Unicode's Extended_Pictographic (emoji-data.txt), as far as used, with skin tones and the letters of flags.
_EMOJI = (
    "\\u00a9\\u00ae\\u203c\\u2049\\u2122\\u2139\\u2194-\\u2199\\u21a9\\u21aa\\u231a\\u231b\\u2328\\u23cf"
    "\\u23e9-\\u23f3\\u23f8-\\u23fa\\u24c2\\u25aa\\u25ab\\u25b6\\u25c0\\u25fb-\\u25fe\\u2600-\\u27bf"
    "\\u2934\\u2935\\u2b05-\\u2b07\\u2b1b\\u2b1c\\u2b50\\u2b55\\u3030\\u303d\\u3297\\u3299"
    "\\U0001f000-\\U0001faff"
)
# Letters and marks that take another form beside a joiner or non-joiner: of Arabic, Syriac, N'Ko, Mongolian,
# of the scripts of India and Sri Lanka, of Myanmar and Khmer.
_JOINING = (
    "\\u0620-\\u065f\\u066e-\\u06d3\\u06d5-\\u06dc\\u06ee\\u06ef\\u06fa-\\u06ff\\u0710-\\u077f\\u07ca-\\u07f5"
    "\\u08a0-\\u08e1\\u0900-\\u0963\\u0970-\\u0dff\\u1000-\\u103f\\u1780-\\u17b3\\u17b6-\\u17d3\\u1820-\\u18aa"
    "\\ufb50-\\ufdfb\\ufe70-\\ufefc"
)
_FLAGS = "|".join(
    "".join(f"\\U{0xE0000 + ord(letter):08x}" for letter in region) for region in ("gbeng", "gbsct", "gbwls")
)
# Each is one character.
_SHAPING = "|".join(
    (
        f"(?<=[{_EMOJI}])[\\ufe0e\\ufe0f]",
        "(?<=[0-9#*])\\ufe0f(?=\\u20e3)",
        f"(?<=[{_EMOJI}])\\u200d(?=[{_EMOJI}])",
        f"(?<=[{_EMOJI}]\\ufe0f)\\u200d(?=[{_EMOJI}])",
        f"(?<=[{_JOINING}])[\\u200c\\u200d](?=[{_JOINING}])",
        f"(?<=[{_NEGATED}])\\u0338",
    )
)
# England, Scotland and Wales: a black flag, the region in tags, the end of tags. Each is seven characters.
_REGIONS = f"\\U0001f3f4(?:{_FLAGS})\\U000e007f"
# The lookahead makes them fast: few characters are any of these.
_SHAPES = f"(?=[\\u0338\\u200c\\u200d\\ufe0e\\ufe0f])(?:{_SHAPING})"
_DECEPTIVE = f"{_BIDIRECTIONAL}{_INVISIBLE}{_CONTROL}{_UNDEFINED}{_STRIKING}{_LAYOUT}{_SURROGATES}"
_NOT_SHOWN = (
    f"(?=[\\U0001f3f4{_DECEPTIVE}])"
    f"(?:(?P<honest>{_SHAPING}|{_REGIONS})"
    # No honest one is within a run: it stands beside what it shapes.
    f"|[{_DECEPTIVE}]+)"
)
_KINDS = {
    Deception.BIDIRECTIONAL: f"[{_BIDIRECTIONAL}]",
    Deception.INVISIBLE: f"[{_INVISIBLE}]",
    Deception.CONTROL: f"[{_CONTROL}]",
    Deception.UNDEFINED: f"[{_UNDEFINED}]",
    Deception.STRUCK_THROUGH: f"[{_STRIKING}]",
}
# May be shown: the first of a text needs a closer look.
_MAYBE_SHOWN = f"[^\\s{_BIDIRECTIONAL}{_INVISIBLE}{_CONTROL}{_UNDEFINED}{_SURROGATES}\ufffd]"
# More blanks in a row move what follows out of sight; honest tables and indentations need less.
_MOST_BLANKS = 40
_BLANKS = re.compile(f"\\s{{{_MOST_BLANKS + 1},}}")
PATTERNS = (_SHAPES, _NOT_SHOWN)
# At the first use: most texts are plain ASCII, and compiling these takes as long as reading a thousand.
_compiled: Callable[[str], re.Pattern[str]] = cache(re.compile)


@dataclass(frozen=True)
class Found:
    """The characters of one kind in a text: the place of the first, and the number of each.

    `counts` begins with the first; the others follow by code point.
    """

    place: int
    counts: Mapping[str, int]


def deceptive(text: str) -> dict[Deception, Found]:
    """Finds the characters that may deceive, by kind. Tabulators and line ends do not count.

    Takes 0.1 s for any text of a mebibyte.
    """
    kinds = {kind: _compiled(one) for kind, one in _KINDS.items()}
    firsts = {kind: match.start() for kind, one in kinds.items() if (match := one.search(text))}
    if not firsts:
        return {}
    plain = _compiled(_SHAPES).sub(" ", _compiled(_REGIONS).sub("\U0001f3f4" + " " * 6, text))
    firsts = {kind: match.start() for kind in firsts if (match := kinds[kind].search(plain))}
    counted = Counter(plain)
    held = "".join(sorted(counted))
    return {
        kind: Found(place, {one: counted[one] for one in (plain[place], *kinds[kind].findall(held))})
        for kind, place in firsts.items()
    }


def says_nothing(text: str) -> bool:
    """True unless a character of the text is shown: white space, marks and what may deceive say nothing.

    The contract's rule `placet.rpc.v1.says_something` refuses the same texts, but for the empty one.
    """
    return not any(_is_shown(one[0]) for one in _compiled(_MAYBE_SHOWN).finditer(text))


def _is_shown(character: str) -> bool:
    category = unicodedata.category(character)
    # A later version of Unicode may have assigned what this one does not know.
    return category == "Cn" or category[0] not in "CM"


def lines_of(text: str) -> list[str]:
    """Splits a text at LF, CRLF and CR, and not where only some programs break lines."""
    lines = _LINE_END.split(text)
    return lines if lines[-1] else lines[:-1]


def one_line(text: str) -> str:
    """Shows a text on one line, with single spaces. It can end no header and control no terminal."""
    return " ".join(visible(_LAYOUTS.sub(" ", text)).split())


def visible(line: str) -> str:
    """Replaces each character that may deceive by its code point, "<U+202E>"; keeps spaces.

    Also tabulators, line ends and halves of surrogate pairs: the result is one line, and can be encoded.
    """
    if line.isascii() and line.isprintable():
        return line
    return _compiled(_NOT_SHOWN).sub(_numbered, line)


def visible_line(line: str) -> str:
    """Shows a line of a content as its reader may see it: `visible`, with tabulators as spaces.

    More than 40 blanks in a row become their number, "<1,600 blanks>": what follows them stays in sight.
    """
    return _BLANKS.sub(lambda run: f"<{len(run[0]):,} blanks>", visible(line.expandtabs()))


def without_hidden(text: str, instead: str = "") -> str:
    """Replaces each character that may deceive by `instead`, or by a space if it is white space.

    Tabulators, line ends and the characters that honest text needs stay. The result can be encoded.
    """
    return _compiled(_NOT_SHOWN).sub(
        lambda run: run[0] if run["honest"] else _replaced(run[0], instead), text
    )


def _replaced(run: str, instead: str) -> str:
    return "".join(one if _LAYOUTS.match(one) else " " if one.isspace() else instead for one in run)


def _numbered(run: re.Match[str]) -> str:
    if run["honest"]:
        return run[0]
    return "".join(f"<{number(character)}>" for character in run[0])


def number(character: str) -> str:
    """A character's code point: "U+202E"."""
    return f"U+{ord(character):04X}"


def named(character: str) -> str:
    """A character's code point and name, "U+202E RIGHT-TO-LEFT OVERRIDE"; without the name if it has none."""
    return f"{number(character)} {unicodedata.name(character, '')}".rstrip()
