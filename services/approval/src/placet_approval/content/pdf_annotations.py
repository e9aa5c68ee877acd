"""Form fields and annotations of a PDF (ISO 32000-1, 12.5 and 12.7): what they say and how they look."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from pypdf import PageObject
from pypdf.generic import DictionaryObject, NameObject, StreamObject

from placet_approval.content.gaps import Gaps
from placet_approval.content.pdf_actions import count_actions
from placet_approval.content.pdf_page import PageReader
from placet_approval.content.pdf_values import (
    MOST_ENTRIES,
    array,
    dictionary,
    flags,
    number,
    resolved,
    text,
    tree,
)

# Flags of an annotation that keep it from view: hidden, no view.
_UNSEEN: Final = (1 << 1) | (1 << 5)
# Annotations that hold a file, sound, film or model.
_MEDIA: Final = ("/FileAttachment", "/Sound", "/Movie", "/Screen", "/RichMedia", "/3D")
# Annotations that a viewer draws by itself where they bring no appearance.
_DRAWN: Final = (
    *("/Line", "/Square", "/Circle", "/Polygon", "/PolyLine", "/Ink", "/Stamp", "/Caret", "/Redact"),
    *("/Highlight", "/Underline", "/StrikeOut", "/Squiggly"),
)
# Windows of other annotations, which say the same.
_WINDOW: Final = "/Popup"
_MOST_NAME: Final = 100
_TAG = re.compile(r"<[^<>]*>")


def marked(label: str, words: Iterable[str]) -> list[str]:
    """Lines behind a label, which stands before each, so that no line passes for text of the page."""
    name = re.sub(r"[\s\[\]]+", " ", label).strip()[:_MOST_NAME]
    return [
        f"[{name}] {line}" for word in words for line in (one.strip() for one in word.splitlines()) if line
    ]


class FormFields:
    """The fields of a form: their values, whether a page shows them or not."""

    def __init__(self, catalog: DictionaryObject, gaps: Gaps) -> None:
        """Raises ValueError where there are too many."""
        form = dictionary(catalog.get("/AcroForm"))
        self.resources = dictionary(form.get("/DR"))
        self.lines: list[str] = []
        self._values: set[str] = set()
        if "/XFA" in form:
            gaps.add("XML_FORM")
        for field, above in tree(form.get("/Fields"), "/Kids"):
            gaps.add("ACTION", count=count_actions(field))
            if "/V" in field:
                self._add(field, above, gaps)

    def has(self, words: str) -> bool:
        """Tells whether some field's value says the same."""
        return _letters(words) in self._values

    def _add(self, field: DictionaryObject, above: Sequence[DictionaryObject], gaps: Gaps) -> None:
        value = _value(field, above)
        if not value.strip():
            return
        name = ".".join(text(one.get("/T")) for one in (*above, field) if "/T" in one) or "without a name"
        label = f"form field {name}"
        if not _is_seen(field):
            gaps.add("NOT_VISIBLE")
            label = f"not visible, {label}"
        self._values |= {_letters(value), _letters(text(field["/V"]))}
        self.lines += marked(label, [value])


def annotation_lines(
    reader: PageReader, page: PageObject, number: int, fields: FormFields, gaps: Gaps
) -> Iterator[str]:
    """The lines of a page's annotations, each marked. Raises ValueError where there are too many."""
    annotations = array(page.get("/Annots"))
    if len(annotations) > MOST_ENTRIES:
        raise ValueError("the page has too many annotations")
    for one in annotations:
        annotation = dictionary(one)
        kind = str(resolved(annotation.get("/Subtype")) or "")
        if kind == _WINDOW:
            continue
        if kind in _MEDIA:
            gaps.add("ATTACHMENT", number)
        gaps.add("ACTION", number, count_actions(annotation))
        yield from _lines(reader, page, number, fields, gaps, annotation, kind)


def _lines(
    reader: PageReader,
    page: PageObject,
    number: int,
    fields: FormFields,
    gaps: Gaps,
    annotation: DictionaryObject,
    kind: str,
) -> Iterator[str]:
    words = [text(annotation.get("/Contents")), _TAG.sub(" ", text(annotation.get("/RC")))]
    target = dictionary(annotation.get("/A")).get("/URI")
    look = _appearance(annotation)
    hidden: Sequence[str] = ()
    if look is not None:
        shown = reader.appearance(page, look, number, fields.resources)
        words, hidden = [shown.visible, *words], shown.hidden
    elif kind in _DRAWN:
        gaps.add("DRAWING", number)
    label = f"annotation on page {number}"
    if kind == "/Widget":
        label = f"form field on page {number}, as it looks"
        words += [text(one.get("/V")) for one in (annotation, dictionary(annotation.get("/Parent")))]
        words.append(text(dictionary(annotation.get("/MK")).get("/CA")))
        words = [one for one in words if one != "Off" and not fields.has(one)]
    unseen = bool(flags(annotation.get("/F")) & _UNSEEN)
    if unseen and any(one.strip() for one in words):
        gaps.add("NOT_VISIBLE", number)
    yield from marked(f"not visible, {label}" if unseen else label, _once(words))
    yield from marked(f"not visible, {label}", hidden)
    yield from marked(f"link on page {number}", [text(target)])


def _appearance(annotation: DictionaryObject) -> StreamObject | None:
    """The normal appearance, in the annotation's state where there are several."""
    normal = resolved(dictionary(annotation.get("/AP")).get("/N"))
    if isinstance(normal, DictionaryObject) and not isinstance(normal, StreamObject):
        normal = resolved(normal.get(resolved(annotation.get("/AS"))))
    return normal if isinstance(normal, StreamObject) else None


def _value(field: DictionaryObject, above: Sequence[DictionaryObject]) -> str:
    value = resolved(field["/V"])
    kind = next((resolved(one["/FT"]) for one in (field, *reversed(above)) if "/FT" in one), None)
    if kind == "/Sig":
        return "a signature, which was not verified"
    if kind == "/Btn" or isinstance(value, NameObject):
        return "" if value == "/Off" else text(value)
    # A choice shows another text than its value says, where the options are pairs.
    pairs = [array(one) for one in array(field.get("/Opt"))]
    shown = {text(pair[0]): text(pair[1]) for pair in pairs if len(pair) == 2}
    said = text(value)
    return f"{shown[said]} ({said})" if shown.get(said, said) != said else said


def _is_seen(field: DictionaryObject) -> bool:
    """Tells whether some place on a page shows a field."""
    kids = [dictionary(one) for one in array(field.get("/Kids"))]
    places = [one for one in (field, *kids) if resolved(one.get("/Subtype")) == "/Widget"]
    return any(not flags(one.get("/F")) & _UNSEEN and _has_room(one) for one in places)


def _has_room(widget: DictionaryObject) -> bool:
    sides = [number(one) for one in array(widget.get("/Rect"))]
    return len(sides) == 4 and sides[0] != sides[2] and sides[1] != sides[3]


def _letters(words: str) -> str:
    return "".join(words.split())


def _once(words: Iterable[str]) -> list[str]:
    """The texts without those that say what another has said."""
    found: dict[str, Any] = {}
    for word in words:
        found.setdefault(_letters(word), word)
    return list(found.values())
