"""Members of the workspace, read from the `pyproject.toml` of each."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from install import members


@dataclass(frozen=True)
class Package:
    """A member: its folder and what it declares to need when installed."""

    name: str
    folder: Path
    dependencies: tuple[Requirement, ...]
    extras: tuple[Requirement, ...] = ()

    @property
    def wheel_prefix(self) -> str:
        """Prefix of the file name of its wheel."""
        return self.name.replace("-", "_") + "-"


def packages() -> dict[str, Package]:
    """All members by canonical name."""
    found: dict[str, Package] = {}
    for folder in members():
        project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
        name = canonicalize_name(project["name"])
        needs = tuple(Requirement(text) for text in project.get("dependencies", []))
        optional = project.get("optional-dependencies", {}).values()
        extras = tuple(Requirement(text) for texts in optional for text in texts)
        found[name] = Package(name, folder, needs, extras)
    return found


def closure(name: str, among: dict[str, Package]) -> list[Package]:
    """The member `name` and every member that it declares to need, directly or through another."""
    needed: dict[str, Package] = {}
    waiting = [name]
    while waiting:
        package = among[waiting.pop()]
        if package.name not in needed:
            needed[package.name] = package
            names = (canonicalize_name(need.name) for need in package.dependencies)
            waiting.extend(found for found in names if found in among)
    return list(needed.values())


def declared(pyproject: str) -> Iterator[Requirement]:
    """Every requirement that a `pyproject.toml` states: to run, as an extra, to build, to develop."""
    content = tomllib.loads(pyproject)
    project = content.get("project", {})
    lists = [
        project.get("dependencies", []),
        content.get("build-system", {}).get("requires", []),
        *project.get("optional-dependencies", {}).values(),
        *content.get("dependency-groups", {}).values(),
    ]
    for requirements in lists:
        yield from (Requirement(text) for text in requirements if isinstance(text, str))


def pins(requirements: str) -> list[Requirement]:
    """The pins of a requirements file, without their hashes; one name may have one for each platform."""
    lines = (line.removesuffix("\\").strip() for line in requirements.splitlines() if line[:1].isalnum())
    return [Requirement(line) for line in lines]
