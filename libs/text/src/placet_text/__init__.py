"""Find what in a text may deceive its reader, and show the text so that it cannot."""

from placet_text import characters, mixed_scripts
from placet_text.characters import (
    Deception,
    Found,
    deceptive,
    lines_of,
    named,
    number,
    one_line,
    says_nothing,
    visible,
    visible_line,
    without_hidden,
)
from placet_text.decoding import NotText, decoded
from placet_text.look_alikes import PATTERNS as _LOOK_ALIKES
from placet_text.look_alikes import look_alikes
from placet_text.mixed_scripts import Mixture, mixtures
from placet_text.warning_text import CAREFUL, NUMBERED, warning_words

PATTERNS = (*characters.PATTERNS, *_LOOK_ALIKES, *mixed_scripts.PATTERNS)
"""The patterns of all that may deceive, for the digests of rules that build on them."""

__all__ = [
    "CAREFUL",
    "NUMBERED",
    "PATTERNS",
    "Deception",
    "Found",
    "Mixture",
    "NotText",
    "deceptive",
    "decoded",
    "lines_of",
    "look_alikes",
    "mixtures",
    "named",
    "number",
    "one_line",
    "says_nothing",
    "visible",
    "visible_line",
    "warning_words",
    "without_hidden",
]
