"""Checks that each package stands alone: its wheel builds, and all of it imports with what it declares.

All wheels are built once. Then each package gets an environment of its own that holds its wheel and its
declared dependencies at the pinned versions, nothing else; uv links them from its cache, so that this
costs little. What Alembic runs by path (`migrations`) is not imported.

    python wheels.py [NAME ...]    only these packages
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath

from install import REQUIREMENTS, ROOT
from workspace import Package, closure, packages, pins

BUILD = ROOT / ".build"
WHEELS = BUILD / "wheels"
ALONE = BUILD / "alone"
CONSTRAINTS = BUILD / "constraints.txt"
PYTHON = ROOT / ".venv" / "bin" / "python"
UV = ROOT / ".venv" / "bin" / "uv"

IMPORT_ALL = """
import importlib, sys, traceback
failed = 0
for name in sys.argv[1:]:
    try:
        importlib.import_module(name)
    except BaseException:
        failed += 1
        print(f"{name} does not import:", traceback.format_exc(limit=-3), sep="\\n")
sys.exit(1 if failed else 0)
"""


class NotAlone(Exception):
    """A package does not build, install or import by itself; the text says why."""


def run(*command: str | Path, cwd: Path = ROOT) -> None:
    """Runs a command; its output matters only if it fails.

    Raises:
        NotAlone: with that output.
    """
    parts = [str(part) for part in command]
    finished = subprocess.run(
        parts,
        cwd=cwd,
        check=False,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if finished.returncode != 0:
        raise NotAlone(finished.stdout.strip())


def build_wheels() -> None:
    """Builds every package's wheel with the pinned tools of `.venv`."""
    shutil.rmtree(WHEELS, ignore_errors=True)
    run(UV, "build", "--all-packages", "--wheel", "--no-build-isolation", "--python", PYTHON, "-o", WHEELS)
    CONSTRAINTS.write_text("".join(f"{pin}\n" for pin in pins(REQUIREMENTS.read_text())))


def wheel(package: Package) -> Path:
    """The package's built wheel."""
    (path,) = WHEELS.glob(f"{package.wheel_prefix}*.whl")
    return path


def modules(names: list[str]) -> list[str]:
    """The importable modules among the files of a wheel."""
    paths = [PurePosixPath(name) for name in names if name.endswith(".py")]
    paths = [path for path in paths if "migrations" not in path.parts]
    stems = (path.parent if path.name == "__init__.py" else path.with_suffix("") for path in paths)
    return sorted(".".join(stem.parts) for stem in stems)


def install_alone(package: Package, environment: Path, among: dict[str, Package]) -> None:
    """Makes an environment that holds the package and what it declares, extras too."""
    shutil.rmtree(environment, ignore_errors=True)
    run(UV, "venv", "--quiet", "--python", PYTHON, environment)
    wheels: list[str | Path] = [wheel(needed) for needed in closure(package.name, among)]
    wheels += [str(extra) for extra in package.extras]
    python = environment / "bin" / "python"
    install = (UV, "pip", "install", "--quiet", "--python", python, "-c", CONSTRAINTS)
    try:
        run(*install, "--offline", *wheels)
    except NotAlone:
        # The cache may lack something, for instance after it was cleaned: the registry has the last word.
        run(*install, *wheels)


def stand_alone(package: Package, among: dict[str, Package]) -> None:
    """Imports all of a package where only its declared dependencies are.

    Raises:
        NotAlone: it does not install or import there, or its wheel is empty.
    """
    with zipfile.ZipFile(wheel(package)) as archive:
        names = modules(archive.namelist())
    if not names:
        raise NotAlone("its wheel holds no module")
    environment = ALONE / package.name
    install_alone(package, environment, among)
    run(environment / "bin" / "python", "-I", "-c", IMPORT_ALL, *names, cwd=environment)
    shutil.rmtree(environment)


def failure_of(package: Package, among: dict[str, Package]) -> str | None:
    """The reason why a package does not stand alone; None if it does."""
    try:
        stand_alone(package, among)
    except NotAlone as error:
        return str(error)
    return None


def main() -> int:
    every = packages()
    try:
        build_wheels()
    except NotAlone as error:
        print(f"the wheels do not build:\n{error}")
        return 1
    chosen = [every[name] for name in sys.argv[1:] or every]
    with ThreadPoolExecutor(max_workers=2) as pool:
        failures = list(pool.map(lambda package: failure_of(package, every), chosen))
    for package, complaint in zip(chosen, failures, strict=True):
        if complaint is not None:
            print(f"{package.name} does not stand alone:\n{complaint}")
    return 1 if any(failures) else 0


if __name__ == "__main__":
    sys.exit(main())
