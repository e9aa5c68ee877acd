"""Output of commands: fitted to the terminal's width, uncut in a pipe, coloured where a person wants it."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

import typer
from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

from placet_cli.command_name import pasted
from placet_cli.problems import Problem
from placet_cli.times import SPAN_WIDTH, span

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from placet_cli.event_rows import Row

WIDTH: Final = 80
_ELAPSED: Final = SPAN_WIDTH
_ACTOR: Final = 19
_EVENT: Final = 14
_INDENT: Final = _ELAPSED + _ACTOR + _EVENT + 3
# Widest column of titles outside a terminal.
MOST_OF_A_TITLE: Final = 60
# Less room for a reason, or for the text of a paragraph, is none.
_LEAST: Final = 20


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
        """Colours follow NO_COLOR, TERM and whether this is a terminal."""
        # Some terminals have no size; then, and in a pipe, it is 80.
        self.width = width = max(shutil.get_terminal_size((WIDTH, 24)).columns, 2 * _LEAST)
        # Output to a file or a pipe is not cut.
        self.cuts = sys.stdout.isatty()
        self._out = _Console(width=width, highlight=False, soft_wrap=True, markup=False, emoji=False)
        self._err = _Console(
            width=width, highlight=False, soft_wrap=True, markup=False, emoji=False, stderr=True
        )

    def say(self, text: str | Text = "", style: str = "") -> None:
        """A line on standard output."""
        self._out.print(text, style=style or None)

    def lead(self, lead: str, style: str, text: str) -> None:
        """A line on standard output whose beginning, `lead`, is styled."""
        self.say(Text.assemble((lead, style), text))

    def step(self, command: str) -> None:
        """A command for the user to paste, on standard output."""
        self.say(f"  {pasted(command)}", "cyan")

    @property
    def unread(self) -> bool:
        """True once the reader of standard output is gone (`placet watch | head`)."""
        return self._out.unread

    def aside(self, text: str) -> None:
        """A line on standard error, for what is not the answer."""
        self._err.print(text, style="dim")

    def warn(self, lines: Iterable[str]) -> None:
        """Prints warnings that precede the answer, on standard error."""
        for line in lines:
            for part in textwrap.wrap(line, self.width, subsequent_indent="  ", break_on_hyphens=False):
                self._err.print(part, style="bold yellow")

    def paragraph(self, text: str, style: str = "") -> None:
        """Text broken to the width."""
        for line in textwrap.wrap(text, self.width, break_on_hyphens=False, break_long_words=False):
            self.say(line, style)

    def json(self, message: Message, *, one_line: bool = False) -> None:
        """A message in proto3 JSON."""
        # Imported late: most output is for people.
        from google.protobuf.json_format import MessageToJson

        self.raw(MessageToJson(message, indent=None if one_line else 2))

    def raw(self, text: str) -> None:
        """Text for programs: neither styled nor wrapped."""
        self._out.out(text, highlight=False)

    def prompt(self, question: str, *, default: str | None = None, show_default: bool = True) -> str:
        """The answer to a question, asked on standard error. Raises typer.Abort on Ctrl-C and Ctrl-D."""
        with _interruptible():
            return str(typer.prompt(question, default=default, show_default=show_default, err=True))

    def confirm(self, question: str) -> bool:
        """The answer to a question of yes or no, asked on standard error. Raises typer.Abort as `prompt`."""
        with _interruptible():
            return typer.confirm(question, err=True)

    def problem(self, problem: Problem) -> None:
        """Prints a problem, its cause and the next steps, on standard error."""
        mark = "✗ "
        for line in textwrap.wrap(
            problem.what, self.width - 2, break_on_hyphens=False, break_long_words=False
        ):
            self._err.print(Text.assemble((mark, "bold red"), (line, "bold")))
            mark = "  "
        for line in problem.why.splitlines():
            for part in textwrap.wrap(line, self.width - 2, break_on_hyphens=False) or [""]:
                self._err.print(f"  {part}")
        if problem.tries:
            self._err.print("  Try:")
        for step in problem.tries:
            self._err.print(Text.assemble("    ", (pasted(step), "cyan")))

    def event(self, elapsed: timedelta | None, row: Row, *, label: str = "", whole: bool = False) -> None:
        """An aligned line: elapsed, actor, event, reason. `whole`: a long reason is wrapped, else cut."""
        for line in event_lines(elapsed, row, label=label, whole=whole, width=self.width, cuts=self.cuts):
            self.say(line)

    def logged(self, index: int, when: str, label: str, row: Row) -> None:
        """An aligned line of the log: index, time, request, actor, event, reason."""
        begin = f"{index:>6} {when} {label:<8} "
        who = cell_of(row.actor, _ACTOR, cuts=self.cuts) + " "
        what = cell_of(row.event, _EVENT, cuts=self.cuts) + " "
        style = {True: "bold green", False: "bold red", None: ""}[row.good]
        room = max(self.width - len(begin + who + what), _LEAST)
        reason = fit(row.brief, room) if self.cuts else row.reason
        line = Text.assemble((begin, "dim"), (who, "cyan"), (what, style), reason)
        line.rstrip()
        self.say(line)

    def table(
        self, head: Sequence[str], lines: Iterable[Sequence[str]], widths: Sequence[int], *, grows: int
    ) -> None:
        """Columns under a dim head. In a terminal they are cut to its width, and column `grows` has the rest.

        Elsewhere each is as wide as its contents, and only `grows` is cut, at MOST_OF_A_TITLE.
        """
        shown = list(lines)
        if self.cuts:
            spare = max(self.width - sum(widths) - len(widths) + 1, 0)
            wide = [width + spare if at == grows else width for at, width in enumerate(widths)]
        else:
            wide = [max(map(cell_len, column)) for column in zip(head, *shown, strict=True)]
            wide[grows] = min(wide[grows], MOST_OF_A_TITLE)
        self.say(in_columns(head, wide), "dim")
        for line in shown:
            self.say(in_columns(line, wide))


@contextmanager
def _interruptible() -> Iterator[None]:
    """Inside, Ctrl-C raises KeyboardInterrupt at once: asyncio's handler would leave the question open."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def in_columns(cells: Sequence[str], widths: Sequence[int]) -> str:
    """Cells side by side, each in its width."""
    return " ".join(fit(cell, width) for cell, width in zip(cells, widths, strict=True)).rstrip()


