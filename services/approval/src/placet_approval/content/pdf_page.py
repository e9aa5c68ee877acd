"""Text of a page: what the page shows, and what is in it but not to be seen.

pypdf extracts the text and calls back for each operator of the page. From these calls this module follows
the graphics state (ISO 32000-1, 8.4 and 9.3) and judges each piece of text. Where some is not visible, the
page is extracted twice more: without the hidden pieces, and with them alone.

A text is not visible when it is drawn without paint, in the colour of what lies behind it, transparent,
smaller than LEAST_SIZE, outside of the page or its clip, covered later on, or in a layer that is off. The
judgement is made from rectangles: shapes of other forms are reported as drawings in any case.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from pypdf import PageObject
from pypdf.generic import (
    ArrayObject,
    ByteStringObject,
    DictionaryObject,
    NameObject,
    StreamObject,
)

from placet_approval.content.gaps import Gaps
from placet_approval.content.pdf_fonts import Font, font_of
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
from placet_approval.content.pdf_layers import Layers
from placet_approval.content.pdf_values import array, dictionary, number, resolved

# Smaller text, in points, is not read by anybody.
LEAST_SIZE: Final = 2.0
# Colours that differ by less in each part look alike.
LEAST_CONTRAST: Final = 0.15
# Paint that covers less is not seen.
LEAST_ALPHA: Final = 0.1
# Points by which text may stand over the edge of the page or of its clip.
TOLERANCE: Final = 2.0
# Widths of text are approximate: its end may stand over the edge by this share of its length.
END_TOLERANCE: Final = 0.25
# Comparisons of texts with shapes, in one file.
MOST_COMPARISONS: Final = 1_000_000
# Shapes behind a text that are looked at, the last ones.
MOST_SHAPES: Final = 500

_UNPAINTED = (3, 7)
_STROKED_ONLY = (1, 5)
_STROKED_TOO = (2, 6)

# Red, green and blue in [0, 1]; None: not known.
Colour = tuple[float, float, float] | None
_BLACK: Final[Colour] = (0.0, 0.0, 0.0)
_WHITE: Final[Colour] = (1.0, 1.0, 1.0)

Operands = list[Any]  # Any: a PDF's value is of any type


@dataclass(frozen=True)
class PageText:
    """The text that a page shows, and the lines of what it does not show."""

    visible: str
    hidden: tuple[str, ...]


@dataclass
class _Graphics:
    """The graphics state, as far as it decides on visibility."""

    ctm: Matrix = IDENTITY
    clip: Box | None = None
    fill: Colour = _BLACK
    stroke: Colour = _BLACK
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
class _Shown:
    """One text operator: where its text begins and ends, and the verdict."""

    start: Point
    end: Point
    hidden: bool


@dataclass
class _Form:
    """A form that is being drawn, and what was in force before it."""

    graphics: _Graphics
    stack: list[_Graphics]
    text_matrix: Matrix
    line_matrix: Matrix
    resources: DictionaryObject
    marked: list[bool]


@dataclass
class _Path:
    points: list[Point] = field(default_factory=list)
    rectangles: list[Box] = field(default_factory=list)
    only_rectangles: bool = True
    clips: bool = False


class PageReader:
    """Reads pages of one file, and counts in `gaps` what on them is no text."""

    def __init__(self, gaps: Gaps, layers: Layers) -> None:
        self._gaps = gaps
        self._layers = layers
        # By identity, with the resource, so that its identity is given to no other object.
        self._fonts: dict[int, tuple[Any, Font | None]] = {}
        self._comparisons = 0

    def page(self, page: PageObject, number: int) -> PageText:
        """The text of a page."""
        resources = _with_resources(page, DictionaryObject())
        box = common(_box(page.mediabox), _box(page.cropbox))

        def extract(visitor: Callable[..., None], after: Callable[..., None]) -> str:
            return page.extract_text(visitor_operand_before=visitor, visitor_operand_after=after)

        return self._read(extract, number, resources, box)

    def appearance(
        self, page: PageObject, form: StreamObject, number: int, defaults: DictionaryObject
    ) -> PageText:
        """The text of an annotation's appearance. `defaults`: resources in place of those that it lacks."""
        resources = _with_resources(form, defaults)

        def extract(visitor: Callable[..., None], after: Callable[..., None]) -> str:
            return page.extract_xform_text(form, visitor_operand_before=visitor, visitor_operand_after=after)

        return self._read(extract, number, resources, None)

    def _read(
        self,
        extract: Callable[[Callable[..., None], Callable[..., None]], str],
        number: int,
        resources: DictionaryObject,
        box: Box | None,
    ) -> PageText:
        interpreter = _Interpreter(self, number, resources, box)
        text = extract(interpreter.before, interpreter.after)
        hidden = [one.hidden for one in interpreter.shown]
        if not any(hidden):
            return PageText(text, ())
        self._gaps.add("NOT_VISIBLE", number, sum(hidden))
        visible = extract(_Blanking(hidden).before, _nothing)
        only_hidden = extract(_Blanking([not one for one in hidden]).before, _nothing)
        lines = (line.strip() for line in only_hidden.splitlines())
        return PageText(visible, tuple(line for line in lines if line))

    def add(self, kind: Any, number: int) -> None:
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


