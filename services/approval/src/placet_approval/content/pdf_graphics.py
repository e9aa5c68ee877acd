"""Graphics state of a page (ISO 32000-1, 8.4 and 9.3), as far as it decides on the visibility of text."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from pypdf.generic import ArrayObject, DictionaryObject

from placet_approval.content.gaps import Gaps, Kind
from placet_approval.content.pdf_fonts import Font, font_of
from placet_approval.content.pdf_geometry import IDENTITY, Box, Matrix, Point
from placet_approval.content.pdf_layers import Layers
from placet_approval.content.pdf_values import dictionary, number, resolved

# Colours that differ by less in each part look alike.
LEAST_CONTRAST: Final = 0.15


# Comparisons of texts with shapes, in one file.
MOST_COMPARISONS: Final = 1_000_000


# Red, green and blue in [0, 1]; None: not known.
Colour = tuple[float, float, float] | None


BLACK: Final[Colour] = (0.0, 0.0, 0.0)


WHITE: Final[Colour] = (1.0, 1.0, 1.0)


Operands = list[Any]  # Any: a PDF's value is of any type


@dataclass
class Graphics:
    """The graphics state, as far as it decides on visibility."""

    ctm: Matrix = IDENTITY
    clip: Box | None = None
    fill: Colour = BLACK
    stroke: Colour = BLACK
    fill_parts: int | None = 1
    stroke_parts: int | None = 1
    fill_alpha: float = 1.0
    stroke_alpha: float = 1.0
    masked: bool = False
    font: Font | None = None
    size: float = 0.0
    mode: int = 0
    stretch: float = 1.0
    spacing: float = 0.0
    word_spacing: float = 0.0
    leading: float = 0.0
    rise: float = 0.0


@dataclass
class Shown:
    """One text operator: where its text begins and ends, and the verdict."""

    start: Point
    end: Point
    hidden: bool


@dataclass
class Form:
    """A form that is being drawn, and what was in force before it."""

    graphics: Graphics
    stack: list[Graphics]
    text_matrix: Matrix
    line_matrix: Matrix
    resources: DictionaryObject
    marked: list[bool]


@dataclass
class Path:
    points: list[Point] = field(default_factory=list)
    rectangles: list[Box] = field(default_factory=list)
    only_rectangles: bool = True
    clips: bool = False


class FileContext:
    """State that all pages of a file share: its gaps, layers and fonts, and the budget of comparisons."""

    def __init__(self, gaps: Gaps, layers: Layers) -> None:
        self._gaps = gaps
        self._layers = layers
        # By identity, with the resource, so that its identity is given to no other object.
        self._fonts: dict[int, tuple[Any, Font | None]] = {}
        self._comparisons = 0

    def add(self, kind: Kind, number: int) -> None:
        """Counts one more gap of a kind on a page."""
        self._gaps.add(kind, number)

    def font(self, resource: Any) -> Font | None:
        """The font of a resource, read once."""
        found = resolved(resource)
        if id(found) not in self._fonts:
            self._fonts[id(found)] = (found, font_of(found))
        return self._fonts[id(found)][1]

    def is_off(self, layer: Any) -> bool:
        """Tells whether a layer is not shown."""
        return self._layers.is_off(layer)

    def may_compare(self, times_more: int, number: int) -> bool:
        """Tells whether the budget of comparisons allows so many more; counts a gap where it does not."""
        self._comparisons += times_more
        if self._comparisons <= MOST_COMPARISONS:
            return True
        self._gaps.add("LIMIT", number)
        return False


def parts_of(space: Any) -> int | None:
    """The number of parts of a colour in this space; None for one whose colours are not known."""
    found = resolved(space)
    family = resolved(found[0]) if isinstance(found, ArrayObject) and found else found
    if family == "/ICCBased":
        parts = int(number(dictionary(found[1]).get("/N")))
        return parts if parts in (1, 3, 4) else None
    known = {"/DeviceGray": 1, "/CalGray": 1, "/DeviceRGB": 3, "/CalRGB": 3, "/DeviceCMYK": 4}
    return known.get(family) if isinstance(family, str) else None


def colour_of(operands: Operands, parts: int | None) -> Colour:
    if parts is None or len(operands) != parts:
        return None
    numbers = [min(1.0, max(0.0, number(one))) for one in operands]
    if parts == 1:
        return numbers[0], numbers[0], numbers[0]
    if parts == 3:
        return numbers[0], numbers[1], numbers[2]
    cyan, magenta, yellow, black = numbers
    return (1 - cyan) * (1 - black), (1 - magenta) * (1 - black), (1 - yellow) * (1 - black)


def look_alike(one: Colour, other: Colour) -> bool:
    if one is None or other is None:
        return False
    return all(abs(a - b) < LEAST_CONTRAST for a, b in zip(one, other, strict=True))
