"""Text of a page: what the page shows, and what is in it but not to be seen.

pypdf extracts the text and calls back for each operator of the page; the interpreter judges each piece of
text from these calls. Where some is not visible, the page is extracted twice more: without the hidden pieces,
and with them alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

from pypdf import PageObject
from pypdf.generic import ArrayObject, ByteStringObject, DictionaryObject, EncodedStreamObject, StreamObject

from placet_approval.content.gaps import Gaps
from placet_approval.content.pdf_geometry import Box, common
from placet_approval.content.pdf_graphics import FileContext, Operands
from placet_approval.content.pdf_interpreter import Interpreter, with_resources
from placet_approval.content.pdf_layers import Layers
from placet_approval.content.pdf_operators import SHOWN_OPERAND, OperatorVisitor
from placet_approval.content.pdf_values import number


@dataclass(frozen=True)
class PageText:
    """The text that a page shows, and the lines of what it does not show."""

    visible: str
    hidden: tuple[str, ...]


class PageReader:
    """Reads pages of one file, and counts in `gaps` what on them is no text."""

    def __init__(self, gaps: Gaps, layers: Layers) -> None:
        self._gaps = gaps
        self._file = FileContext(gaps, layers)

    def page(self, page: PageObject, number: int) -> PageText:
        """The text of a page."""
        resources = with_resources(page, DictionaryObject())
        box = common(sides(page.mediabox), sides(page.cropbox))

        def extract(visitor: Callable[..., None], after: Callable[..., None]) -> str:
            return page.extract_text(visitor_operand_before=visitor, visitor_operand_after=after)

        return self._read(extract, number, resources, box)

    def appearance(
        self, page: PageObject, form: StreamObject, number: int, defaults: DictionaryObject
    ) -> PageText:
        """The text of an annotation's appearance. `defaults`: resources in place of those that it lacks."""
        resources = with_resources(form, defaults)

        def extract(visitor: Callable[..., None], after: Callable[..., None]) -> str:
            # pypdf reads any stream in this place; its types name one kind of them.
            stream = cast(EncodedStreamObject, form)
            return page.extract_xform_text(
                stream, visitor_operand_before=visitor, visitor_operand_after=after
            )

        return self._read(extract, number, resources, None)

    def _read(
        self,
        extract: Callable[[Callable[..., None], Callable[..., None]], str],
        number: int,
        resources: DictionaryObject,
        box: Box | None,
    ) -> PageText:
        interpreter = Interpreter(self._file, number, resources, box)
        visitor = OperatorVisitor(interpreter)
        text = extract(visitor.before, visitor.after)
        hidden = [one.hidden for one in interpreter.shown]
        if not any(hidden):
            return PageText(text, ())
        self._gaps.add("NOT_VISIBLE", number, sum(hidden))
        visible = extract(_Blanking(hidden).before, _nothing)
        only_hidden = extract(_Blanking([not one for one in hidden]).before, _nothing)
        lines = (line.strip() for line in only_hidden.splitlines())
        return PageText(visible, tuple(line for line in lines if line))


class _Blanking:
    """Empties some of the text operators before pypdf processes them; all others stay as they are."""

    def __init__(self, blank: Sequence[bool]) -> None:
        self._blank = iter(blank)

    def before(self, operator: bytes, operands: Operands, _cm: object, _tm: object) -> None:
        """Called by pypdf before it processes an operator, with the operands that it will process."""
        place = SHOWN_OPERAND.get(operator)
        if place is not None and next(self._blank, False) and place < len(operands):
            operands[place] = ArrayObject() if operator == b"TJ" else ByteStringObject(b"")


def _nothing(*_: object) -> None:
    pass


def sides(found: Sequence[Any]) -> Box:
    left, bottom, right, top = (number(one) for one in found)
    return min(left, right), min(bottom, top), max(left, right), max(bottom, top)
