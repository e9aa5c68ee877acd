"""Prints the part of `requirements.txt` that a workspace package needs, with every hash.

An image holds what its program needs and not the tools of the whole repository. `requirements.txt` says
beside each pin who asked for it, so the part can be cut out without a network. Standard library only:
this runs in an image's build stage before anything is installed. It reads the folder that it is run in.

    python deploy/image_pins.py placet-audit    to run this package and those of the workspace that it needs
    python deploy/image_pins.py --build         to build the wheels of all packages
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def canonical(requirement: str) -> str:
    """The name that a requirement begins with, as indexes compare names (PEP 503)."""
    match = NAME.match(requirement)
    if match is None:
        raise ValueError(f"{requirement!r} names no package")
    return re.sub(r"[-_.]+", "-", match.group()).lower()


def blocks(requirements: str) -> Iterator[tuple[str, str]]:
    """Each pin's name and its lines: the pin, its hashes, and who asked for it."""
    lines: list[str] = []
    for line in requirements.splitlines(keepends=True):
        if NAME.match(line) and lines:
            yield canonical(lines[0]), "".join(lines)
            lines = []
        if lines or NAME.match(line):
            lines.append(line)
    if lines:
        yield canonical(lines[0]), "".join(lines)


def askers(block: str) -> set[str]:
    """The names of the packages that a pin is there for, from the comment below it."""
    comment = [line.strip().removeprefix("#").strip() for line in block.splitlines() if "#" in line]
    words = (word for line in comment for word in line.removeprefix("via").split())
    return {canonical(word) for word in words}


def select(requirements: str, wanted: Iterable[str]) -> str:
    """The pins of `wanted` and of everything that these need.

    Raises KeyError for a wanted name that is not pinned.
    """
    pinned: dict[str, str] = {}
    for name, block in blocks(requirements):
        # One name may have a pin for each platform.
        pinned[name] = pinned.get(name, "") + block
    chosen: set[str] = set()
    waiting = set(wanted)
    while waiting:
        if missing := waiting - pinned.keys():
            raise KeyError(f"not pinned: {', '.join(sorted(missing))}")
        chosen |= waiting
        waiting = {name for name, block in pinned.items() if askers(block) & chosen} - chosen
    return "".join(pinned[name] for name in sorted(chosen))


def projects(folder: Path) -> dict[str, dict[str, Any]]:  # Any: TOML
    """The `pyproject.toml` of every workspace package below `folder`, by the package's name."""
    paths = (
        path for top in ("libs", "services", "workers") for path in folder.glob(f"{top}/*/pyproject.toml")
    )
    found = (tomllib.loads(path.read_text()) for path in paths)
    return {canonical(project["project"]["name"]): project for project in found}


def build_needs(workspace: dict[str, dict[str, Any]]) -> set[str]:  # Any: TOML
    """Packages that build the wheels of the workspace."""
    return {canonical(name) for project in workspace.values() for name in project["build-system"]["requires"]}


def run_needs(workspace: dict[str, dict[str, Any]], package: str) -> set[str]:  # Any: TOML
    """Packages from outside the workspace that `package` and its needs within it declare."""
    outside: set[str] = set()
    waiting, seen = [package], {package}
    while waiting:
        project = workspace[waiting.pop()]["project"]
        needed = {canonical(name) for name in project.get("dependencies", [])} - seen
        seen |= needed
        waiting.extend(needed & workspace.keys())
        outside |= needed - workspace.keys()
    return outside


def main() -> int:
    (argument,) = sys.argv[1:]
    here = Path.cwd()
    workspace = projects(here)
    wanted = build_needs(workspace) if argument == "--build" else run_needs(workspace, argument)
    sys.stdout.write(select((here / "requirements.txt").read_text(), wanted))
    return 0


if __name__ == "__main__":
    sys.exit(main())
