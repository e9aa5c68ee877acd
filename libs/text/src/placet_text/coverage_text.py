"""The wording of what of a content was not read, for terminals and mails."""

from __future__ import annotations

from collections.abc import Iterable

NOT_WHOLE = "Careful: not all of this content was read, or is visible in it."
_UNKNOWN_COVERAGE = "It is not known what of it was read."

# By the names of GapKind in the contract of events: one of them, and several.
_WORDS = {
    "IMAGE": ("image was not read", "images were not read"),
    "DRAWING": (
        "drawing (lines or shapes, which may show letters) was not read",
        "drawings (lines or shapes, which may show letters) were not read",
    ),
    "FONT": (
        "piece of text may say something else: its font does not tell its letters",
        "pieces of text may say something else: their fonts do not tell their letters",
    ),
    "NOT_VISIBLE": (
        "piece of text is not visible in the document as it is shown",
        "pieces of text are not visible in the document as it is shown",
    ),
    "LAYER": ("layer can be shown or hidden by a viewer", "layers can be shown or hidden by a viewer"),
    "ATTACHMENT": ("embedded file was not read", "embedded files were not read"),
    "XML_FORM": (
        "XML form, which some viewers show in place of the pages, was not read",
        "XML forms, which some viewers show in place of the pages, were not read",
    ),
    "ACTION": ("script or action was not read", "scripts or actions were not read"),
    "REVISION": (
        "earlier revision in the same file was not read",
        "earlier revisions in the same file were not read",
    ),
    "MALFORMED": (
        "part does not follow the format: other programs may show it differently",
        "parts do not follow the format: other programs may show them differently",
    ),
    "BINARY": ("binary change was not read", "binary changes were not read"),
    "LIMIT": (
        "page holds too much for its visibility to be judged",
        "pages hold too much for their visibility to be judged",
    ),
}
_OTHER = ("other part was not read", "other parts were not read")


def coverage_words(*, whole: bool, gaps: Iterable[tuple[str, int, int]]) -> list[str]:
    """Words what of a content was not read, a heading first; empty if it was read whole.

    A gap is the name of its kind, the number of its places, and its first page (0: none). A kind of a newer
    service is shown all the same.
    """
    found = [_gap_words(*gap) for gap in gaps]
    if whole and not found:
        return []
    return [NOT_WHOLE, *(found or [_UNKNOWN_COVERAGE])]


def _gap_words(kind: str, count: int, first_page: int) -> str:
    one, several = _WORDS.get(kind, _OTHER)
    where = f", first on page {first_page:,}" if first_page and count > 1 else ""
    where = where or (f", on page {first_page:,}" if first_page else "")
    return f"{count:,} {one if count == 1 else several}{where}."
