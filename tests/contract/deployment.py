"""Reads Dockerfiles and the compose file, for the tests that hold them against the code."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from workspace import packages

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = packages()
DEPLOYED = [package for package in PACKAGES.values() if package.folder.parent.name != "libs"]
PINNED = re.compile(r"^[\w./-]+:v?\d+\.\d+[\w.-]*$")

Entry = dict[str, Any]  # as YAML gives it


@dataclass(frozen=True)
class Instruction:
    """One instruction of a Dockerfile, with the number of the stage that it belongs to."""

    stage: int
    name: str
    text: str

    @property
    def words(self) -> list[str]:
        """Its arguments, without the options of the instruction itself."""
        return [word for word in shlex.split(self.text) if not word.startswith("--")]

    @property
    def command(self) -> list[str]:
        """The words of an instruction in its exec form, whatever stands before them."""
        words: list[str] = json.loads(self.text[self.text.index("[") :])
        return words


def instructions(folder: Path) -> list[Instruction]:
    """All instructions of the Dockerfile in a folder."""
    text = re.sub(r"^\s*#.*\n", "", (folder / "Dockerfile").read_text(), flags=re.MULTILINE)
    found: list[Instruction] = []
    stage = -1
    for line in text.replace("\\\n", " ").splitlines():
        name, _, rest = line.partition(" ")
        stage += name == "FROM"
        if name:
            found.append(Instruction(stage, name, " ".join(rest.split())))
    return found


def of(folder: Path, name: str, stage: int | None = None) -> list[Instruction]:
    """The instructions of one name, of all stages or of one."""
    return [each for each in instructions(folder) if each.name == name and stage in (None, each.stage)]


def image_environment(folder: Path) -> dict[str, str]:
    """Environment that the image sets."""
    words = (word for each in of(folder, "ENV", 1) for word in each.words)
    return dict(word.split("=", 1) for word in words)


@cache
def services() -> dict[str, Entry]:
    """The services of the compose file."""
    found: dict[str, Entry] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    return found


def ours() -> dict[str, Entry]:
    """The services that run a program of Placet, by the program's name. Not the job that makes keys."""
    return {name: entry for name, entry in services().items() if "build" in entry and name != "keys"}


def folder_of(entry: Entry) -> Path:
    """The package whose Dockerfile a service is built from."""
    build: dict[str, str] = entry["build"]
    return (ROOT / build["context"] / build["dockerfile"]).parent


def environment(name: str) -> dict[str, str]:
    """Environment of one of our containers: its image's, then the compose file's, defaults filled in.

    What the compose file only passes on is left out, as if it were not set where compose runs.
    """
    entry = services()[name]
    said = {key: str(value) for key, value in entry.get("environment", {}).items() if value is not None}
    base = image_environment(folder_of(entry)) if "build" in entry else {}
    return base | {key: re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", value) for key, value in said.items()}


def mounts(name: str) -> dict[str, str]:
    """Sources of a container's mounts, by their path in it."""
    found = {}
    for mount in services()[name].get("volumes", []):
        source, target, *_ = mount.split(":")
        found[target] = source
    return found
