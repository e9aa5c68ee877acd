"""The progress of a long operation, on a terminal."""

from __future__ import annotations

import sys
import time
from types import TracebackType

# Seconds: what is done within the first is not worth a word; then often enough to be seen to move.
FIRST, EVERY = 1.0, 0.2


class Progress:
    """One line on standard error, if that is a terminal; gone when it is over."""

    def __init__(self) -> None:
        self._visible = sys.stderr.isatty()
        self._next = time.monotonic() + FIRST
        self._shown = False

    def __enter__(self) -> Progress:
        return self

    def show(self, text: str) -> None:
        """Shows the current position."""
        if self._visible and time.monotonic() >= self._next:
            self._next, self._shown = time.monotonic() + EVERY, True
            self._write(text)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._shown:
            self._write("")

    def _write(self, text: str) -> None:
        # To the line's beginning, and the rest of it cleared (ECMA-48).
        sys.stderr.write(f"\r\x1b[K{text}")
        sys.stderr.flush()
