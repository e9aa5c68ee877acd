"""Gaps between a Markdown text and what it shows when it is rendered.

People and models are shown the text itself. Whoever sees it rendered sees its images, which the text only
names, and does not see its comments. It runs in a process of its own: a text may take the parser any time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from markdown_it import MarkdownIt
from markdown_it.token import Token

from placet_approval.content.gaps import Gap, Gaps

_PICTURES = re.compile(r"<\s*(?:img|svg|picture|video|audio|object|embed|iframe|canvas)\b", re.IGNORECASE)
# A comment, or an element that a style, class or attribute may hide.
_UNSEEN = re.compile(
    r"<!|<\?|<[a-z][^<>]*\s(?:style|class|hidden)\b|<\s*(?:template|script|style)\b", re.IGNORECASE
)


def markdown_gaps(text: str) -> list[Gap]:
    """The gaps of a Markdown text (CommonMark, with tables)."""
    gaps = Gaps()
    env: dict[str, dict[str, dict[str, str]]] = {}
    used: set[str] = set()
    for token in _flat(MarkdownIt("commonmark").enable("table").parse(text, env)):
        if token.type == "image":
            gaps.add("IMAGE")
        if token.type in ("html_block", "html_inline"):
            gaps.add("IMAGE", count=len(_PICTURES.findall(token.content)))
            gaps.add("NOT_VISIBLE", count=len(_UNSEEN.findall(token.content)))
        used.update(str(token.attrs[name]) for name in ("href", "src") if name in token.attrs)
    # A definition that nothing refers to is not shown: "[//]: # (a comment)".
    defined = [one["href"] for one in env.get("references", {}).values()]
    gaps.add("NOT_VISIBLE", count=sum(href not in used for href in defined))
    gaps.add("NOT_VISIBLE", count=len(env.get("duplicate_refs", ())))
    return gaps.all()


def _flat(tokens: list[Token]) -> Iterator[Token]:
    for token in tokens:
        yield token
        yield from _flat(token.children or [])
