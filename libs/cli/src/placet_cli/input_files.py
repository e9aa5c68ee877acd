"""Files that people want decided: what they are, and what they are called."""

from __future__ import annotations

import re
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

from placet_cli.problems import WrongInput

MAX_BYTES = 1 << 20
MAX_TITLE = 200

_BY_SUFFIX = {
    ".md": "text/markdown",
    ".markdown": "text/markdown",
    ".diff": "text/x-diff",
    ".patch": "text/x-diff",
    ".json": "application/json",
    ".pdf": "application/pdf",
}


@dataclass(frozen=True)
class Document:
    """A file's bytes with their type and a title."""

    title: str
    body: bytes
    media_type: str


def read_document(name: str) -> Document:
    """Reads a file, or text from standard input for "-".

    A file whose suffix is unknown is plain text, if it is UTF-8. Raises WrongInput.
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
    if media_type != "application/pdf":
        _check_text(name, body)
    return Document(_title(name, body, media_type), body, media_type)


def _bytes_of(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            # No more than shows that it is too large: it may be endless.
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        raise WrongInput(
            f"cannot read {path}", error.strerror or str(error), tries=(f"ls -l {shlex.quote(str(path))}",)
        ) from error


def _check_text(name: str, body: bytes) -> None:
    if b"\0" in body:
        why = "it holds zero bytes, as programs and images do; text, diffs, JSON and PDF can be decided"
        raise WrongInput(f"{name} is not text", why, tries=(f"file {name}",))
    try:
        body.decode()
    except UnicodeDecodeError as error:
        raise WrongInput(
            f"{name} is not text",
            f"byte {error.start} is not UTF-8; text, Markdown, diffs, JSON and PDF can be decided",
            tries=(f"iconv -t UTF-8 {name}",),
        ) from error


def _title(name: str, body: bytes, media_type: str) -> str:
    """A Markdown file's first heading, else the file's name."""
    if media_type == "text/markdown":
        heading = re.search(r"^#{1,6}\s+(.+?)\s*#*\s*$", body.decode(), re.MULTILINE)
        if heading:
            return heading[1][:MAX_TITLE]
    return ("standard input" if name == "-" else Path(name).name)[:MAX_TITLE]
