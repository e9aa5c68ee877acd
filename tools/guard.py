"""Checks what no other tool does: each rule names the file, the line and the reason.

- no file names a package registry's host or an absolute path of somebody's machine;
- a Python file has at most 400 lines;
- a check is switched off only by its code and with a reason beside it;
- nothing is left as an unowned reminder;
- outside `libs/rpc`, product code knows no gRPC status.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from install import ROOT

MOST_LINES = 400

# Each with one letter in brackets, so that this file does not name what it forbids.
HOSTS = re.compile(
    "|".join(
        (
            r"p[y]pi\.org",
            r"python[h]osted\.org",
            r"npm[j]s\.(?:com|org)",
            r"y[a]rnpkg\.com",
            r"d[e]b\.debian\.org",
            r"c[r]ates\.io",
            r"proxy\.g[o]lang\.org",
        )
    )
)
MACHINE_PATH = re.compile(r"(?<![\w.$})/~-])/(?:home|root|Users|work|tmp|opt/wheels|opt/pypi)/[\w.]")
SUPPRESSION = re.compile(r"#\s*(?:noqa\b|type:\s*ignore\b|ruff:\s*noqa\b|mypy:\s*\w)")
CODED = re.compile(r"#\s*(?:noqa:\s*[A-Z]+\d+(?:,\s*[A-Z]+\d+)*|type:\s*ignore\[[\w, -]+\])")
REMINDER = re.compile(r"\b(?:TO" + r"DO|FIX" + r"ME|XX" + r"X)\b")
STATUS = re.compile(r"\bgrpc\.StatusCode\b|\bAioRpcError\b|from grpc import [^#]*StatusCode")


def lines_against(rule: re.Pattern[str], text: str) -> Iterator[int]:
    """The numbers of the lines that a rule forbids."""
    return (number for number, line in enumerate(text.splitlines(), 1) if rule.search(line))


def unexplained(text: str) -> Iterator[int]:
    """The numbers of the lines that switch a check off without its code or without a reason."""
    for number, line in enumerate(text.splitlines(), 1):
        match = SUPPRESSION.search(line)
        if match is None:
            continue
        reason = CODED.sub("", line[match.start() :])
        if SUPPRESSION.search(reason) or not re.search(r"[^\W\d_]{2,}", reason):
            yield number


def complaints(path: PurePosixPath, text: str) -> Iterator[str]:
    """Violations in a tracked file, each as `path:line: reason`."""
    for number in lines_against(HOSTS, text):
        yield f"{path}:{number}: names a package registry's host; leave that to the environment"
    for number in lines_against(MACHINE_PATH, text):
        yield f"{path}:{number}: names an absolute path of a machine"
    if path.suffix == ".py":
        yield from complaints_about_python(path, text)


def complaints_about_python(path: PurePosixPath, text: str) -> Iterator[str]:
    """The rules that hold for Python alone."""
    length = len(text.splitlines())
    if length > MOST_LINES:
        yield f"{path}:{length}: longer than {MOST_LINES} lines; make it a package, or two modules"
    for number in unexplained(text):
        yield f"{path}:{number}: switches a check off without its code, or without a reason beside it"
    for number in lines_against(REMINDER, text):
        yield f"{path}:{number}: a reminder without an owner; do it, or file it"
    if "src" in path.parts and path.parts[:2] != ("libs", "rpc"):
        for number in lines_against(STATUS, text):
            yield f"{path}:{number}: only libs/rpc touches gRPC statuses; raise or catch placet_rpc.errors"


def candidates() -> list[PurePosixPath]:
    """Every file that is tracked, or new and not ignored, so that a complaint comes before the commit."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    return [PurePosixPath(name) for name in sorted(set(listed.stdout.split("\0"))) if name]


def read_text(path: Path) -> str | None:
    """The text of a file; None if it is gone, a link, or not text."""
    if not path.is_file() or path.is_symlink():
        return None
    try:
        return path.read_text()
    except UnicodeDecodeError:
        return None


def main() -> int:
    found = 0
    for path in candidates():
        text = read_text(ROOT / path)
        for complaint in complaints(path, text) if text is not None else ():
            print(complaint)
            found += 1
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