class _Interpreter:
    """Follows the operators of one page."""

    def __init__(self, reader: PageReader, page: int, resources: DictionaryObject, box: Box | None) -> None:
        self._reader = reader
        self._page = page
        self._box = box
        self._resources = resources
        self._now = _Graphics(clip=box)
        self._stack: list[_Graphics] = []
        self._forms: list[_Form] = []
        self._text = self._line = IDENTITY
        self._path = _Path()
        # For each marked part and form that is open, whether its layer is off.
        self._marked: list[bool] = []
        # Rectangles that were painted, each with its colour.
        self._shapes: list[tuple[Box, Colour]] = []
        self.shown: list[_Shown] = []

    def before(self, operator: bytes, operands: Operands, _cm: object, _tm: object) -> None:
        """Called by pypdf before it processes an operator."""
        act = _OPERATORS.get(operator)
        if act is None:
            return
        texts = len(self.shown)
        if operator == b"Do":
            self._enter()
        try:
            act(self, operands)
        except (IndexError, TypeError, ValueError, KeyError, AttributeError, OverflowError):
            self._reader.add("MALFORMED", self._page)
        if operator in _SHOWN_OPERAND and len(self.shown) == texts:
            # The passes that follow count each operator.
            self.shown.append(_Shown((0.0, 0.0), (0.0, 0.0), hidden=False))

    def after(self, operator: bytes, _operands: Operands, _cm: object, _tm: object) -> None:
        """Called by pypdf after an operator, for a form after all that is in it."""
        if operator == b"Do":
            form = self._forms.pop()
            self._now, self._stack, self._marked = form.graphics, form.stack, form.marked
            self._text, self._line, self._resources = form.text_matrix, form.line_matrix, form.resources

    def _enter(self) -> None:
        form = _Form(self._now, self._stack, self._text, self._line, self._resources, self._marked)
        self._forms.append(form)
        self._now, self._stack, self._marked = copy.copy(self._now), [], list(self._marked)

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
            self._reader.add("FONT", self._page)
            self._now.font, self._now.size = self._reader.font(font[0]), number(font[1])

    def fill_space(self, operands: Operands) -> None:
        self._now.fill_parts, self._now.fill = self._space(operands[0])

    def stroke_space(self, operands: Operands) -> None:
        self._now.stroke_parts, self._now.stroke = self._space(operands[0])

    def _space(self, name: Any) -> tuple[int | None, Colour]:
        parts = _parts_of(dictionary(self._resources.get("/ColorSpace")).get(name, name))
        return parts, _BLACK if parts is not None else None

    def fill_colour(self, operands: Operands) -> None:
        self._now.fill = _colour(operands, self._now.fill_parts)

    def stroke_colour(self, operands: Operands) -> None:
        self._now.stroke = _colour(operands, self._now.stroke_parts)

    # Text.

    def begin_text(self, _operands: Operands) -> None:
        self._text = self._line = IDENTITY

    def set_font(self, operands: Operands) -> None:
        self._now.font = self._reader.font(dictionary(self._resources.get("/Font")).get(operands[0]))
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
        written = b"".join(_codes(piece) for piece in pieces)
        if now.font is not None and not now.font.is_mapped(written):
            self._reader.add("FONT", self._page)
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
        self.shown.append(_Shown(start, end, hidden))

    def _advance(self, piece: Any) -> Point:
        """Moves on by a piece of text; returns the point where it ends."""
        now = self._now
        if isinstance(piece, int | float):
            width = -float(piece) / 1000 * now.size
        else:
            codes = _codes(piece)
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
        if now.mode in _UNPAINTED or now.masked:
            return True
        filled, stroked = now.fill_alpha >= LEAST_ALPHA, now.stroke_alpha >= LEAST_ALPHA
        if now.mode in _STROKED_ONLY:
            return not stroked
        return not (filled or (now.mode in _STROKED_TOO and stroked))

    def _is_outside(self, start: Point, end: Point) -> bool:
        length = abs(end[0] - start[0]) + abs(end[1] - start[1])
        over = TOLERANCE + END_TOLERANCE * length
        return not (contains(self._now.clip, start, TOLERANCE) and contains(self._now.clip, end, over))

    def _is_like_its_ground(self, start: Point) -> bool:
        now = self._now
        colours = [now.stroke] if now.mode in _STROKED_ONLY else [now.fill]
        if now.mode in _STROKED_TOO:
            colours.append(now.stroke)
        if None in colours:
            # A colour that is not known is not known to be visible.
            return True
        ground = self._ground(start)
        return ground is not None and all(_look_alike(one, ground) for one in colours)

    def _ground(self, point: Point) -> Colour:
        """The colour behind a point; None where it is not known. The page itself is white."""
        if self._reader.may_compare(len(self._shapes), self._page):
            for box, colour in reversed(self._shapes):
                if contains(box, point):
                    return colour
        return _WHITE

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
        self._reader.add("DRAWING", self._page)
        self.end_path([])

    def end_path(self, _operands: Operands) -> None:
        if self._path.clips:
            # An empty path clips everything away.
            self._now.clip = common(self._now.clip, box_of(self._path.points) or (0.0, 0.0, -1.0, -1.0))
        self._path = _Path()

    def shade(self, _operands: Operands) -> None:
        self._reader.add("DRAWING", self._page)

    def inline_image(self, _operands: Operands) -> None:
        self._image()

    def _image(self) -> None:
        self._reader.add("IMAGE", self._page)
        box = box_of(corners((0.0, 0.0, 1.0, 1.0), self._now.ctm))
        if box is not None:
            self._cover(box, None, covers=self._now.fill_alpha > 1 - LEAST_CONTRAST)

    def _cover(self, box: Box, colour: Colour, *, covers: bool) -> None:
        """Paints a rectangle: the ground of later text, and a cover of what is there already."""
        box = common(box, self._now.clip) or box
        if covers and self._reader.may_compare(len(self.shown), self._page):
            for one in self.shown:
                if not one.hidden and one.start != one.end:
                    one.hidden = contains(box, one.start) or contains(box, one.end)
        self._shapes = [*self._shapes[1 - MOST_SHAPES :], (box, colour)]

    def draw(self, operands: Operands) -> None:
        """Draws a form or an image; `after` is called at its end."""
        drawn = dictionary(dictionary(self._resources.get("/XObject")).get(operands[0]))
        self._marked.append("/OC" in drawn and self._reader.is_off(drawn["/OC"]))
        kind = resolved(drawn.get("/Subtype"))
        if kind == "/Image":
            self._image()
        elif kind == "/Form":
            self._resources = _with_resources(drawn, self._resources)
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
            off = operands[1] not in named or self._reader.is_off(named[operands[1]])
        self._marked.append(off)

    def end_marked(self, _operands: Operands) -> None:
        if self._marked:
            self._marked.pop()


