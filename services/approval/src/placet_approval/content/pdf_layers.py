"""Layers of a PDF (optional content, ISO 32000-1, 8.11), and which of them are not shown at first."""

from __future__ import annotations

from typing import Any

from pypdf.generic import DictionaryObject

from placet_approval.content.pdf_values import array, dictionary


class Layers:
    """The layers of one file."""

    def __init__(self, catalog: DictionaryObject) -> None:
        properties = dictionary(catalog.get("/OCProperties"))
        self.count = len(array(properties.get("/OCGs")))
        shown = dictionary(properties.get("/D"))
        self._off_at_first = shown.get("/BaseState", "/ON") != "/ON"
        self._on = {id(dictionary(one)) for one in array(shown.get("/ON"))}
        self._off = {id(dictionary(one)) for one in array(shown.get("/OFF"))}
        # Kept, so that no identity above is given to another object.
        self._kept = (properties, shown)

    def is_off(self, layer: Any) -> bool:  # Any: a PDF's value is of any type
        """Tells whether what belongs to a layer is not shown at first, or may not be."""
        found = dictionary(layer)
        if found.get("/Type") == "/OCMD":
            # A membership may combine several: one that is off is enough to doubt it.
            groups = found.get("/OCGs")
            several = array(groups) or [groups]
            return "/VE" in found or any(self.is_off(one) for one in several if dictionary(one))
        if id(found) in self._off:
            return True
        return self._off_at_first and id(found) not in self._on
