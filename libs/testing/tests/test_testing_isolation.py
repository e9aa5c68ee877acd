"""A test that is not marked `integration` reaches no socket and no process, and is told so when it tries."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.integration

ATTEMPTS = """
import asyncio, contextlib, grpc, socket, subprocess

def test_socket():
    socket.socket().bind(("127.0.0.1", 0))

def test_socket_whose_refusal_is_swallowed():
    with contextlib.suppress(Exception):
        socket.socket().bind(("127.0.0.1", 0))

def test_process():
    subprocess.run(["true"])

def test_grpc():
    grpc.insecure_channel("127.0.0.1:1")

def test_event_loop():
    asyncio.new_event_loop().close()  # its pair of sockets reaches nobody
"""
REFUSED = ("test_socket", "test_socket_whose_refusal_is_swallowed", "test_process", "test_grpc")
CONFIGURATION = (
    "[tool.pytest.ini_options]\nmarkers = ['integration: a mark']\naddopts = ['--strict-markers']\n"
)


def run(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options, str(folder)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "pyproject.toml").write_text(CONFIGURATION)
    return tmp_path


def test_an_unmarked_test_is_refused_what_it_may_not_use(folder: Path) -> None:
    (folder / "test_sample.py").write_text(ATTEMPTS)
    finished = run(folder)
    failed = re.findall(r"^FAILED test_sample.py::(\w+)", finished.stdout, re.MULTILINE)
    assert failed == list(REFUSED), finished.stdout
    advice = "Write `pytestmark = pytest.mark.integration` in test_sample.py"
    reports = finished.stdout.partition("short test summary")[0]
    assert reports.count(advice) == len(REFUSED), finished.stdout


def test_a_marked_test_may_and_its_file_is_not_imported_where_it_is_not_wanted(folder: Path) -> None:
    (folder / "test_sample.py").write_text(
        "import os\nimport pytest\npytestmark = pytest.mark.integration\nopen('imported', 'w').close()\n"
        "import subprocess\ndef test_it():\n    subprocess.run(['true'])\n"
    )
    assert run(folder, "-m", "not integration").returncode == pytest.ExitCode.NO_TESTS_COLLECTED
    assert not (folder / "imported").exists()
    assert run(folder).returncode == 0