# Operators that show text, each with the place of the text among its operands.
_SHOWN_OPERAND: Final = {b"Tj": 0, b"TJ": 0, b"'": 0, b'"': 2}


class _Blanking:
    """Empties some of the text operators before pypdf processes them; all others stay as they are."""

    def __init__(self, blank: Sequence[bool]) -> None:
        self._blank = iter(blank)

    def before(self, operator: bytes, operands: Operands, _cm: object, _tm: object) -> None:
        """Called by pypdf before it processes an operator, with the operands that it will process."""
        place = _SHOWN_OPERAND.get(operator)
        if place is not None and next(self._blank, False) and place < len(operands):
            operands[place] = ArrayObject() if operator == b"TJ" else ByteStringObject(b"")


def _nothing(*_: object) -> None:
    pass


def _set(name: str, factor: float = 1.0) -> Callable[[_Interpreter, Operands], None]:
    return lambda interpreter, operands: interpreter.set_text_state(name, factor)(operands)


def _device(parts: int, *, stroke: bool) -> Callable[[_Interpreter, Operands], None]:
    def act(interpreter: _Interpreter, operands: Operands) -> None:
        space = {1: "/DeviceGray", 3: "/DeviceRGB", 4: "/DeviceCMYK"}[parts]
        if stroke:
            interpreter.stroke_space([NameObject(space)])
            interpreter.stroke_colour(operands)
        else:
            interpreter.fill_space([NameObject(space)])
            interpreter.fill_colour(operands)

    return act


