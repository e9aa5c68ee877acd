"""The rows of a trace, before they are drawn.

They are in the order of their starts, as far as a tree can be: what begins after its parent ended (a queue or
a person was between them) has a place of its own in that order, with its whole subtree.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from heapq import heappop, heappush

from rich.cells import cell_len

from placet_cli.screen import fit
from placet_devstack.spans.model import Span
from placet_text import visible

# More alike siblings than this are drawn as the first and a sum.
_ALIKE = 4
DEEPEST_INDENT = 8
# First words of waits, which no limit hides: "wait for approver", "waiting for alice@example.com, so far".
_WAITS = ("wait for ", "waiting for ")
# Of a method's full name, `placet.audit.v1.AuditService/AppendEvents`, the part that a reader knows anyway.
_PACKAGE = re.compile(r"(?:[a-z0-9_]+\.)+(?=[A-Z]\w*/)")


@dataclass(frozen=True)
class Row:
    """A span, or several alike."""

    depth: int
    name: str
    service: str
    start: int
    end: int
    # Nanoseconds to name; for several spans in one row it is less than end - start.
    duration: int
    failed: bool = False
    notes: tuple[str, ...] = ()
    # The span, and its parent; both empty for several spans in one row.
    id: str = ""
    parent_id: str = ""
    # Rows of deeper levels that are not drawn, and whether one of them failed.
    below: int = 0
    failed_below: bool = False

    @property
    def is_wait(self) -> bool:
        """True for a wait for a person."""
        return self.name.removeprefix("┄ ").startswith(_WAITS)

    def label(self, width: int | None) -> str:
        """The name with its marks, where the name gives way; all of it without a width."""
        before = "  " * min(self.depth, DEEPEST_INDENT) + ("✗ " if self.failed else "")
        after = f" ▸ {self.below:,} below{' ✗' if self.failed_below else ''}" if self.below else ""
        name = _PACKAGE.sub("", visible(self.name))
        if width is None:
            return before + name + after
        if cell_len(before + name + after) < width:
            return fit(before + name + after, width)
        return before + fit(name, width - cell_len(before + after)) + after


# A span at its depth, or a sum.
_Item = tuple[Span, int] | Row


@dataclass
class _Tree:
    """The spans by their parents; a span whose parent is not there is a root as well."""

    children: dict[str, list[Span]] = field(default_factory=lambda: defaultdict(list))
    roots: list[Span] = field(default_factory=list)
    # Ids of roots that name a parent, and of spans in or below which something failed.
    orphans: set[str] = field(default_factory=set)
    troubled: set[str] = field(default_factory=set)


def rows_of(spans: Sequence[Span], linked: Mapping[str, str], most: int) -> tuple[list[Row], int]:
    """About `most` rows, and how many more there would be; `linked`: what other traces are, by their ids."""
    return _bounded(_listed(_tree(spans), linked), most)


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


def _listed(tree: _Tree, linked: Mapping[str, str]) -> list[Row]:
    """A row for each span or sum of spans, parents before children. A loop, because traces can be deep."""
    rows: list[Row] = []
    # Subtrees by their starts; the number keeps the order of those that start at the same time.
    later: list[tuple[int, int, list[_Item]]] = [(0, 0, _folded(tree, tree.roots, 0))]
    while later:
        waiting = [*reversed(heappop(later)[2])]
        while waiting:
            item = waiting.pop()
            if isinstance(item, Row):
                rows.append(item)
                continue
            span, depth = item
            rows.append(_span_row(span, depth, linked, orphan=span.span_id in tree.orphans))
            within, after = _parted(span, _folded(tree, tree.children[span.span_id], depth + 1))
            waiting += reversed(within)
            for one in after:
                heappush(later, (_start_of(one), len(rows) + len(later), [one]))
    return rows


def _parted(parent: Span, children: Sequence[_Item]) -> tuple[list[_Item], list[_Item]]:
    """Splits children into those that begin within their parent and those that begin after its end."""
    within = [one for one in children if _start_of(one) < parent.end]
    return within, [one for one in children if _start_of(one) >= parent.end]


def _start_of(item: _Item) -> int:
    return item.start if isinstance(item, Row) else item[0].start


def _folded(tree: _Tree, siblings: Sequence[Span], depth: int) -> list[_Item]:
    """The siblings in order; of more than a few alike ones the first, and a sum of the rest.

    What failed, in itself or below, is not like what did not.
    """
    alike: dict[tuple[str, str, bool], list[Span]] = defaultdict(list)
    for span in siblings:
        alike[span.name, span.service, span.span_id in tree.troubled].append(span)
    items: list[_Item] = []
    for span in siblings:
        group = alike[span.name, span.service, span.span_id in tree.troubled]
        if len(group) <= _ALIKE:
            items.append((span, depth))
        elif span is group[0]:
            items += [(span, depth), _sum_row(group[1:], depth, failed=span.span_id in tree.troubled)]
    return items


def _span_row(span: Span, depth: int, linked: Mapping[str, str], *, orphan: bool) -> Row:
    # Messages may hold whole tracebacks; what counts comes first.
    notes = span.message.splitlines()[:1] if span.failed else []
    notes += [
        f"↗ {f'{linked[trace_id]}: ' if trace_id in linked else ''}trace {trace_id}"
        for trace_id, _ in span.links[:2]
        if trace_id != span.trace_id
    ]
    return Row(
        depth=depth,
        # An orphan's parent has not ended yet, or was never sent here.
        name=("┄ " if orphan else "") + span.name,
        service=visible(span.service),
        start=span.start,
        end=max(span.start, span.end),
        duration=span.duration,
        failed=span.failed,
        notes=tuple(notes),
        id=span.span_id,
        parent_id=span.parent_id,
    )


def _sum_row(spans: Sequence[Span], depth: int, *, failed: bool) -> Row:
    return Row(
        depth=depth,
        name=f"× {len(spans):,} more",
        service=visible(spans[0].service),
        start=min(span.start for span in spans),
        end=max(max(span.start, span.end) for span in spans),
        duration=sum(span.duration for span in spans),
        failed=failed,
    )


def _bounded(rows: list[Row], most: int) -> tuple[list[Row], int]:
    """The rows of as many levels as fit, and how many of the first level had to be left out."""
    per_level = Counter(row.depth for row in rows if not row.is_wait)
    waits = sum(row.is_wait for row in rows)
    levels = max(per_level, default=0)
    while levels and waits + sum(count for depth, count in per_level.items() if depth <= levels) > most:
        levels -= 1
    shown = [row for row in rows if row.depth <= levels or row.is_wait]
    if len(shown) > most:
        room = max(most - waits, 0)
        first = [row for row in shown if not row.is_wait][:room]
        kept = {id(row) for row in first}
        left, shown = len(shown), [row for row in shown if row.is_wait or id(row) in kept]
        return _with_counts(rows, shown), left - len(shown)
    return _with_counts(rows, shown), 0


def _with_counts(rows: Sequence[Row], shown: Sequence[Row]) -> list[Row]:
    """The visible rows, each with its number of hidden rows below."""
    parents = {row.id: row.parent_id for row in rows if row.id}
    drawn = {row.id for row in shown if row.id}
    below: Counter[str] = Counter()
    troubled: set[str] = set()
    kept = {id(row) for row in shown}
    for row in rows:
        if id(row) in kept:
            continue
        # A broken sender can make circles.
        above, passed = row.parent_id, {row.id}
        while above in parents and above not in drawn and above not in passed:
            passed.add(above)
            above = parents[above]
        below[above] += 1
        if row.failed:
            troubled.add(above)
    return [
        replace(row, below=below[row.id], failed_below=row.id in troubled) if row.id in below else row
        for row in shown
    ]
