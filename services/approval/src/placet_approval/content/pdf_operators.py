"""Operators of a page (ISO 32000-1, Annex A), and the calls of pypdf that lead them to the interpreter."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from pypdf.generic import NameObject

from placet_approval.content.pdf_graphics import Operands, Shown
from placet_approval.content.pdf_interpreter import Interpreter

# Operators that show text, each with the place of the text among its operands.
SHOWN_OPERAND: Final = {b"Tj": 0, b"TJ": 0, b"'": 0, b'"': 2}


class OperatorVisitor:
    """Leads each operator that pypdf processes to an interpreter."""

    def __init__(self, interpreter: Interpreter) -> None:
        self._interpreter = interpreter

    def before(self, operator: bytes, operands: Operands, _cm: object, _tm: object) -> None:
        """Called by pypdf before it processes an operator."""
        act = _OPERATORS.get(operator)
        if act is None:
            return
        shown = self._interpreter.shown
        texts = len(shown)
        if operator == b"Do":
            self._interpreter.enter()
        try:
            act(self._interpreter, operands)
        except (IndexError, TypeError, ValueError, KeyError, AttributeError, OverflowError):
            self._interpreter.fail()
        if operator in SHOWN_OPERAND and len(shown) == texts:
            # The passes that follow count each operator.
            shown.append(Shown((0.0, 0.0), (0.0, 0.0), hidden=False))

    def after(self, operator: bytes, _operands: Operands, _cm: object, _tm: object) -> None:
        """Called by pypdf after an operator, for a form after all that is in it."""
        if operator == b"Do":
            self._interpreter.leave()


def _set(name: str, factor: float = 1.0) -> Callable[[Interpreter, Operands], None]:
    return lambda interpreter, operands: interpreter.set_text_state(name, factor)(operands)


def _device(parts: int, *, stroke: bool) -> Callable[[Interpreter, Operands], None]:
    def act(interpreter: Interpreter, operands: Operands) -> None:
        space = {1: "/DeviceGray", 3: "/DeviceRGB", 4: "/DeviceCMYK"}[parts]
        if stroke:
            interpreter.stroke_space([NameObject(space)])
            interpreter.stroke_colour(operands)
        else:
            interpreter.fill_space([NameObject(space)])
            interpreter.fill_colour(operands)

    return act


_OPERATORS: Final[dict[bytes, Callable[[Interpreter, Operands], None]]] = {
    b"q": Interpreter.save,
    b"Q": Interpreter.restore,
    b"cm": Interpreter.transform,
    b"gs": Interpreter.extended_state,
    b"cs": Interpreter.fill_space,
    b"CS": Interpreter.stroke_space,
    b"sc": Interpreter.fill_colour,
    b"scn": Interpreter.fill_colour,
    b"SC": Interpreter.stroke_colour,
    b"SCN": Interpreter.stroke_colour,
    b"g": _device(1, stroke=False),
    b"rg": _device(3, stroke=False),
    b"k": _device(4, stroke=False),
    b"G": _device(1, stroke=True),
    b"RG": _device(3, stroke=True),
    b"K": _device(4, stroke=True),
    b"BT": Interpreter.begin_text,
    b"Tf": Interpreter.set_font,
    b"Tr": Interpreter.set_mode,
    b"Tz": _set("stretch", 0.01),
    b"Tc": _set("spacing"),
    b"Tw": _set("word_spacing"),
    b"TL": _set("leading"),
    b"Ts": _set("rise"),
    b"Td": Interpreter.move,
    b"TD": Interpreter.move_and_lead,
    b"Tm": Interpreter.place,
    b"T*": Interpreter.next_line,
    b"Tj": Interpreter.show,
    b"'": Interpreter.show_next,
    b'"': Interpreter.show_spaced,
    b"TJ": Interpreter.show_all,
    b"m": Interpreter.line_to,
    b"l": Interpreter.line_to,
    b"c": Interpreter.line_to,
    b"v": Interpreter.line_to,
    b"y": Interpreter.line_to,
    b"re": Interpreter.rectangle,
    b"W": Interpreter.clip,
    b"W*": Interpreter.clip,
    b"n": Interpreter.end_path,
    b"S": Interpreter.stroke_path,
    b"s": Interpreter.stroke_path,
    **dict.fromkeys((b"f", b"F", b"f*", b"B", b"B*", b"b", b"b*"), Interpreter.fill_path),
    b"sh": Interpreter.shade,
    b"INLINE IMAGE": Interpreter.inline_image,
    b"Do": Interpreter.draw,
    b"BMC": Interpreter.begin_marked,
    b"BDC": Interpreter.begin_marked,
    b"EMC": Interpreter.end_marked,
}
