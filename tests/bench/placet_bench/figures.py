"""Figures: medians, percentiles, ratios of paired rounds, and whether a quality goal is met. Pure."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Target:
    """A quality goal: a bound on a figure's ratio, or on the figure itself in its own unit."""

    bound: float
    at_least: bool = False
    on_ratio: bool = False

    def met_by(self, figure: Figure) -> bool:
        """True if the figure keeps the bound. Raises ValueError when it has no ratio to compare."""
        compared = figure.ratio if self.on_ratio else figure.value
        if compared is None:
            raise ValueError(f"{figure.what} has no ratio")
        return compared >= self.bound if self.at_least else compared <= self.bound

    def written(self, unit: str) -> str:
        """For people, where the figure's unit is `unit`: "≤ 150 MB", or "≥ 1.2 ×" of a ratio."""
        return f"{'≥' if self.at_least else '≤'} {self.bound:g} {'×' if self.on_ratio else unit}"


def ratio_at_least(bound: float) -> Target:
    """The ratio must be this or more."""
    return Target(bound, at_least=True, on_ratio=True)


def ratio_at_most(bound: float) -> Target:
    """The ratio must be this or less."""
    return Target(bound, on_ratio=True)


def at_most(bound: float) -> Target:
    """The figure itself, in its own unit, must be this or less."""
    return Target(bound)


@dataclass(frozen=True)
class Figure:
    """One line of the result. `against` is what it is compared with, in the same unit; `ratio` the median
    over the rounds, which lie between `lowest` and `highest`."""

    what: str
    value: float
    unit: str
    against: float | None = None
    ratio: float | None = None
    lowest: float | None = None
    highest: float | None = None
    target: Target | None = None

    @property
    def verdict(self) -> str:
        """ "met", "missed", or nothing without a target."""
        if self.target is None:
            return ""
        return "met" if self.target.met_by(self) else "missed"

    def as_json(self) -> dict[str, object]:
        """For `--json`."""
        target = None if self.target is None else self.target.written(self.unit)
        return {**asdict(self), "target": target, "verdict": self.verdict}


@dataclass(frozen=True)
class Breakdown:
    """A table of its own: one figure for each row and column."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[float | None, ...]], ...]

    def as_json(self) -> dict[str, object]:
        """For `--json`."""
        return asdict(self)


@dataclass(frozen=True)
class Report:
    """Figures of one measurement."""

    figures: tuple[Figure, ...] = ()
    breakdowns: tuple[Breakdown, ...] = ()


def paired(
    what: str,
    unit: str,
    measured: Sequence[float],
    against: Sequence[float],
    target: Target | None = None,
    *,
    less_is_better: bool = False,
) -> Figure:
    """Medians of rounds that were run in pairs, and the median of the rounds' ratios: measured ÷ against,
    or with `less_is_better` against ÷ measured, so that more than 1 is better in both.

    Raises ValueError if the rounds are not paired.
    """
    pairs = zip(measured, against, strict=True)
    ratios = [other / own if less_is_better else own / other for own, other in pairs]
    return Figure(
        what,
        statistics.median(measured),
        unit,
        against=statistics.median(against),
        ratio=statistics.median(ratios),
        lowest=min(ratios),
        highest=max(ratios),
        target=target,
    )


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` (0 to 1) of the values do not exceed (nearest rank)."""
    if not values:
        raise ValueError("no values")
    return sorted(values)[max(math.ceil(share * len(values)), 1) - 1]
