"""Runs the `placet` command in a process of its own that is forked from one with its modules loaded.

Starting Python and importing the command takes half a second of CPU; the suite runs it some hundred times.
Tests of the start itself, and those with a terminal, a pipe or a signal, start the program anew.
"""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from placet_cli.app import COMMANDS

SECONDS = 120
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload([__name__, *{entry.module for entry in COMMANDS}])


def placet(
    *arguments: str,
    home: Path | None = None,
    cwd: Path | None = None,
    stdin: str = "",
    env: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Runs `placet` with this home and, of variables that say something about Placet, only those of `env`.

    Raises TimeoutError after two minutes, and AssertionError if the command shows a stack trace.
    """
    outside = {name: value for name, value in os.environ.items() if not name.startswith("PLACET_")}
    inside = {"PLACET_HOME": str(home)} if home else {}
    with tempfile.TemporaryDirectory() as name:
        streams = Path(name)
        (streams / "stdin").write_text(stdin)
        given = (arguments, outside | inside | dict(env or {}), str(cwd or Path.cwd()), name)
        process = _FORKS.Process(target=_run, args=given, daemon=True)
        process.start()
        process.join(SECONDS)
        if process.exitcode is None:
            process.kill()
            raise TimeoutError(f"placet {' '.join(arguments)} runs for more than {SECONDS} s")
        output, errors = ((streams / stream).read_text() for stream in ("stdout", "stderr"))
        assert "Traceback" not in output + errors, output + errors
        return subprocess.CompletedProcess(arguments, process.exitcode, output, errors)


def _run(arguments: tuple[str, ...], env: dict[str, str], cwd: str, streams: str) -> None:
    for number, stream in enumerate(("stdin", "stdout", "stderr")):
        file = os.open(f"{streams}/{stream}", os.O_RDWR | os.O_CREAT | os.O_APPEND)
        os.dup2(file, number)
        os.close(file)
    sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w")  # noqa: SIM115  # until it ends
    os.environ.clear()
    os.environ.update(env)
    time.tzset()
    os.chdir(cwd)
    from placet_cli import main

    sys.argv = [str(main.__file__), *arguments]
    main.main()
