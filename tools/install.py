"""Makes `.venv` ready: uv, the pinned dependencies, the generated stubs, the packages of the workspace.

Each step is skipped while what it was made from is unchanged, so a second run costs next to nothing.
Only the standard library is imported here, because this runs before anything is installed. Where
packages come from is for the environment to say, through the settings that pip and uv read.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
STAMPS = VENV / "placet-install.json"
REQUIREMENTS = ROOT / "requirements.txt"
OLDEST = (3, 11)


class InstallError(Exception):
    """Says what stopped the installation and what to do about it."""


@dataclass(frozen=True)
class Step:
    """A part of the installation, and the files that it is made from."""

    name: str
    announcement: str
    inputs: Callable[[], Iterable[Path]]
    action: Callable[[], None]

    def fingerprint(self) -> str:
        """A digest over names and contents of the inputs."""
        digest = hashlib.sha256()
        for path in sorted(self.inputs()):
            content = path.read_bytes()
            digest.update(f"{path.relative_to(ROOT)}\0{len(content)}\0".encode())
            digest.update(content)
        return digest.hexdigest()


def members() -> list[Path]:
    """The folders of all packages of the workspace."""
    return sorted(
        path.parent
        for top in ("libs", "services", "workers")
        for path in (ROOT / top).glob("*/pyproject.toml")
    )


def uv_requirement(requirements: str) -> str:
    """The pin of uv with its hashes, cut out of a whole requirements file."""
    lines = requirements.splitlines()
    start = next((n for n, line in enumerate(lines) if line.startswith("uv==")), None)
    if start is None:
        raise InstallError("requirements.txt pins no uv; restore the file, or renew it with `make lock`")
    block = [lines[start]]
    for line in lines[start + 1 :]:
        if not block[-1].endswith("\\"):
            break
        block.append(line)
    return "\n".join(block) + "\n"


def run(*command: str | Path) -> None:
    """Runs a command in the repository's root; its output goes where ours goes."""
    finished = subprocess.run(
        [str(part) for part in command], cwd=ROOT, check=False, stdin=subprocess.DEVNULL
    )
    if finished.returncode != 0:
        raise InstallError(f"`{command[0]}` ended with status {finished.returncode}; its messages are above")


def make_environment() -> None:
    """Creates `.venv` and puts the pinned uv into it."""
    if not PYTHON.exists():
        run(sys.executable, "-m", "venv", VENV)
    pin = VENV / "uv-requirement.txt"
    pin.write_text(uv_requirement(REQUIREMENTS.read_text()))
    run(PYTHON, "-m", "pip", "install", "--quiet", "--require-hashes", "--no-deps", "-r", pin)


def uv_install(*arguments: str | Path) -> None:
    run(VENV / "bin" / "uv", "pip", "install", "--quiet", "--python", PYTHON, *arguments)


def install_dependencies() -> None:
    """Installs and compiles: a stack's processes start at once, and each would compile the same files."""
    uv_install("--compile-bytecode", "--require-hashes", "-r", REQUIREMENTS)


def generate_stubs() -> None:
    run(PYTHON, ROOT / "libs" / "protos" / "generate.py")


def install_packages() -> None:
    editable = [part for folder in members() for part in ("-e", folder)]
    uv_install("--no-deps", "--no-build-isolation", *editable)


def sources() -> list[Path]:
    """Sources of all packages of the workspace, generated stubs too."""
    return [path for folder in members() for path in (folder / "src").rglob("*.py")]


def compile_sources() -> None:
    """Compiles ahead, for where PYTHONDONTWRITEBYTECODE is set: there each start would do it again."""
    command = [str(PYTHON), "-m", "compileall", "-qq", *(str(folder / "src") for folder in members())]
    # Only speed is at stake here; a file that does not compile is for `make check` to report.
    subprocess.run(command, cwd=ROOT, check=False, stdin=subprocess.DEVNULL)


STEPS = (
    Step("environment", "making .venv with uv", lambda: [REQUIREMENTS], make_environment),
    Step(
        "dependencies",
        "installing the pinned dependencies (a few hundred MB the first time)",
        lambda: [REQUIREMENTS],
        install_dependencies,
    ),
    Step(
        "stubs",
        "generating the stubs of the contracts",
        lambda: [*(ROOT / "protos").rglob("*.proto"), ROOT / "libs" / "protos" / "generate.py", REQUIREMENTS],
        generate_stubs,
    ),
    Step(
        "packages",
        "installing the packages of the workspace",
        lambda: [folder / "pyproject.toml" for folder in members()],
        install_packages,
    ),
    Step("bytecode", "compiling what changed", sources, compile_sources),
)


def read_stamps() -> dict[str, str]:
    """The fingerprints of the steps that are done; empty for a new environment."""
    if not STAMPS.exists() or not PYTHON.exists():
        return {}
    stamps: dict[str, str] = json.loads(STAMPS.read_text())
    return stamps


def install() -> None:
    """Carries out the steps whose inputs changed, and records each as it is done."""
    done = read_stamps()
    for step in STEPS:
        fingerprint = step.fingerprint()
        if done.get(step.name) == fingerprint:
            continue
        print(f"install: {step.announcement} ...", flush=True)
        started = time.monotonic()
        step.action()
        done[step.name] = fingerprint
        STAMPS.write_text(json.dumps(done, indent=1))
        print(f"install: done in {time.monotonic() - started:.1f} s", flush=True)


def main() -> int:
    if sys.version_info < OLDEST:
        found = ".".join(str(part) for part in sys.version_info[:3])
        print(
            f"install: Python 3.11 or newer is needed, this is {found}; try `make PYTHON=python3.11 install`"
        )
        return 1
    try:
        install()
    except InstallError as error:
        print(f"install: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
