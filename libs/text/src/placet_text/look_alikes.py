"""Characters that look like ASCII ones: punctuation within host names, and letters in another style.

Full-width letters are usual in Chinese, Japanese and Korean: on a line with other letters of these languages
they do not count.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from placet_text.characters import Found

_DOTS = "\\u2024\\ufe52\\uff0e\\ua4f8\\ua60e\\u0701\\u0702"
# Full stops of sentences, which browsers take for the dot of a host name.
_FULL_STOPS = "\\u3002\\uff61"
_SLASHES = "\\u2044\\u2215\\u29f8\\u2571\\u1735\\u2cc6\\u31d3"
_COLONS = "\\u2236\\ua789\\ufe55\\uff1a\\u02f8\\u0589\\u05c3"
_HYPHENS = "\\u2010\\u2011\\u2043\\u2212\\ufe63\\uff0d\\u02d7"
_AT_SIGNS = "\\uff20\\ufe6b"
_ANY_DOT = f"[.{_DOTS}{_FULL_STOPS}]"
# The full-width slash is usual between words.
_ANY_SLASH = f"[{_SLASHES}\\uff0f]"
_PUNCTUATION = re.compile(
    f"(?<=[0-9A-Za-z])[{_DOTS}](?=[0-9A-Za-z])"
    f"|(?<=[0-9a-z])[{_FULL_STOPS}](?=[a-z]{{2}})"
    f"|(?<=[A-Za-z])[{_SLASHES}](?=[A-Za-z])"
    f"|(?<={_ANY_DOT}[a-z]{{2}}){_ANY_SLASH}|(?<={_ANY_DOT}[a-z]{{3}}){_ANY_SLASH}"
    f"|(?<=[a-z])[{_COLONS}](?=[/{_SLASHES}\\uff0f]{{2}})|(?<=[a-z][:{_COLONS}]){_ANY_SLASH}"
    f"|(?<=[0-9a-z])[{_HYPHENS}](?=[0-9a-z-]{{1,63}}\\.[a-z]{{2}})"
    f"|(?<=[0-9A-Za-z])[{_AT_SIGNS}](?=[0-9A-Za-z])"
)

# Letters and digits whose decomposition in Unicode is of the type <font>.
_STYLED = (
    "\\u2102\\u210a-\\u210e\\u2110-\\u2113\\u2115\\u2119-\\u211d\\u2124\\u2128\\u212c\\u212d\\u212f-\\u2131"
    "\\u2133\\u2134\\u2145-\\u2149\\U0001d400-\\U0001d7cb"
)
_STYLED_DIGITS = "\\U0001d7ce-\\U0001d7ff\\U0001fbf0-\\U0001fbf9"
# Letters that make a styled one beside them a mixture of scripts.
_ORDINARY = "A-Za-z\\u00c0-\\u024f\\u0370-\\u052f"
_MATHEMATICAL = re.compile(f"(?<![{_ORDINARY}{_STYLED}])[{_STYLED}]++(?![{_ORDINARY}])|[{_STYLED_DIGITS}]++")

_FULL_WIDTH = re.compile("[\\uff21-\\uff3a\\uff41-\\uff5a]")
# Kana (half-width too), ideographs, Hangul.
_EAST_ASIAN = re.compile(
    "[\\u3005-\\u3007\\u3041-\\u30ff\\u31f0-\\u31ff\\u3400-\\u9fff\\uac00-\\ud7a3\\uf900-\\ufaff\\uff66-\\uff9f"
    "\\U00020000-\\U0003ffff]"
)
_LINE = re.compile("[^\\r\\n]+")
PATTERNS = (_PUNCTUATION.pattern, _MATHEMATICAL.pattern, _FULL_WIDTH.pattern, _EAST_ASIAN.pattern)


def look_alikes(text: str) -> Found | None:
    """Finds the characters that look like ASCII ones; None without any.

    Takes some tenths of a second for the worst text of a mebibyte.
    """
    if text.isascii():
        return None
    runs = list(_runs(text))
    if not runs:
        return None
    place, characters = min(runs)
    counts = Counter("".join(found for _, found in runs))
    return Found(place, {one: counts[one] for one in (characters[0], *sorted(counts))})


def _runs(text: str) -> Iterator[tuple[int, str]]:
    """The places and characters of what is found."""
    for pattern in (_PUNCTUATION, _MATHEMATICAL):
        for match in pattern.finditer(text):
            yield match.start(), match[0]
    if _FULL_WIDTH.search(text):
        for line in _LINE.finditer(text):
            letters = _FULL_WIDTH.findall(line[0])
            if letters and not _EAST_ASIAN.search(line[0]):
                yield line.start() + line[0].index(letters[0]), "".join(letters)
