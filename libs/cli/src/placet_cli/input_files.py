"""Files that people want decided: what they are, and what they are called."""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from placet_cli.problems import WrongInput
from placet_text import NotText, decoded, says_nothing

if TYPE_CHECKING:
    from markdown_it.token import Token

MAX_BYTES = 1 << 20
MAX_TITLE = 200
# Characters that are looked through for a heading: parsing a mebibyte takes a minute.
_HEADING_WITHIN = 1 << 15
# Characters of a heading that are read: more than its title holds.
_HEADING_READ = 1000

_BY_SUFFIX = {
    ".md": "text/markdown",
    ".markdown": "text/markdown",
    ".diff": "text/x-diff",
    ".patch": "text/x-diff",
    ".json": "application/json",
    ".pdf": "application/pdf",
}
# Lines of YAML between dashes at the beginning; to CommonMark they would be a rule and a heading.
_FRONT_MATTER = re.compile(r"\A---[ \t]*\r?\n[\w-]+:.*?^(?:---|\.\.\.)[ \t]*$", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Document:
    """A file's bytes with their type and a title."""

    title: str
    body: bytes
    media_type: str


def read_document(name: str) -> Document:
    """Reads a file, or text from standard input for "-".

    A file whose suffix is unknown is plain text, if it is UTF-8. The title is the first heading of Markdown,
    else the name of the file. Raises WrongInput.
    """
    body = sys.stdin.buffer.read(MAX_BYTES + 1) if name == "-" else _bytes_of(Path(name))
    called = "standard input" if name == "-" else name
    if not body:
        raise WrongInput(f"{called} is empty", "there is nothing to decide", tries=("placet request --help",))
    if len(body) > MAX_BYTES:
        raise WrongInput(
            f"{called} is too large",
            f"at most {MAX_BYTES:,} bytes are taken",
            tries=(f"sha256sum {name}  (ask about a summary that names this digest)",),
        )
    media_type = _BY_SUFFIX.get(Path(name).suffix.lower(), "text/plain")
    file = "FILE" if name == "-" else shlex.quote(name)
    text = "" if media_type == "application/pdf" else _text_of(called, file, body)
    heading = heading_of(text) if media_type == "text/markdown" else ""
    return Document(_title(name, heading), body, media_type)


def _bytes_of(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            # No more than shows that it is too large: it may be endless.
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        raise WrongInput(
            f"cannot read {path}", error.strerror or str(error), tries=(f"ls -l {shlex.quote(str(path))}",)
        ) from error


def _text_of(called: str, file: str, body: bytes) -> str:
    try:
        return decoded(body)
    except NotText as error:
        if b"\0" in body and not error.encoding:
            why, step = "it holds zero bytes, as programs and images do", f"file {file}"
        else:
            why, step = f"it {error}", f"iconv -f {error.encoding or 'LATIN1'} -t UTF-8 {file} > NEW-FILE"
        raise WrongInput(
            f"{called} is not text in UTF-8",
            f"{why}; text, Markdown, diffs, JSON and PDF can be decided",
            tries=(step,),
        ) from error


def _title(name: str, heading: str) -> str:
    """The heading, else the file's name; on one line, and cut to the length of a title."""
    # A name's bytes may be no UTF-8.
    called = "standard input" if name == "-" else os.fsencode(Path(name).name).decode(errors="replace")
    title = " ".join((heading or called).split())
    return title if len(title) <= MAX_TITLE else f"{title[: MAX_TITLE - 1]}…"


def heading_of(text: str) -> str:
    """The first heading of a Markdown document (CommonMark) that says something, without markup.

    Headings in quotes and lists are not the document's own; front matter (YAML) holds none. "" without a
    heading in the first 32,768 characters.
    """
    # Imported late: only Markdown needs it.
    from markdown_it import MarkdownIt

    parser = MarkdownIt("commonmark").disable("inline")
    environment: dict[str, object] = {}
    tokens = parser.parse(_FRONT_MATTER.sub("", text[:_HEADING_WITHIN]), environment)
    for opening, inline in pairwise(tokens):
        if opening.type == "heading_open" and opening.level == 0:
            content: list[Token] = []
            parser.inline.parse(inline.content[:_HEADING_READ], parser, environment, content)
            heading = _without_markup(content)
            if not says_nothing(heading):
                return heading
    return ""


def _without_markup(tokens: Sequence[Token]) -> str:
    parts = []
    for token in tokens:
        if token.children:
            parts.append(_without_markup(token.children))
        elif token.type in ("softbreak", "hardbreak"):
            parts.append(" ")
        elif token.type != "html_inline":
            parts.append(token.content)
    return "".join(parts)
