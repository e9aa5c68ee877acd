"""Paths of the files that a diff touches. A diff that could be read in two ways has no known paths."""

from __future__ import annotations

import re
from collections.abc import Iterator

MOST_PATHS = 100
_LONGEST = 500
_HUNK = re.compile(r"@@ -\d{1,9}(?:,(\d{1,9}))? \+\d{1,9}(?:,(\d{1,9}))? @@.*")
_HEADER = re.compile(
    r"(?:index [0-9a-f.]+(?: \d{6})?|(?:old|new|deleted file|new file) mode \d{6}"
    r"|(?:dis)?similarity index \d{1,3}%)"
)
_MOVED = re.compile(r"(?:rename|copy) (?:from|to) (.+)")
# Beginnings of lines that name a file or a hunk, where none is expected.
_ELSEWHERE = ("--- ", "+++ ", "@@ ", "Index: ", "Only in ", "Binary files ")
_NOTHING = "/dev/null"


class _Unclear(Exception):
    """The diff could be read in two ways."""


def diff_paths(diff: str) -> tuple[str, ...] | None:
    """The paths of the files that a unified diff touches, each once; None if they are not all known.

    Text before the first file counts as a message. A binary change, a quoted path, one outside of the
    repository, and a line that belongs to no hunk are not read.
    """
    try:
        found = tuple(dict.fromkeys(_paths([line.rstrip("\r") for line in diff.split("\n")])))
    except _Unclear:
        return None
    return found if 0 < len(found) <= MOST_PATHS else None


def _paths(lines: list[str]) -> Iterator[str]:
    at, begun, unnamed = 0, False, False
    while at < len(lines):
        line = lines[at]
        if line.startswith("diff --git "):
            if unnamed:
                raise _Unclear
            path = _same_path(line.removeprefix("diff --git "))
            yield from path
            at, begun, unnamed = at + 1, True, not path
        elif line.startswith("--- ") and at + 1 < len(lines) and lines[at + 1].startswith("+++ "):
            yield from _of_names(line[4:], lines[at + 1][4:])
            at, begun, unnamed = _after_hunks(lines, at + 2), True, False
        elif begun and (moved := _MOVED.fullmatch(line)):
            yield _checked(moved[1])
            at, unnamed = at + 1, False
        elif (line and begun and not _HEADER.fullmatch(line)) or line.startswith(_ELSEWHERE):
            raise _Unclear
        else:
            at += 1
    if unnamed:
        raise _Unclear


def _same_path(names: str) -> list[str]:
    """The path of a section of git, if its line names one file twice; else other lines name it."""
    half = len(names) // 2
    old, new = names[:half], names[half + 1 :]
    same = old.startswith("a/") and new == f"b/{old[2:]}" and names[half] == " "
    return [_checked(new[2:])] if same else []


def _of_names(old: str, new: str) -> Iterator[str]:
    old, new = (name.partition("\t")[0] for name in (old, new))
    named = [name for name in (old, new) if name != _NOTHING]
    prefixes = (("a/", old), ("b/", new))
    if named and all(name.startswith(prefix) or name == _NOTHING for prefix, name in prefixes):
        named = [name[2:] for name in named]
    for name in named:
        yield _checked(name)


def _after_hunks(lines: list[str], at: int) -> int:
    """The line behind the hunks of a file. Raises _Unclear where a hunk is not as long as it says."""
    while at < len(lines) and (hunk := _HUNK.fullmatch(lines[at])):
        old, new = (int(count) if count is not None else 1 for count in hunk.groups())
        at += 1
        while old > 0 or new > 0:
            sign = lines[at][:1] if at < len(lines) else "end"
            if sign not in ("", " ", "-", "+", "\\"):
                raise _Unclear
            old -= sign in ("", " ", "-")
            new -= sign in ("", " ", "+")
            at += 1
        if old < 0 or new < 0:
            raise _Unclear
        if at < len(lines) and lines[at].startswith("\\"):
            at += 1
    return at


def _checked(path: str) -> str:
    if (
        not path
        or len(path) > _LONGEST
        or not path.isprintable()
        or path[0] in '"/ '
        or "\\" in path
        or {"", ".", ".."} & set(path.split("/"))
    ):
        raise _Unclear
    return path
