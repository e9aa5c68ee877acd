"""Arguments and names that are not UTF-8: an answer in words, and no stack trace."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from placet_rpc.tokens.mint import generate_keys
from placet_testing.command import placet

pytestmark = pytest.mark.integration

BYTES = b"caf\xe9"
ID = b"1c9f0e4a-0000-5000-8000-000000000000"
LAST_RESORT = (
    "from placet_cli import app, main\n"
    "def fails(**_given): raise RuntimeError('\\udce9')\n"
    "app.app = fails\n"
    "main.main()"
)


def run(*arguments: bytes, home: Path, cwd: Path, env: dict[str, str] | None = None) -> tuple[int, str]:
    """The exit status and all output of `placet`, which is started anew: nothing listens to it."""
    command = [os.fsencode(sys.executable), b"-m", b"placet_cli.main", *arguments]
    outside = {name: value for name, value in os.environ.items() if not name.startswith("PLACET_")}
    finished = subprocess.run(
        command,
        cwd=cwd,
        env=outside | {"PLACET_HOME": str(home), "PLACET_PORT_BASE": "1024"} | (env or {}),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=120,
        check=False,
    )
    said = finished.stdout.decode()
    assert "Traceback" not in said
    assert "mistake in Placet" not in said
    return finished.returncode, said


@pytest.mark.parametrize(
    "arguments",
    [
        (b"request", b"a.txt", b"--title", BYTES),
        (b"request", b"a.txt", b"--subject", BYTES),
        (b"request", b"a.txt", b"--label", b"a=" + BYTES),
        (b"request", b"a.txt", b"--policy", BYTES),
        (b"request", b"a.txt", b"--approver", BYTES + b"@example.com"),
        (b"request", b"a.txt", b"--assign", b"a=" + BYTES),
        (b"request", b"a.txt", b"--assign", BYTES),
        (b"request", b"a.txt", b"--request-id", BYTES),
        (b"request", b"a.txt", b"--deadline", BYTES),
        (b"request", b"a.txt", b"--priority", BYTES),
        (b"request", b"missing-" + BYTES),
        (b"request", b"image-" + BYTES),
        (b"list", b"--requester", BYTES),
        (b"list", b"--since", BYTES),
        (b"list", b"--" + BYTES),
        (b"list", b"--as", BYTES + b"@example.com"),
        (b"list", b"--home", BYTES),
        (BYTES,),
        (b"show", BYTES),
        (b"decide", ID, BYTES),
        (b"comment", ID, BYTES),
        (b"cancel", ID, b"--reason", BYTES),
        (b"policies", BYTES),
        (b"stats", b"--policy", BYTES),
        (b"audit", b"tail", b"--about", BYTES),
        (b"audit", b"verify-receipt", BYTES),
        (b"audit", b"verify", b"--export", BYTES),
        (b"mail", b"--to", BYTES),
    ],
    ids=lambda arguments: " ".join(ascii(os.fsdecode(one)) for one in arguments),
)
def test_an_argument_that_is_not_utf_8_is_answered_in_words(
    tmp_path: Path, arguments: tuple[bytes, ...]
) -> None:
    (tmp_path / "a.txt").write_text("pay")
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/image-" + BYTES)).write_bytes(b"\0\1")
    generate_keys(tmp_path / "home" / "keys")
    typed = map(os.fsdecode, arguments)
    finished = placet(*typed, home=tmp_path / "home", cwd=tmp_path, env={"PLACET_PORT_BASE": "1024"})
    said = finished.stdout + finished.stderr
    assert finished.returncode in (1, 2)
    assert said.strip()
    assert "mistake in Placet" not in said


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_the_last_handler_keeps_what_went_wrong_whatever_its_bytes(tmp_path: Path, encoding: str) -> None:
    finished = subprocess.run(
        [os.fsencode(sys.executable), b"-c", LAST_RESORT.encode(), BYTES],
        env=os.environ | {"PLACET_HOME": str(tmp_path), "PYTHONIOENCODING": encoding},
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert finished.returncode == 1
    assert b"Traceback" not in finished.stdout + finished.stderr
    assert b"mistake in Placet" in finished.stderr
    kept = (tmp_path / "logs" / "cli.log").read_text()
    assert "caf\\udce9" in kept
    assert "RuntimeError: \\udce9" in kept


def test_a_terminal_that_knows_no_unicode_is_told_in_words(tmp_path: Path) -> None:
    ascii_only = {"LC_ALL": "C", "PYTHONIOENCODING": "ascii"}
    for env in ({}, ascii_only):
        status, said = run(b"request", BYTES, home=tmp_path, cwd=tmp_path, env=env)
        assert status == 2
        assert "cannot read" in said