_OPERATORS: Final[dict[bytes, Callable[[_Interpreter, Operands], None]]] = {
    b"q": _Interpreter.save,
    b"Q": _Interpreter.restore,
    b"cm": _Interpreter.transform,
    b"gs": _Interpreter.extended_state,
    b"cs": _Interpreter.fill_space,
    b"CS": _Interpreter.stroke_space,
    b"sc": _Interpreter.fill_colour,
    b"scn": _Interpreter.fill_colour,
    b"SC": _Interpreter.stroke_colour,
    b"SCN": _Interpreter.stroke_colour,
    b"g": _device(1, stroke=False),
    b"rg": _device(3, stroke=False),
    b"k": _device(4, stroke=False),
    b"G": _device(1, stroke=True),
    b"RG": _device(3, stroke=True),
    b"K": _device(4, stroke=True),
    b"BT": _Interpreter.begin_text,
    b"Tf": _Interpreter.set_font,
    b"Tr": _Interpreter.set_mode,
    b"Tz": _set("stretch", 0.01),
    b"Tc": _set("spacing"),
    b"Tw": _set("word_spacing"),
    b"TL": _set("leading"),
    b"Ts": _set("rise"),
    b"Td": _Interpreter.move,
    b"TD": _Interpreter.move_and_lead,
    b"Tm": _Interpreter.place,
    b"T*": _Interpreter.next_line,
    b"Tj": _Interpreter.show,
    b"'": _Interpreter.show_next,
    b'"': _Interpreter.show_spaced,
    b"TJ": _Interpreter.show_all,
    b"m": _Interpreter.line_to,
    b"l": _Interpreter.line_to,
    b"c": _Interpreter.line_to,
    b"v": _Interpreter.line_to,
    b"y": _Interpreter.line_to,
    b"re": _Interpreter.rectangle,
    b"W": _Interpreter.clip,
    b"W*": _Interpreter.clip,
    b"n": _Interpreter.end_path,
    b"S": _Interpreter.stroke_path,
    b"s": _Interpreter.stroke_path,
    **dict.fromkeys((b"f", b"F", b"f*", b"B", b"B*", b"b", b"b*"), _Interpreter.fill_path),
    b"sh": _Interpreter.shade,
    b"INLINE IMAGE": _Interpreter.inline_image,
    b"Do": _Interpreter.draw,
    b"BMC": _Interpreter.begin_marked,
    b"BDC": _Interpreter.begin_marked,
    b"EMC": _Interpreter.end_marked,
}


def _with_resources(drawn: DictionaryObject, defaults: DictionaryObject) -> DictionaryObject:
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


def _box(found: Sequence[Any]) -> Box:
    left, bottom, right, top = (number(one) for one in found)
    return min(left, right), min(bottom, top), max(left, right), max(bottom, top)


def _codes(piece: Any) -> bytes:
    if isinstance(piece, bytes):
        return piece
    if isinstance(piece, str) and not isinstance(piece, NameObject):
        return piece.encode("latin-1", "replace")
    return b""


def _parts_of(space: Any) -> int | None:
    """The number of parts of a colour in this space; None for one whose colours are not known."""
    found = resolved(space)
    family = resolved(found[0]) if isinstance(found, ArrayObject) and found else found
    if family == "/ICCBased":
        parts = int(number(dictionary(found[1]).get("/N")))
        return parts if parts in (1, 3, 4) else None
    known = {"/DeviceGray": 1, "/CalGray": 1, "/DeviceRGB": 3, "/CalRGB": 3, "/DeviceCMYK": 4}
    return known.get(family) if isinstance(family, str) else None


def _colour(operands: Operands, parts: int | None) -> Colour:
    if parts is None or len(operands) != parts:
        return None
    numbers = [min(1.0, max(0.0, number(one))) for one in operands]
    if parts == 1:
        return numbers[0], numbers[0], numbers[0]
    if parts == 3:
        return numbers[0], numbers[1], numbers[2]
    cyan, magenta, yellow, black = numbers
    return (1 - cyan) * (1 - black), (1 - magenta) * (1 - black), (1 - yellow) * (1 - black)


def _look_alike(one: Colour, other: Colour) -> bool:
    if one is None or other is None:
        return False
    return all(abs(a - b) < LEAST_CONTRAST for a, b in zip(one, other, strict=True))
