"""Actions of a PDF (ISO 32000-1, 12.6) that do something else than show another place."""

from __future__ import annotations

from typing import Any, Final

from pypdf.generic import DictionaryObject

from placet_approval.content.pdf_values import array, dictionary, resolved

_HARMLESS: Final = ("/GoTo", "/URI", "/Named", "/Thread")
_MOST_CHAINED: Final = 100


def count_actions(owner: DictionaryObject) -> int:
    """The number of actions of a catalog, page, annotation or field, of its own and by events."""
    own = [owner.get(key) for key in ("/A", "/OpenAction")]
    return sum(_count(one) for one in [*own, *dictionary(owner.get("/AA")).values()])


def _count(action: Any) -> int:  # Any: a PDF's value is of any type
    waiting, seen = [action], 0
    found = 0
    while waiting and seen < _MOST_CHAINED:
        one, seen = dictionary(waiting.pop()), seen + 1
        if "/S" in one:
            found += resolved(one["/S"]) not in _HARMLESS
            waiting += [one.get("/Next"), *array(one.get("/Next"))]
    return found
