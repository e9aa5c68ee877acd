"""Writes figures as aligned text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from placet_bench.figures import Breakdown, Figure

HEADS = ("what", "figure", "against", "ratio", "(low–high)", "target", "")
SPACE = "  "


def number(value: float | None) -> str:
    """Three figures that mean something; a dash where there is none."""
    if value is None:
        return "–"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def figures(lines: Sequence[Figure]) -> str:
    """All figures as one table."""
    return "\n".join(aligned([HEADS, *(_cells(figure) for figure in lines)]))


def breakdown(of: Breakdown) -> str:
    """A breakdown under its title."""
    cells = [("", *of.columns), *((name, *map(number, row)) for name, row in of.rows)]
    return "\n".join([of.title, *aligned(cells)])


def aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """The first column to the left, all others to the right; no spaces at the end."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for first, *rest in rows:
        cells = [first.ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True)]
        yield SPACE.join(cells).rstrip()


def _cells(figure: Figure) -> tuple[str, ...]:
    spread = ""
    if figure.lowest is not None and figure.highest is not None:
        spread = f"({figure.lowest:.2f}–{figure.highest:.2f})"
    return (
        figure.what,
        f"{number(figure.value)} {figure.unit}",
        "" if figure.against is None else number(figure.against),
        "" if figure.ratio is None else f"{figure.ratio:.2f}",
        spread,
        "" if figure.target is None else figure.target.written(figure.unit),
        figure.verdict,
    )
