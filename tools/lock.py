"""Renews `requirements.txt`: every dependency of every package, by version and hash, without addresses.

uv.lock stays out of git, because it names the hosts that packages came from. While it lies here, pins
that still satisfy every package are kept; without it, or with `--upgrade`, the newest are taken.
"""

from __future__ import annotations

import subprocess
import sys

from install import PYTHON, REQUIREMENTS, ROOT, VENV

HEADER = "# Every dependency, pinned by hash. Written by `make lock`; do not edit.\n"


def export(*options: str) -> str:
    """The pins of all packages and of the tools, as requirements.

    Raises:
        subprocess.CalledProcessError: no versions satisfy every package; uv has said why.
    """
    uv = VENV / "bin" / "uv"
    command = [
        str(uv),
        "export",
        "--quiet",
        "--no-header",
        "--python",
        str(PYTHON),
        "--all-packages",
        "--all-extras",
    ]
    command += ["--no-emit-workspace", "--format", "requirements.txt", *options]
    finished = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    return finished.stdout


def main() -> int:
    try:
        pins = export(*sys.argv[1:])
    except subprocess.CalledProcessError as error:
        return error.returncode
    REQUIREMENTS.write_text(HEADER + pins)
    count = sum("==" in line for line in pins.splitlines())
    print(f"lock: requirements.txt holds {count} pins; `make install` installs them")
    return 0


if __name__ == "__main__":
    sys.exit(main())
