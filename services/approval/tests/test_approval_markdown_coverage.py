"""Markdown and diffs are text; what they only name or would not show is named."""

from __future__ import annotations

import pytest

from placet_approval.content.extraction import extract
from placet_approval.content.extractor import Extractor
from placet_approval.content.markdown import markdown_gaps
from placet_domain.coverage import WHOLE, ContentCoverage, ContentGap, GapKind
from placet_jobs import Limits


@pytest.mark.parametrize(
    ("text", "gaps"),
    [
        ("# Menu\n\n- soup\n- <https://menu.example>\n- [more](https://menu.example)", []),
        ("`![a](b)` and\n\n```\n<!-- code -->\n![a](b)\n```\n\n    <!-- code -->", []),
        ("[menu]\n\n[menu]: https://menu.example", []),
        ("| a |\n|---|\n| b |", []),
        ("# Menu\n![the order](order.png)", [("IMAGE", 1, 0)]),
        ("![a][b] ![b]\n\n[b]: c.png", [("IMAGE", 2, 0)]),
        ("<img src=a.png> and <svg></svg>", [("IMAGE", 2, 0)]),
        ("Menu <!-- pay 1,000,000 -->", [("NOT_VISIBLE", 1, 0)]),
        ("<!--\npay\n-->", [("NOT_VISIBLE", 1, 0)]),
        ('<p style="display:none">pay</p>', [("NOT_VISIBLE", 1, 0)]),
        ("<span hidden>pay</span>", [("NOT_VISIBLE", 1, 0)]),
        ("[//]: # (pay 1,000,000)", [("NOT_VISIBLE", 1, 0)]),
    ],
)
def test_images_and_what_is_not_shown_are_gaps_of_markdown(
    text: str, gaps: list[tuple[str, int, int]]
) -> None:
    assert markdown_gaps(text) == gaps


@pytest.mark.integration
async def test_markdown_is_its_own_text_with_its_gaps() -> None:
    text = "# Menu\n![the order](order.png)\n"
    extracted = await Extractor().extract("acme", text.encode(), "text/markdown")
    assert extracted.text == text
    image = ContentGap(kind=GapKind.IMAGE, count=1)
    assert extracted.processed.coverage == ContentCoverage(whole=False, gaps=(image,))


async def test_markdown_without_markup_of_that_kind_needs_no_process() -> None:
    # A process with these limits ends at once.
    extracted = await Extractor(Limits(seconds=0)).extract("acme", b"# Menu\n- soup\n", "text/markdown")
    assert extracted.processed.coverage == WHOLE


@pytest.mark.parametrize("change", ["GIT binary patch\nliteral 3", "Binary files a/x and b/x differ"])
def test_a_binary_change_of_a_diff_is_a_gap(change: str) -> None:
    coverage = extract(f"--- a\n+++ b\n{change}\n".encode(), "text/x-diff").processed.coverage
    assert coverage.gaps == (ContentGap(kind=GapKind.BINARY, count=1),)
    assert not coverage.whole


@pytest.mark.parametrize("media_type", ["text/plain", "text/x-diff", "application/json"])
def test_text_is_read_whole(media_type: str) -> None:
    assert extract(b"[1]", media_type).processed.coverage == WHOLE
