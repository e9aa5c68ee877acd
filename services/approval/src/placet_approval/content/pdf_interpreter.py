"""Interpreter of a page's operators: follows its graphics state, and judges each piece of text.

A text is not visible when it is drawn without paint, in the colour of what lies behind it, transparent,
smaller than LEAST_SIZE, outside of the page or its clip, covered later on, or in a layer that is off. The
judgement is made from rectangles: shapes of other forms are reported as drawings in any case.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any, Final

from pypdf import PageObject
from pypdf.generic import ArrayObject, DictionaryObject, NameObject

from placet_approval.content.pdf_geometry import (
    IDENTITY,
    Box,
    Matrix,
    Point,
    box_of,
    common,
    contains,
    corners,
    matrix,
    moved,
    scales,
    times,
)
from placet_approval.content.pdf_graphics import (
    BLACK,
    LEAST_CONTRAST,
    WHITE,
    Colour,
    FileContext,
    Form,
    Graphics,
    Operands,
    Path,
    Shown,
    colour_of,
    look_alike,
    parts_of,
)
from placet_approval.content.pdf_values import array, dictionary, number, resolved

# Smaller text, in points, is not read by anybody.
LEAST_SIZE: Final = 2.0


# Paint that covers less is not seen.
LEAST_ALPHA: Final = 0.1


# Points by which text may stand over the edge of the page or of its clip.
TOLERANCE: Final = 2.0


# Widths of text are approximate: its end may stand over the edge by this share of its length.
END_TOLERANCE: Final = 0.25


# Shapes behind a text that are looked at, the last ones.
MOST_SHAPES: Final = 500


UNPAINTED = (3, 7)


STROKED_ONLY = (1, 5)


STROKED_TOO = (2, 6)


class Interpreter:
    """Follows the operators of one page."""

    def __init__(self, file: FileContext, page: int, resources: DictionaryObject, box: Box | None) -> None:
        self._file = file
        self._page = page
        self._box = box
        self._resources = resources
        self._now = Graphics(clip=box)
        self._stack: list[Graphics] = []
        self._forms: list[Form] = []
        self._text = self._line = IDENTITY
        self._path = Path()
        # For each marked part and form that is open, whether its layer is off.
        self._marked: list[bool] = []
        # Rectangles that were painted, each with its colour.
        self._shapes: list[tuple[Box, Colour]] = []
        self.shown: list[Shown] = []

    def enter(self) -> None:
        """Begins a form or image; `leave` brings back what was in force."""
        form = Form(self._now, self._stack, self._text, self._line, self._resources, self._marked)
        self._forms.append(form)
        self._now, self._stack, self._marked = copy.copy(self._now), [], list(self._marked)

    def leave(self) -> None:
        """Ends what was entered last."""
        form = self._forms.pop()
        self._now, self._stack, self._marked = form.graphics, form.stack, form.marked
        self._text, self._line, self._resources = form.text_matrix, form.line_matrix, form.resources

    def fail(self) -> None:
        """Counts an operator that makes no sense."""
        self._file.add("MALFORMED", self._page)

    # State.

    def save(self, _operands: Operands) -> None:
        self._stack.append(copy.copy(self._now))

    def restore(self, _operands: Operands) -> None:
        if self._stack:
            self._now = self._stack.pop()

    def transform(self, operands: Operands) -> None:
        self._now.ctm = times(matrix(operands), self._now.ctm)

    def extended_state(self, operands: Operands) -> None:
        state = dictionary(dictionary(self._resources.get("/ExtGState")).get(operands[0]))
        self._now.fill_alpha = number(state.get("/ca"), self._now.fill_alpha)
        self._now.stroke_alpha = number(state.get("/CA"), self._now.stroke_alpha)
        if "/SMask" in state:
            self._now.masked = resolved(state["/SMask"]) != "/None"
        font = array(state.get("/Font"))
        if font:
            # pypdf reads on with the font of before.
            self._file.add("FONT", self._page)
            self._now.font, self._now.size = self._file.font(font[0]), number(font[1])

    def fill_space(self, operands: Operands) -> None:
        self._now.fill_parts, self._now.fill = self._space(operands[0])

    def stroke_space(self, operands: Operands) -> None:
        self._now.stroke_parts, self._now.stroke = self._space(operands[0])

    def _space(self, name: Any) -> tuple[int | None, Colour]:
        parts = parts_of(dictionary(self._resources.get("/ColorSpace")).get(name, name))
        return parts, BLACK if parts is not None else None

    def fill_colour(self, operands: Operands) -> None:
        self._now.fill = colour_of(operands, self._now.fill_parts)

    def stroke_colour(self, operands: Operands) -> None:
        self._now.stroke = colour_of(operands, self._now.stroke_parts)

    # Text.

    def begin_text(self, _operands: Operands) -> None:
        self._text = self._line = IDENTITY

    def set_font(self, operands: Operands) -> None:
        self._now.font = self._file.font(dictionary(self._resources.get("/Font")).get(operands[0]))
        self._now.size = number(operands[1])

    def set_text_state(self, name: str, factor: float = 1.0) -> Callable[[Operands], None]:
        def act(operands: Operands) -> None:
            setattr(self._now, name, number(operands[0]) * factor)

        return act

    def set_mode(self, operands: Operands) -> None:
        self._now.mode = int(number(operands[0]))

    def move(self, operands: Operands) -> None:
        self._line = times((1.0, 0.0, 0.0, 1.0, number(operands[0]), number(operands[1])), self._line)
        self._text = self._line

    def move_and_lead(self, operands: Operands) -> None:
        self._now.leading = -number(operands[1])
        self.move(operands)

    def place(self, operands: Operands) -> None:
        self._text = self._line = matrix(operands)

    def next_line(self, _operands: Operands) -> None:
        self.move([0.0, -self._now.leading])

    def show(self, operands: Operands) -> None:
        self._show(operands[:1])

    def show_next(self, operands: Operands) -> None:
        self.next_line([])
        self._show(operands[:1])

    def show_spaced(self, operands: Operands) -> None:
        self._now.word_spacing, self._now.spacing = number(operands[0]), number(operands[1])
        self.next_line([])
        self._show(operands[2:3])

    def show_all(self, operands: Operands) -> None:
        self._show(array(operands[0]))

    def _show(self, pieces: Sequence[Any]) -> None:
        now = self._now
        written = b"".join(codes_of(piece) for piece in pieces)
        if now.font is not None and not now.font.is_mapped(written):
            self._file.add("FONT", self._page)
        device = times(self._text, now.ctm)
        start = end = moved(device, 0.0, now.rise + 0.3 * now.size)
        for piece in pieces:
            end = self._advance(piece)
        hidden = bool(written.strip(b" \0")) and (
            self._is_unpainted(device)
            or self._is_outside(start, end)
            or any(self._marked)
            or self._is_like_its_ground(start)
        )
        self.shown.append(Shown(start, end, hidden))

    def _advance(self, piece: Any) -> Point:
        """Moves on by a piece of text; returns the point where it ends."""
        now = self._now
        if isinstance(piece, int | float):
            width = -float(piece) / 1000 * now.size
        else:
            codes = codes_of(piece)
            letters = len(codes) / 2 if now.font is not None and now.font.is_composite else len(codes)
            width = (now.font.width(codes) if now.font is not None else 0.5 * len(codes)) * now.size
            width += letters * now.spacing + codes.count(b" ") * now.word_spacing
        self._text = times((1.0, 0.0, 0.0, 1.0, width * now.stretch, 0.0), self._text)
        return moved(times(self._text, now.ctm), 0.0, now.rise + 0.3 * now.size)

    def _is_unpainted(self, device: Matrix) -> bool:
        now = self._now
        across, up = scales(device)
        drawn = abs(now.size) * (now.font.scale if now.font is not None else 1.0)
        if drawn * up < LEAST_SIZE or drawn * across * abs(now.stretch) < LEAST_SIZE:
            return True
        if now.mode in UNPAINTED or now.masked:
            return True
        filled, stroked = now.fill_alpha >= LEAST_ALPHA, now.stroke_alpha >= LEAST_ALPHA
        if now.mode in STROKED_ONLY:
            return not stroked
        return not (filled or (now.mode in STROKED_TOO and stroked))

    def _is_outside(self, start: Point, end: Point) -> bool:
        length = abs(end[0] - start[0]) + abs(end[1] - start[1])
        over = TOLERANCE + END_TOLERANCE * length
        return not (contains(self._now.clip, start, TOLERANCE) and contains(self._now.clip, end, over))

    def _is_like_its_ground(self, start: Point) -> bool:
        now = self._now
        colours = [now.stroke] if now.mode in STROKED_ONLY else [now.fill]
        if now.mode in STROKED_TOO:
            colours.append(now.stroke)
        if None in colours:
            # A colour that is not known is not known to be visible.
            return True
        ground = self._ground(start)
        return ground is not None and all(look_alike(one, ground) for one in colours)

    def _ground(self, point: Point) -> Colour:
        """The colour behind a point; None where it is not known. The page itself is white."""
        if self._file.may_compare(len(self._shapes), self._page):
            for box, colour in reversed(self._shapes):
                if contains(box, point):
                    return colour
        return WHITE

    # Shapes and images.

    def line_to(self, operands: Operands) -> None:
        self._path.only_rectangles = False
        numbers = [number(one) for one in operands]
        self._path.points += [
            moved(self._now.ctm, x, y) for x, y in zip(numbers[::2], numbers[1::2], strict=False)
        ]

    def rectangle(self, operands: Operands) -> None:
        left, bottom, width, height = (number(one) for one in operands)
        points = corners((left, bottom, left + width, bottom + height), self._now.ctm)
        box = box_of(points)
        self._path.points += points
        if box is not None:
            self._path.rectangles.append(box)

    def clip(self, _operands: Operands) -> None:
        self._path.clips = True

    def stroke_path(self, _operands: Operands) -> None:
        self._paint()

    def fill_path(self, _operands: Operands) -> None:
        if self._path.only_rectangles:
            opaque = self._now.fill_alpha > 1 - LEAST_CONTRAST
            for box in self._path.rectangles:
                self._cover(box, self._now.fill if opaque else None, covers=opaque)
        self._paint()

    def _paint(self) -> None:
        self._file.add("DRAWING", self._page)
        self.end_path([])

    def end_path(self, _operands: Operands) -> None:
        if self._path.clips:
            # An empty path clips everything away.
            self._now.clip = common(self._now.clip, box_of(self._path.points) or (0.0, 0.0, -1.0, -1.0))
        self._path = Path()

    def shade(self, _operands: Operands) -> None:
        self._file.add("DRAWING", self._page)

    def inline_image(self, _operands: Operands) -> None:
        self._image()

    def _image(self) -> None:
        self._file.add("IMAGE", self._page)
        box = box_of(corners((0.0, 0.0, 1.0, 1.0), self._now.ctm))
        if box is not None:
            self._cover(box, None, covers=self._now.fill_alpha > 1 - LEAST_CONTRAST)

    def _cover(self, box: Box, colour: Colour, *, covers: bool) -> None:
        """Paints a rectangle: the ground of later text, and a cover of what is there already."""
        box = common(box, self._now.clip) or box
        if covers and self._file.may_compare(len(self.shown), self._page):
            for one in self.shown:
                if not one.hidden and one.start != one.end:
                    one.hidden = contains(box, one.start) or contains(box, one.end)
        self._shapes = [*self._shapes[1 - MOST_SHAPES :], (box, colour)]

    def draw(self, operands: Operands) -> None:
        """Begins to draw a form or an image, which was entered before."""
        drawn = dictionary(dictionary(self._resources.get("/XObject")).get(operands[0]))
        self._marked.append("/OC" in drawn and self._file.is_off(drawn["/OC"]))
        kind = resolved(drawn.get("/Subtype"))
        if kind == "/Image":
            self._image()
        elif kind == "/Form":
            self._resources = with_resources(drawn, self._resources)
            placed = array(drawn.get("/Matrix"))
            if placed:
                self._now.ctm = times(matrix([number(one) for one in placed]), self._now.ctm)
            bounds = [number(one) for one in array(drawn.get("/BBox"))]
            if bounds:
                left, bottom, right, top = bounds
                box = box_of(corners((left, bottom, right, top), self._now.ctm))
                self._now.clip = common(self._now.clip, box)

    # Marked content.

    def begin_marked(self, operands: Operands) -> None:
        off = False
        if len(operands) > 1 and operands[0] == "/OC":
            named = dictionary(self._resources.get("/Properties"))
            off = operands[1] not in named or self._file.is_off(named[operands[1]])
        self._marked.append(off)

    def end_marked(self, _operands: Operands) -> None:
        if self._marked:
            self._marked.pop()


def with_resources(drawn: DictionaryObject, defaults: DictionaryObject) -> DictionaryObject:
    """The resources of a page or form, in place of which it gets `defaults` where it has none.

    pypdf looks at nothing that has no resources, and takes a form's from nowhere else.
    """
    resources = dictionary(
        drawn.get("/Resources") if not isinstance(drawn, PageObject) else _inherited(drawn)
    )
    if resources:
        return resources
    given = defaults or DictionaryObject({NameObject("/ProcSet"): ArrayObject()})
    drawn[NameObject("/Resources")] = given
    return given


def _inherited(page: PageObject) -> Any:
    node: Any = page
    for _ in range(100):
        if "/Resources" in node:
            return node["/Resources"]
        if "/Parent" not in node:
            return None
        node = dictionary(node["/Parent"])
    return None


def codes_of(piece: Any) -> bytes:
    if isinstance(piece, bytes):
        return piece
    if isinstance(piece, str) and not isinstance(piece, NameObject):
        return piece.encode("latin-1", "replace")
    return b""
