"""Warnings about deceptive characters in a text, in words, and the form in which texts are shown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from typing import Final

from placet_text import Found, deceptive, look_alikes, mixtures, named

# Number of characters that a warning names.
NAMED = 4
_LINE_END = "\n"

# Title, subject id and extracted text as plain text, line by line, after the warnings about them. Characters
# that are invisible or reorder others, and long runs of blanks, get a visible form. A decision names its
# rendering, and is refused when it names another. Raise the number with any change of extraction, warnings or
# visible forms.
RENDERING: Final = "text/1"


class WarningKind(StrEnum):
    """Kinds of deception."""

    BIDIRECTIONAL = "BIDIRECTIONAL"
    INVISIBLE = "INVISIBLE"
    MIXED_SCRIPTS = "MIXED_SCRIPTS"
    CONTROL = "CONTROL"
    UNDEFINED = "UNDEFINED"
    STRUCK_THROUGH = "STRUCK_THROUGH"
    LOOK_ALIKE = "LOOK_ALIKE"


@dataclass(frozen=True)
class TextWarning:
    """One kind of deception in one field: its characters, the first place, and the count.

    The message names characters and never contains them.
    """

    field: str
    kind: WarningKind
    message: str
    count: int


def warnings_of(fields: Mapping[str, str]) -> list[TextWarning]:
    """All warnings about some texts, by field name; their number is bounded for any text."""
    return [warning for field, text in fields.items() for warning in _warnings(field, text)]


def _warnings(field: str, text: str) -> Iterator[TextWarning]:
    # A byte order mark at the beginning only tells how the text was stored.
    start = 1 if text.startswith("\ufeff") else 0
    for deception, found in deceptive(text[start:]).items():
        yield _warning(field, WarningKind(deception), found, _place(text, start + found.place))
    for mixture in mixtures(text):
        message = f"{named(mixture.stranger)} among {mixture.among} at {_place(text, mixture.place)}"
        yield TextWarning(field, WarningKind.MIXED_SCRIPTS, message, mixture.count)
    alike = look_alikes(text)
    if alike is not None:
        yield _warning(field, WarningKind.LOOK_ALIKE, alike, _place(text, alike.place))


def _warning(field: str, kind: WarningKind, found: Found, place: str) -> TextWarning:
    return TextWarning(field, kind, _message(list(found.counts), place), sum(found.counts.values()))


def _message(characters: list[str], place: str) -> str:
    first, *others = characters
    more = [named(character) for character in islice(others, NAMED - 1)]
    if len(others) > len(more):
        more.append(f"{len(others) - len(more)} others")
    return f"{named(first)} at {place}" + (f"; also {_listed(more)}" if more else "")


def _listed(things: Iterable[str]) -> str:
    *others, last = things
    return f"{', '.join(others)} and {last}" if others else last


def _place(text: str, index: int) -> str:
    before = text[:index].replace("\r\n", "\n").replace("\r", "\n")
    return f"line {before.count(_LINE_END) + 1}, column {len(before) - before.rfind(_LINE_END)}"
