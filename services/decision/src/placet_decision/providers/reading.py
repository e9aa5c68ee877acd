"""Bringing text into the one form that the rules match, and finding what a reader cannot see.

The form undoes what hides words from rules but not from people (entities, escapes, look-alike letters,
invisible characters). Each step works on its own neighbourhood, so that text added elsewhere cannot undo it.
"""

import html
import re
import unicodedata
from collections.abc import Iterator

# Invisible, and never needed between letters: soft hyphen, Mongolian separator, zero-width space and joiners,
# word joiner and invisible operators, byte-order mark, and the tag block that can carry a whole hidden text.
INVISIBLE = re.compile(
    r"[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b-\u200d\u2060-\u2064\u3164\ufeff]"
)
TAG_CHARACTERS = re.compile(r"[\U000e0000-\U000e007f]{2,}")
BIDI_CONTROLS = re.compile(r"[\u200e\u200f\u202a-\u202e\u2066-\u2069]")
# Joiners are part of emoji and of several scripts; between Latin letters they only hide.
HIDDEN_IN_WORD = re.compile(r"(?<=[A-Za-z])[\u00ad\u034f\u180e\u200b-\u200d\u2060-\u2064\ufeff]+(?=[A-Za-z])")
ZERO_WIDTH_RUN = re.compile(r"[\u200b\u2060-\u2064\ufeff]{2,}|[\u115f\u1160\u3164]")

_DROPPED = re.compile(f"{INVISIBLE.pattern}|{BIDI_CONTROLS.pattern}|[\U000e0000-\U000e007f\ufe00-\ufe0f]")
_ESCAPE = re.compile(r"\\u([0-9a-fA-F]{4})|\\x([0-9a-fA-F]{2})")
_LOOKALIKES = str.maketrans(
    "авекмнорстухіјѕԁԛԝьАВЕКМНОРСТУХІЈЅԌԚԜαβεηικνορτυχΑΒΕΖΗΙΚΜΝΟΡΤΥΧ",
    "abekmhopctyxijsdqwbABEKMHOPCTYXIJSGQWabenikvoptuxABEZHIKMNOPTYX",
)
_TWO_LATIN = re.compile("[A-Za-z]{2}")
_MIXED_WORD = re.compile(r"[A-Za-z\u0370-\u03ff\u0400-\u04ff\u0500-\u052f]{3,}")
_COMBINING = re.compile("[\u0300-\u036f]")
_FOREIGN_LETTER = re.compile(r"[\u0370-\u1dbf\u2c00-\u2dff\u3040-\ud7ff\uf900-\ufdff\uff66-\uffdc]")

# What the digest of the rule set covers.
PATTERNS = tuple(
    pattern.pattern
    for pattern in (
        BIDI_CONTROLS,
        HIDDEN_IN_WORD,
        ZERO_WIDTH_RUN,
        TAG_CHARACTERS,
        _DROPPED,
        _ESCAPE,
        _MIXED_WORD,
    )
)


def matchable(text: str) -> str:
    """`text` in the form that the rules match: decoded, compatibility-normalised, visible, in lower case."""
    if "&" in text:
        text = html.unescape(text)
    if "\\" in text:
        text = _ESCAPE.sub(_decoded, text)
    text = _DROPPED.sub("", text)
    composed = unicodedata.normalize("NFKC", text.translate(_LOOKALIKES))
    # What is still combining is no letter of a language that the rules know, but strokes through one.
    return _COMBINING.sub("", composed).casefold()


def _decoded(match: re.Match[str]) -> str:
    code = int(match[1] or match[2], 16)
    # Half of a surrogate pair is no character, and could not be stored.
    return "\ufffd" if 0xD800 <= code <= 0xDFFF else chr(code)


def says_something(text: str) -> bool:
    """Whether there is a letter or a digit to judge at all."""
    return any(character.isalnum() for character in _DROPPED.sub("", text))


def mixed_script_words(text: str) -> Iterator[str]:
    """Words that mix Latin letters with Cyrillic or Greek ones that look like Latin."""
    for match in _MIXED_WORD.finditer(text):
        word = match[0]
        if not word.isascii() and _TWO_LATIN.search(word) and word.translate(_LOOKALIKES) != word:
            yield word


def foreign_letters(text: str) -> str:
    """The letters of scripts in which the rules know no word, at most 40 of them."""
    found: list[str] = []
    for match in _FOREIGN_LETTER.finditer(text):
        found.append(match[0])
        if len(found) == 40:
            break
    return "".join(found)
