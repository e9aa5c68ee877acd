"""Reads the Dockerfile and the compose file, for the tests that hold them against the code."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from workspace import Package, packages

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = packages()
DEPLOYED = [package for package in PACKAGES.values() if package.folder.parent.name != "libs"]
PINNED = re.compile(r"^[\w./-]+:v?\d+\.\d+[\w.-]*$")

Entry = dict[str, Any]  # as YAML gives it


@dataclass(frozen=True)
class Instruction:
    """One instruction of the Dockerfile."""

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


@cache
def stages() -> dict[str, list[Instruction]]:
    """Instructions of each stage of the Dockerfile, after those of the stage that it is built from."""
    text = re.sub(r"^\s*#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    found: dict[str, list[Instruction]] = {"": []}
    current = found[""]
    for line in text.replace("\\\n", " ").splitlines():
        name, _, rest = line.partition(" ")
        if name == "FROM":
            base, _, alias = rest.partition(" AS ")
            current = found[alias or base] = list(found.get(base, []))
        if name:
            current.append(Instruction(name, " ".join(rest.split())))
    return found


def of(stage: str, name: str) -> list[Instruction]:
    """The instructions of one name that a stage is built by."""
    return [each for each in stages()[stage] if each.name == name]


def image_environment(program: str) -> dict[str, str]:
    """Environment that the image of a program sets."""
    words = (word for each in of(program, "ENV") for word in each.words)
    return dict(word.split("=", 1) for word in words)


@cache
def services() -> dict[str, Entry]:
    """The services of the compose file."""
    found: dict[str, Entry] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    return found


def ours() -> dict[str, Entry]:
    """The services that run a program of Placet, by the program's name. Not the job that makes keys."""
    return {name: entry for name, entry in services().items() if "build" in entry and name != "keys"}


def package_of(program: str) -> Package:
    """The package whose image runs a program."""
    return PACKAGES[f"placet-{program}"]


def environment(name: str) -> dict[str, str]:
    """Environment of one of our containers: its image's, then the compose file's, defaults filled in.

    What the compose file only passes on is left out, as if it were not set where compose runs.
    """
    entry = services()[name]
    said = {key: str(value) for key, value in entry.get("environment", {}).items() if value is not None}
    base = image_environment(entry["build"]["args"]["PROGRAM"]) if "build" in entry else {}
    return base | {key: re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", value) for key, value in said.items()}


def mounts(name: str) -> dict[str, str]:
    """Sources of a container's mounts, by their path in it."""
    found = {}
    for mount in services()[name].get("volumes", []):
        source, target, *_ = mount.split(":")
        found[target] = source
    return found
