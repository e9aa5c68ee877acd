"""Runs every judge of the repository, goes on after a failure, and ends with what is red.

python check.py [NAME ...]    only these, by the names that it prints
"""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import dataclass

from install import ROOT, VENV

BIN = VENV / "bin"
PYTHON = str(BIN / "python")


@dataclass(frozen=True)
class Judge:
    """One command that says yes by status 0, and else names what it found."""

    name: str
    command: tuple[str, ...]
    remedy: str


JUDGES = (
    Judge("format", (str(BIN / "ruff"), "format", "--check", "--output-format=concise", "."), "make format"),
    Judge(
        "lint",
        (str(BIN / "ruff"), "check", "--quiet", "--output-format=concise", "."),
        "make format mends what needs no thought",
    ),
    Judge("guard", (PYTHON, "tools/guard.py"), "each line says what to do"),
    Judge("pins", (PYTHON, "tools/pins.py"), "make lock"),
    Judge(
        "imports",
        (str(BIN / "lint-imports"), "--no-logo"),
        "the rules are in pyproject.toml, the reasons in docs",
    ),
    Judge("contracts", (PYTHON, "tools/contracts.py"), "buf names the line; make format mends the format"),
    Judge(
        "types",
        (str(BIN / "mypy"), "libs", "services", "workers", "tools", "deploy", "tests"),
        "mypy names the line",
    ),
    Judge("wheels", (PYTHON, "tools/wheels.py"), "declare in its pyproject.toml what a package imports"),
)


def passes(judge: Judge) -> bool:
    """Runs one judge; says how long it took, and shows what it printed if that matters."""
    started = time.monotonic()
    finished = subprocess.run(
        judge.command,
        cwd=ROOT,
        check=False,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    took = time.monotonic() - started
    good = finished.returncode == 0
    print(f"check: {judge.name:<10} {'ok' if good else 'RED':<4} {took:6.1f} s", flush=True)
    if not good or judge.name == "contracts":
        print("".join(f"    {line}\n" for line in finished.stdout.splitlines()), end="", flush=True)
    return good


def main() -> int:
    wanted = sys.argv[1:] or [judge.name for judge in JUDGES]
    unknown = set(wanted) - {judge.name for judge in JUDGES}
    if unknown:
        print(
            f"check: there is no {', '.join(sorted(unknown))}; there are {', '.join(j.name for j in JUDGES)}"
        )
        return 2
    red = [judge for judge in JUDGES if judge.name in wanted and not passes(judge)]
    for judge in red:
        print(f"check: {judge.name} is red; {judge.remedy}")
    if not red:
        print("check: all green")
    return 1 if red else 0


if __name__ == "__main__":
    sys.exit(main())
