"""Runs every check of the repository, goes on after a failure, and ends with what failed and the time.

python check.py [NAME ...]    only these, by the names that it prints
python check.py --fast        the checks to run after each change, and the tests that need no server
"""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import dataclass

from install import ROOT, VENV

BIN = VENV / "bin"
PYTHON = str(BIN / "python")
# The time that `make fast` may take on two idle cores.
FAST_SECONDS = 60


@dataclass(frozen=True)
class Check:
    """A command that ends with status 0, or names what it found."""

    name: str
    command: tuple[str, ...]
    remedy: str
    verbose: bool = False


CHECKS = (
    Check("format", (str(BIN / "ruff"), "format", "--check", "--output-format=concise", "."), "make format"),
    Check(
        "lint",
        (str(BIN / "ruff"), "check", "--quiet", "--output-format=concise", "."),
        "make format repairs what needs no thought",
    ),
    Check("guard", (PYTHON, "tools/guard.py"), "each line says what to do"),
    Check("pins", (PYTHON, "tools/pins.py"), "make lock"),
    Check(
        "imports",
        (str(BIN / "lint-imports"), "--no-logo"),
        "the rules are in pyproject.toml, the reasons in docs",
    ),
    Check(
        "contracts",
        (PYTHON, "tools/contracts.py"),
        "buf names the line; make format repairs the format",
        verbose=True,
    ),
    Check(
        "types",
        (str(BIN / "mypy"), "libs", "services", "workers", "tools", "deploy", "tests"),
        "mypy names the line",
    ),
    Check("wheels", (PYTHON, "tools/wheels.py"), "declare in its pyproject.toml what a package imports"),
)
FAST_TESTS = Check(
    "tests",
    (
        str(BIN / "pytest"),
        "-q",
        "--numprocesses=2",
        "--dist=worksteal",
        "-m",
        "not integration and not slow",
    ),
    "pytest names the test",
)
FAST = tuple(check for check in CHECKS if check.name in {"format", "lint", "guard", "imports", "types"})


def passes(check: Check) -> bool:
    """Runs one check; prints the time it took, and its output if that matters."""
    started = time.monotonic()
    finished = subprocess.run(
        check.command,
        cwd=ROOT,
        check=False,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    took = time.monotonic() - started
    passed = finished.returncode == 0
    print(f"check: {check.name:<10} {'ok' if passed else 'RED':<4} {took:6.1f} s", flush=True)
    if check.verbose or not passed:
        print("".join(f"    {line}\n" for line in finished.stdout.splitlines()), end="", flush=True)
    return passed


def run(checks: tuple[Check, ...]) -> bool:
    """Runs all of them, and says what failed; True if none did."""
    started = time.monotonic()
    failed = [check for check in checks if not passes(check)]
    for check in failed:
        print(f"check: {check.name} is red; {check.remedy}")
    took = time.monotonic() - started
    if checks[-1] is FAST_TESTS and took > FAST_SECONDS:
        print(f"check: slower than {FAST_SECONDS} s: the machine is busy, or a test is slow (--durations=10)")
    print(f"check: {'red' if failed else 'all green'}, {took:.0f} s")
    return not failed


def main() -> int:
    wanted = sys.argv[1:]
    if wanted == ["--fast"]:
        return 0 if run((*FAST, FAST_TESTS)) else 1
    names = {check.name for check in CHECKS}
    unknown = sorted(set(wanted) - names)
    if unknown:
        print(
            f"check: there is no {', '.join(unknown)}; there are {', '.join(check.name for check in CHECKS)}"
        )
        return 2
    return 0 if run(tuple(check for check in CHECKS if check.name in (wanted or names))) else 1


if __name__ == "__main__":
    sys.exit(main())
