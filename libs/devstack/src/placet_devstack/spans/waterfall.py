"""One trace as a waterfall that fits a terminal.

The bars' axis is compressed: each stretch between two instants at which something began or ended is as wide
as the logarithm of its length, so that a wait of two days leaves room to see the milliseconds around it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise

from rich.cells import cell_len
from rich.text import Text

from placet_cli.screen import fit
from placet_cli.times import span as span_of_time
from placet_devstack.spans.model import Span
from placet_devstack.spans.rows import DEEPEST_INDENT, Row, rows_of
from placet_text import visible

_BAR = 12
# Room for a name, whatever else wants room.
_LEAST_NAME = 16
_SERVICE = 14
_WORKING, _WAITING = "█", "░"
# Nanoseconds from which a bar shows time passing rather than work.
_LONG = 10 * 10**9
LEGEND = f"{_WORKING} work  {_WAITING} 10 s or more; bars are on a logarithmic axis"
_FAILED = "✗ failed"
_PALETTE = ("cyan", "green", "yellow", "magenta", "blue", "bright_cyan", "bright_green", "bright_magenta")

# A line is its pieces, each with a style of rich's.
_Line = list[tuple[str, str]]


def render(
    spans: Sequence[Span],
    *,
    width: int | None = 80,
    most: int = 60,
    linked: Mapping[str, str] | None = None,
) -> Text:
    """The trace as lines of `width` columns at most, coloured by service; None: as wide as its longest name.

    About `most` spans get a line: alike siblings are summed up, and the deepest levels are counted instead of
    drawn, when there are more; waits are always drawn. `linked` says what other traces are: "decision by …",
    by their ids. All of `spans` belong to one trace.
    """
    lines = [Text.assemble(*line) for line in _lines(spans, width, most, linked or {})]
    for line in lines:
        line.rstrip()
    return Text("\n", no_wrap=True).join(lines)


@dataclass(frozen=True)
class _Columns:
    """Widths of the columns; `whole`: the width of a line, None when nothing is cut."""

    name: int
    service: int
    time: int
    whole: int | None

    @classmethod
    def of(cls, rows: Sequence[Row], origin: int, width: int | None) -> _Columns:
        services = ("service", *(row.service for row in rows))
        times = [_time(time) for row in rows for time in (row.start - origin, row.duration)]
        service, time = max(map(cell_len, services)), max(map(len, ("after", *times)))
        if width is None:
            return cls(max(cell_len(row.label(None)) for row in rows) + 1, service, time, None)
        service = min(_SERVICE, service)
        return cls(max(width - service - 2 * time - _BAR - 4, _LEAST_NAME), service, time, width)


def _lines(spans: Sequence[Span], width: int | None, most: int, linked: Mapping[str, str]) -> list[_Line]:
    if not spans:
        return [[("no spans of this trace are stored yet", "dim")]]
    rows, hidden = rows_of(spans, linked, most)
    axis = _Axis(_instants(rows))
    colours = _colours(row.service for row in rows)
    origin = min(span.start for span in spans)
    columns = _Columns.of(rows, origin, width)
    lines = [*_head(spans, columns)]
    for row in rows:
        lines.append(_row_line(row, columns, origin, axis, colours[row.service]))
        lines += [_note_line(row, note, columns) for note in row.notes]
    if hidden:
        lines.append([(f"… and {hidden} more", "dim")])
    failed = any(row.failed or row.failed_below for row in rows)
    return [*lines, [(f"{_FAILED}  {LEGEND}" if failed else LEGEND, "dim")]]


class _Axis:
    """Places instants between 0 and 1 on a compressed axis."""

    def __init__(self, instants: Iterable[int]) -> None:
        ordered = sorted(set(instants))
        position = 0.0
        self._positions = {ordered[0]: 0.0}
        for before, after in pairwise(ordered):
            # In tenths of a millisecond: what is shorter counts as nearly nothing.
            position += math.log1p((after - before) / 1e5)
            self._positions[after] = position
        self._length = position or 1.0

    def bar(self, start: int, end: int) -> str:
        """The bar of a span, one column at least."""
        left = min(int(self._positions[start] / self._length * _BAR), _BAR - 1)
        right = max(math.ceil(self._positions[end] / self._length * _BAR), left + 1)
        return " " * left + (_WAITING if end - start >= _LONG else _WORKING) * (right - left)


def _instants(rows: Iterable[Row]) -> Iterable[int]:
    """All instants at which something in the rows begins or ends."""
    for row in rows:
        yield row.start
        yield row.end


def _colours(services: Iterable[str]) -> dict[str, str]:
    # In order of appearance, so that neighbours differ.
    return {name: _PALETTE[number % len(_PALETTE)] for number, name in enumerate(dict.fromkeys(services))}


def _head(spans: Sequence[Span], columns: _Columns) -> list[_Line]:
    services = {span.service for span in spans}
    length = max(max(span.start, span.end) for span in spans) - min(span.start for span in spans)
    counts = f"{_counted(len(spans), 'span')}, {_counted(len(services), 'service')}, {_time(length)}"
    title = f"trace {spans[0].trace_id}"
    if columns.whole is not None:
        title = fit(title, columns.whole - len(counts) - 1)
    names = f"{fit('span', columns.name)} {fit('service', columns.service)}"
    times = f"{'after':>{columns.time}} {'took':>{columns.time}}"
    return [[(title, "bold"), (" " + counts, "")], [(f"{names} {times}", "dim")]]


def _row_line(row: Row, columns: _Columns, origin: int, axis: _Axis, colour: str) -> _Line:
    return [
        (fit(row.label(columns.name), columns.name), "bold red" if row.failed else ""),
        (" " + fit(row.service, columns.service), colour),
        (f" {_time(row.start - origin):>{columns.time}}", "dim"),
        (f" {_time(row.duration):>{columns.time}} ", ""),
        (axis.bar(row.start, row.end), "red" if row.failed else colour),
    ]


def _note_line(row: Row, note: str, columns: _Columns) -> _Line:
    indent, text = "  " * (min(row.depth, DEEPEST_INDENT) + 1), visible(note)
    if columns.whole is not None:
        # The indent gives way before an id does.
        indent = indent[: max(columns.whole - cell_len(text), 0)]
        text = fit(indent + text, columns.whole)[len(indent) :]
    return [(indent + text, "red" if row.failed else "dim")]


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _time(nanoseconds: int) -> str:
    """A span of time, as everywhere; below a second in milliseconds."""
    seconds = nanoseconds / 1e9
    if seconds < 0.01:
        return f"{nanoseconds / 1e6:.1f} ms"
    if seconds < 0.9995:
        return f"{nanoseconds / 1e6:.0f} ms"
    return span_of_time(timedelta(seconds=seconds))
