"""Matrices and rectangles of a page (ISO 32000-1, 8.3), in the form that its operators give them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

Matrix = tuple[float, float, float, float, float, float]
Point = tuple[float, float]
# Left, bottom, right, top.
Box = tuple[float, float, float, float]

IDENTITY: Matrix = (1.0, 0.0, 0.0, 1.0, 0.0, 0.0)


def matrix(numbers: Sequence[float]) -> Matrix:
    """Six numbers as a matrix. Raises ValueError for another count."""
    a, b, c, d, e, f = (float(one) for one in numbers)
    return a, b, c, d, e, f


def times(first: Matrix, then: Matrix) -> Matrix:
    """The matrix that applies `first`, then `then`."""
    a, b, c, d, e, f = first
    p, q, r, s, t, u = then
    return (a * p + b * r, a * q + b * s, c * p + d * r, c * q + d * s, e * p + f * r + t, e * q + f * s + u)


def moved(by: Matrix, x: float, y: float) -> Point:
    """A point under a matrix."""
    a, b, c, d, e, f = by
    return a * x + c * y + e, b * x + d * y + f


def scales(by: Matrix) -> Point:
    """The lengths of the two unit vectors under a matrix."""
    return math.hypot(by[0], by[1]), math.hypot(by[2], by[3])


def box_of(points: Iterable[Point]) -> Box | None:
    """The smallest upright rectangle around points; None without any."""
    found = list(points)
    if not found:
        return None
    xs, ys = [x for x, _ in found], [y for _, y in found]
    return min(xs), min(ys), max(xs), max(ys)


def corners(box: Box, by: Matrix) -> list[Point]:
    """The corners of a rectangle under a matrix."""
    left, bottom, right, top = box
    return [moved(by, x, y) for x, y in ((left, bottom), (right, bottom), (right, top), (left, top))]


def common(first: Box | None, second: Box | None) -> Box | None:
    """The part that two rectangles share; None is the whole plane."""
    if first is None or second is None:
        return first or second
    return (
        max(first[0], second[0]),
        max(first[1], second[1]),
        min(first[2], second[2]),
        min(first[3], second[3]),
    )


def contains(box: Box | None, point: Point, tolerance: float = 0.0) -> bool:
    """Tells whether a point lies in a rectangle, or at most `tolerance` beside it; None holds every point."""
    if box is None:
        return True
    x, y = point
    left, bottom, right, top = box
    return left - tolerance <= x <= right + tolerance and bottom - tolerance <= y <= top + tolerance
