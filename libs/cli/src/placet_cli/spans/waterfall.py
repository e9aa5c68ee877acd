"""One trace as a waterfall that fits a terminal.

The bars' axis is compressed: each stretch between two instants at which something began or ended is as wide
as the logarithm of its length, so that a wait of two days leaves room to see the milliseconds around it.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from placet_cli.spans.model import Span

_BAR = 12
_TIME = 8
_SERVICE = 14
# More alike siblings than this are drawn as the first and a sum.
_ALIKE = 4
_DEEPEST_INDENT = 8
_WORKING, _WAITING = "█", "░"
# Nanoseconds from which a bar shows time passing rather than work.
_LONG = 10 * 10**9
# Of a method's full name, `placet.audit.v1.AuditService/AppendEvents`, the part that a reader knows anyway.
_PACKAGE = re.compile(r"(?:[a-z0-9_]+\.)+(?=[A-Z]\w*/)")
_PALETTE = ("cyan", "green", "yellow", "magenta", "blue", "bright_cyan", "bright_green", "bright_magenta")

# A line is its pieces, each with a style of rich's.
_Line = list[tuple[str, str]]


@dataclass(frozen=True)
class _Row:
    depth: int
    name: str
    service: str
    start: int
    end: int
    # Nanoseconds to name; for several spans in one row it is less than end - start.
    duration: int
    failed: bool = False
    notes: tuple[str, ...] = ()
    # Rows of deeper levels that are not drawn, and whether one of them failed.
    below: int = 0
    failed_below: bool = False

    def label(self, width: int) -> str:
        """The name with its marks, where the name gives way."""
        before = "  " * min(self.depth, _DEEPEST_INDENT) + ("✗ " if self.failed else "")
        after = f" ▸ {self.below:,} below{' ✗' if self.failed_below else ''}" if self.below else ""
        name = _PACKAGE.sub("", _printable(self.name))
        if cell_len(before + name + after) < width:
            return _fit(before + name + after, width)
        return before + _fit(name, width - cell_len(before + after)) + after


@dataclass
class _Tree:
    """The spans by their parents; a span whose parent is not there is a root as well."""

    children: dict[str, list[Span]] = field(default_factory=lambda: defaultdict(list))
    roots: list[Span] = field(default_factory=list)
    # Ids of roots that name a parent, and of spans in or below which something failed.
    orphans: set[str] = field(default_factory=set)
    troubled: set[str] = field(default_factory=set)


def waterfall(spans: Sequence[Span], *, width: int = 80, most: int = 60) -> list[str]:
    """The trace as lines of `width` columns at most, without colours.

    About `most` spans get a line: alike siblings are summed up, and the deepest levels are counted instead of
    drawn, when there are more. All of `spans` belong to one trace.
    """
    return ["".join(text for text, _ in line).rstrip() for line in _lines(spans, width, most)]


def render(spans: Sequence[Span], *, width: int = 80, most: int = 60) -> Text:
    """The same lines, coloured by service, for a rich console."""
    lines = [Text.assemble(*line) for line in _lines(spans, width, most)]
    return Text("\n", no_wrap=True).join(lines)


def _lines(spans: Sequence[Span], width: int, most: int) -> list[_Line]:
    if not spans:
        return [[("no spans of this trace are stored yet", "dim")]]
    rows, hidden = _bounded(_rows(_tree(spans)), most)
    axis = _Axis(_instants(rows))
    colours = _colours(row.service for row in rows)
    service_width = min(_SERVICE, max(cell_len(name) for name in ("service", *colours)))
    name_width = width - service_width - 2 * _TIME - _BAR - 4
    lines = [*_head(spans, width, name_width, service_width)]
    origin = min(span.start for span in spans)
    for row in rows:
        lines.append(_row_line(row, name_width, service_width, origin, axis, colours[row.service]))
        lines += [_note_line(row, note, width) for note in row.notes]
    if hidden:
        lines.append([(f"… and {hidden} more", "dim")])
    return lines


def _tree(spans: Sequence[Span]) -> _Tree:
    ordered = sorted(spans, key=lambda span: (span.start, -span.end, span.span_id))
    known = {span.span_id for span in ordered}
    tree = _Tree()
    for span in ordered:
        if span.parent_id in known and span.parent_id != span.span_id:
            tree.children[span.parent_id].append(span)
        else:
            tree.roots.append(span)
            if span.parent_id:
                tree.orphans.add(span.span_id)
    _break_circles(tree, ordered)
    _mark_troubled(tree, ordered)
    return tree


def _break_circles(tree: _Tree, ordered: Sequence[Span]) -> None:
    """Makes a root of a span of each circle of parents, which only a broken sender makes."""
    reached: set[str] = set()
    _reach(tree, tree.roots, reached)
    for span in ordered:
        if span.span_id not in reached:
            tree.children[span.parent_id].remove(span)
            tree.roots.append(span)
            tree.orphans.add(span.span_id)
            _reach(tree, [span], reached)
    tree.roots.sort(key=lambda span: span.start)


def _reach(tree: _Tree, starts: Sequence[Span], reached: set[str]) -> None:
    waiting = list(starts)
    while waiting:
        span = waiting.pop()
        if span.span_id not in reached:
            reached.add(span.span_id)
            waiting += tree.children[span.span_id]


def _mark_troubled(tree: _Tree, spans: Iterable[Span]) -> None:
    parents = {child.span_id: parent for parent, children in tree.children.items() for child in children}
    for span in spans:
        at: str | None = span.span_id if span.failed else None
        while at is not None and at not in tree.troubled:
            tree.troubled.add(at)
            at = parents.get(at)


def _rows(tree: _Tree) -> list[_Row]:
    """A row for each span or sum of spans, parents before children. A loop, because traces can be deep."""
    rows: list[_Row] = []
    waiting: list[tuple[Span, int] | _Row] = [*reversed(_folded(tree, tree.roots, 0))]
    while waiting:
        item = waiting.pop()
        if isinstance(item, _Row):
            rows.append(item)
            continue
        span, depth = item
        rows.append(_span_row(span, depth, orphan=span.span_id in tree.orphans))
        waiting += reversed(_folded(tree, tree.children[span.span_id], depth + 1))
    return rows


def _folded(tree: _Tree, siblings: Sequence[Span], depth: int) -> list[tuple[Span, int] | _Row]:
    """The siblings in order; of more than a few alike ones the first, and a sum of the rest.

    What failed, in itself or below, is not like what did not.
    """
    alike: dict[tuple[str, str, bool], list[Span]] = defaultdict(list)
    for span in siblings:
        alike[span.name, span.service, span.span_id in tree.troubled].append(span)
    items: list[tuple[Span, int] | _Row] = []
    for span in siblings:
        group = alike[span.name, span.service, span.span_id in tree.troubled]
        if len(group) <= _ALIKE:
            items.append((span, depth))
        elif span is group[0]:
            items += [(span, depth), _sum_row(group[1:], depth, failed=span.span_id in tree.troubled)]
    return items


def _span_row(span: Span, depth: int, *, orphan: bool) -> _Row:
    # Messages may hold whole tracebacks; what counts comes first.
    notes = span.message.splitlines()[:1] if span.failed else []
    notes += [f"↗ trace {trace_id}" for trace_id, _ in span.links[:2] if trace_id != span.trace_id]
    return _Row(
        depth=depth,
        # What an orphan belongs to is still under way, or was never sent here.
        name=("┄ " if orphan else "") + span.name,
        service=_printable(span.service),
        start=span.start,
        end=max(span.start, span.end),
        duration=span.duration,
        failed=span.failed,
        notes=tuple(notes),
    )


def _sum_row(spans: Sequence[Span], depth: int, *, failed: bool) -> _Row:
    return _Row(
        depth=depth,
        name=f"× {len(spans):,} more",
        service=_printable(spans[0].service),
        start=min(span.start for span in spans),
        end=max(max(span.start, span.end) for span in spans),
        duration=sum(span.duration for span in spans),
        failed=failed,
    )


def _bounded(rows: list[_Row], most: int) -> tuple[list[_Row], int]:
    """The rows of as many levels as fit, and how many of the first level had to be left out."""
    per_level = Counter(row.depth for row in rows)
    levels = max(per_level)
    while levels and sum(count for depth, count in per_level.items() if depth <= levels) > most:
        levels -= 1
    shown: list[_Row] = []
    for row in rows:
        if row.depth <= levels:
            shown.append(row)
        else:
            # Parents come first, so this one's ancestor is the last that is shown.
            above = shown[-1]
            failed_below = above.failed_below or row.failed
            shown[-1] = replace(above, below=above.below + 1, failed_below=failed_below)
    return shown[:most], max(len(shown) - most, 0)


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


def _instants(rows: Iterable[_Row]) -> Iterable[int]:
    """All instants at which something in the rows begins or ends."""
    for row in rows:
        yield row.start
        yield row.end


def _colours(services: Iterable[str]) -> dict[str, str]:
    # In order of appearance, so that neighbours differ.
    return {name: _PALETTE[number % len(_PALETTE)] for number, name in enumerate(dict.fromkeys(services))}


def _head(spans: Sequence[Span], width: int, name_width: int, service_width: int) -> list[_Line]:
    services = {span.service for span in spans}
    length = max(max(span.start, span.end) for span in spans) - min(span.start for span in spans)
    counts = f"{_counted(len(spans), 'span')}, {_counted(len(services), 'service')}, {_time(length)}"
    columns = (
        f"{_fit('span', name_width)} {_fit('service', service_width)} {'after':>{_TIME}} {'took':>{_TIME}}"
    )
    return [
        [(_fit(f"trace {spans[0].trace_id}", width - len(counts) - 1), "bold"), (" " + counts, "")],
        # Said where the bars are, because their axis is.
        [(columns, "dim"), (f" {'(compressed)':<{_BAR}}", "dim")],
    ]


def _row_line(row: _Row, name_width: int, service_width: int, origin: int, axis: _Axis, colour: str) -> _Line:
    return [
        (row.label(name_width), "bold red" if row.failed else ""),
        (" " + _fit(row.service, service_width), colour),
        (f" {_time(row.start - origin):>{_TIME}}", "dim"),
        (f" {_time(row.duration):>{_TIME}} ", ""),
        (axis.bar(row.start, row.end), "red" if row.failed else colour),
    ]


def _note_line(row: _Row, note: str, width: int) -> _Line:
    indent = "  " * (min(row.depth, _DEEPEST_INDENT) + 1)
    return [(_fit(indent + _printable(note), width), "red" if row.failed else "dim")]


def _fit(text: str, width: int) -> str:
    if cell_len(text) <= width:
        return set_cell_size(text, width)
    return set_cell_size(text, width - 1) + "…"


def _printable(text: str) -> str:
    """Without what could move the cursor, recolour or reorder the terminal's text."""
    return "".join(letter if letter.isprintable() else "�" for letter in text)


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _time(nanoseconds: int) -> str:
    """A span of time in at most eight columns."""
    seconds = nanoseconds / 1e9
    if seconds < 0.01:
        return f"{nanoseconds / 1e6:.1f} ms"
    if seconds < 0.9995:
        return f"{nanoseconds / 1e6:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes = round(seconds / 60) if seconds >= 3600 else int(seconds // 60)
    if seconds < 3600:
        return f"{minutes}m {int(seconds % 60):02}s"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours}h {minutes:02}m"
    return f"{hours // 24}d {hours % 24:02}h" if hours < 24_000 else f"{hours // 24}d"
