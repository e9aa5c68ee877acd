"""Output of a verification: to any screen, and to a plain terminal."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from typing import Protocol, TextIO

WIDTH = 80
# ANSI (ECMA-48) codes by the styles that reports use.
_CODES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33"}


class Screen(Protocol):
    """Prints a report; the styles are "bold", "dim", "red", "green", "yellow" and their combinations."""

    def say(self, text: str = "", style: str = "") -> None:
        """A line on standard output."""

    def lead(self, lead: str, style: str, text: str) -> None:
        """A line on standard output whose beginning, `lead`, is styled."""

    def paragraph(self, text: str, style: str = "") -> None:
        """Text broken to the width of the terminal."""

    def raw(self, text: str) -> None:
        """Text for programs: neither styled nor wrapped."""

    def aside(self, text: str) -> None:
        """A line on standard error."""


class Terminal:
    """Standard output and standard error, coloured where a person reads them."""

    def __init__(self) -> None:
        """Colours follow NO_COLOR and TERM."""
        self._width = max(shutil.get_terminal_size((WIDTH, 24)).columns, WIDTH // 2)

    def say(self, text: str = "", style: str = "") -> None:
        """A line on standard output."""
        self.lead(text, style, "")

    def lead(self, lead: str, style: str, text: str) -> None:
        """A line on standard output whose beginning, `lead`, is styled."""
        sys.stdout.write(f"{_styled(lead, style, sys.stdout)}{text}\n")

    def paragraph(self, text: str, style: str = "") -> None:
        """Text broken to the width of the terminal."""
        for line in textwrap.wrap(text, self._width, break_on_hyphens=False, break_long_words=False):
            self.say(line, style)

    def raw(self, text: str) -> None:
        """Text for programs: neither styled nor wrapped."""
        sys.stdout.write(f"{text}\n")

    def aside(self, text: str) -> None:
        """A line on standard error."""
        sys.stderr.write(f"{_styled(text, 'dim', sys.stderr)}\n")


def _styled(text: str, style: str, stream: TextIO) -> str:
    if not style or not stream.isatty() or "NO_COLOR" in os.environ or os.environ.get("TERM") == "dumb":
        return text
    codes = ";".join(_CODES[name] for name in style.split())
    return f"\x1b[{codes}m{text}\x1b[0m"
