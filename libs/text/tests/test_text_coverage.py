"""Unread parts are named in words that fit their number and place."""

from __future__ import annotations

from placet_text import NOT_WHOLE, coverage_words


def test_nothing_is_said_of_what_was_read_whole() -> None:
    assert coverage_words(whole=True, gaps=[]) == []


def test_each_gap_is_a_sentence_behind_the_heading() -> None:
    gaps = [("IMAGE", 1, 2), ("DRAWING", 1200, 1), ("ATTACHMENT", 1, 0), ("REVISION", 2, 0)]
    assert coverage_words(whole=False, gaps=gaps) == [
        NOT_WHOLE,
        "1 image was not read, on page 2.",
        "1,200 drawings (lines or shapes, which may show letters) were not read, first on page 1.",
        "1 embedded file was not read.",
        "2 earlier revisions in the same file were not read.",
    ]


def test_a_kind_of_a_newer_service_and_an_unknown_coverage_are_said_too() -> None:
    assert coverage_words(whole=True, gaps=[("SMELL", 1, 0)]) == [NOT_WHOLE, "1 other part was not read."]
    assert coverage_words(whole=False, gaps=[]) == [NOT_WHOLE, "It is not known what of it was read."]
