"""What in a text may deceive its reader, and how to show it."""

from placet_text.characters import Deception, Found, deceptive, lines_of, named, one_line, visible
from placet_text.words import CAREFUL, NUMBERED, warning_words

__all__ = [
    "CAREFUL",
    "NUMBERED",
    "Deception",
    "Found",
    "deceptive",
    "lines_of",
    "named",
    "one_line",
    "visible",
    "warning_words",
]
