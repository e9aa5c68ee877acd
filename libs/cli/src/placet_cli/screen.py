"""What commands print: 80 columns, colours only where a person looks and wants them."""

from __future__ import annotations

import os
import shutil
import textwrap
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final

from google.protobuf.json_format import MessageToJson
from google.protobuf.message import Message
from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

from placet_cli.problems import Problem
from placet_cli.words import Row, span

WIDTH: Final = 80
_ELAPSED: Final = 9
_ACTOR: Final = 19
_EVENT: Final = 14
_INDENT: Final = _ELAPSED + _ACTOR + _EVENT + 3
_REASON: Final = WIDTH - _INDENT


class _Console(Console):
    """Writes into the void once nobody reads it any more, so that a stack can still be stopped in order."""

    unread = False

    def on_broken_pipe(self) -> None:
        """Called by rich, which would end the process here and now."""
        self.unread = True
        # Also what Python writes when it ends.
        void = os.open(os.devnull, os.O_WRONLY)
        os.dup2(void, self.file.fileno())
        os.close(void)


class Screen:
    """Standard output and standard error of a command."""

    def __init__(self) -> None:
        """Colours follow NO_COLOR, TERM and whether this is a terminal; the width is 80 at most."""
        # Some terminals have no size; then, and in a pipe, it is 80.
        width = min(WIDTH, shutil.get_terminal_size((WIDTH, 24)).columns)
        self._out = _Console(width=width, highlight=False, soft_wrap=True, markup=False, emoji=False)
        self._err = _Console(
            width=width, highlight=False, soft_wrap=True, markup=False, emoji=False, stderr=True
        )

    def say(self, text: str | Text = "", style: str = "") -> None:
        """A line on standard output."""
        self._out.print(text, style=style or None)

    @property
    def unread(self) -> bool:
        """Whether whoever read standard output has gone (`placet watch | head`)."""
        return self._out.unread

    def aside(self, text: str) -> None:
        """A line on standard error, for what is not the answer."""
        self._err.print(text, style="dim")

    def paragraph(self, text: str, style: str = "") -> None:
        """Text broken to the width."""
        for line in textwrap.wrap(text, WIDTH, break_on_hyphens=False, break_long_words=False):
            self.say(line, style)

    def json(self, message: Message, *, one_line: bool = False) -> None:
        """A message in proto3 JSON."""
        self.raw(MessageToJson(message, indent=None if one_line else 2))

    def raw(self, text: str) -> None:
        """Text for programs: neither styled nor wrapped."""
        self._out.out(text, highlight=False)

    def problem(self, problem: Problem) -> None:
        """What went wrong, why, and what to try, on standard error."""
        mark = "✗ "
        for line in textwrap.wrap(problem.what, WIDTH - 2, break_on_hyphens=False, break_long_words=False):
            self._err.print(Text.assemble((mark, "bold red"), (line, "bold")))
            mark = "  "
        for line in problem.why.splitlines():
            for part in textwrap.wrap(line, WIDTH - 2, break_on_hyphens=False) or [""]:
                self._err.print(f"  {part}")
        if problem.tries:
            self._err.print("  Try:")
        for step in problem.tries:
            self._err.print(Text.assemble("    ", (step, "cyan")))

    def event(self, elapsed: timedelta | None, row: Row, *, label: str = "", whole: bool = False) -> None:
        """An aligned line: elapsed, actor, event, reason. `whole`: a long reason is wrapped, else cut."""
        for line in event_lines(elapsed, row, label=label, whole=whole):
            self.say(line)

    def table(self, head: Sequence[str], lines: Iterable[Sequence[str]], widths: Sequence[int]) -> None:
        """Columns of fixed widths under a dim head; what is too long is cut."""
        self.say(" ".join(fit(name, width) for name, width in zip(head, widths, strict=True)).rstrip(), "dim")
        for line in lines:
            self.say(" ".join(fit(cell, width) for cell, width in zip(line, widths, strict=True)).rstrip())


def event_lines(elapsed: timedelta | None, row: Row, *, label: str, whole: bool) -> list[Text]:
    """The lines of an event. `label` stands in place of the elapsed time when there is none."""
    when = label if elapsed is None else span(elapsed)
    style = {True: "bold green", False: "bold red", None: ""}[row.good]
    wrapped = textwrap.wrap(row.reason, _REASON, break_on_hyphens=False)
    reasons = wrapped if whole else [fit(row.brief, _REASON)]
    first = reasons[0].rstrip() if reasons else ""
    lines = [
        Text.assemble(
            (f"{when:>{_ELAPSED}} ", "dim"),
            (fit(row.actor, _ACTOR) + " ", "cyan"),
            (fit(row.event, _EVENT) + " ", style),
            first,
        )
    ]
    lines += [Text(" " * _INDENT + rest) for rest in reasons[1:]]
    for line in lines:
        line.rstrip()
    return lines


def fit(text: str, width: int) -> str:
    """Text in exactly `width` columns, cut with an ellipsis when it is longer."""
    return set_cell_size(text, width) if cell_len(text) <= width else set_cell_size(text, width - 1) + "…"


def short(approval_id: str) -> str:
    """An id's first eight digits, which commands take in its place while they are unique."""
    return approval_id[:8]


def since(start: datetime, then: datetime) -> timedelta:
    """How long after `start` something was, never negative."""
    return max(then - start, timedelta())