def event_lines(
    elapsed: timedelta | None, row: Row, *, label: str, whole: bool, width: int = WIDTH, cuts: bool = True
) -> list[Text]:
    """The lines of an event. `label` stands in place of the elapsed time when there is none.

    `whole`: a reason that is longer than the line is wrapped; else it is cut, where anything may be.
    """
    when = label if elapsed is None else span(elapsed)
    style = {True: "bold green", False: "bold red", None: ""}[row.good]
    room = max(width - _INDENT, _LEAST)
    if whole:
        reasons = textwrap.wrap(row.reason, room, break_on_hyphens=False, break_long_words=cuts)
    else:
        reasons = [fit(row.brief, room) if cuts else row.reason]
    first = reasons[0].rstrip() if reasons else ""
    lines = [
        Text.assemble(
            (f"{when:>{_ELAPSED}} ", "dim"),
            (cell_of(row.actor, _ACTOR, cuts=cuts) + " ", "cyan"),
            (cell_of(row.event, _EVENT, cuts=cuts) + " ", style),
            first,
        )
    ]
    lines += [Text(" " * _INDENT + rest) for rest in reasons[1:]]
    for line in lines:
        line.rstrip()
    return lines


def cell_of(text: str, width: int, *, cuts: bool) -> str:
    """Text in a column of `width`; what is longer is cut, or pushes the rest of its line."""
    return fit(text, width) if cuts or cell_len(text) <= width else text


def fit(text: str, width: int) -> str:
    """Text in exactly `width` columns, cut with an ellipsis when it is longer."""
    return set_cell_size(text, width) if cell_len(text) <= width else set_cell_size(text, width - 1) + "…"


def short(approval_id: str) -> str:
    """An id's first eight digits, which commands take in its place while they are unique."""
    return approval_id[:8]


def since(start: datetime, then: datetime) -> timedelta:
    """The time from `start` to `then`, never negative."""
    return max(then - start, timedelta())
