"""Commands without a stack say what to do, and never show a stack trace."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from placet_cli.error_messages import problem_of
from placet_cli.home import Home
from placet_cli.problems import Problem
from placet_cli.session import Session
from placet_devstack.secrets import make_keys
from placet_rpc.errors import (
    FailedPrecondition,
    FieldViolation,
    InvalidArgument,
    PlacetError,
    Unauthenticated,
    Unavailable,
)
from placet_testing.command import placet

pytestmark = pytest.mark.integration

ID = "1c9f0e4a-0000-5000-8000-000000000000"
FREE_BASE = "28100"


COMMANDS = [
    ("list",),
    ("show", ID),
    ("decide", ID, "approve"),
    ("cancel", ID),
    ("erase", ID, "--reason", "she asked for it"),
    ("watch",),
    ("audit", "tail"),
    ("audit", "checkpoint"),
    ("audit", "receipt", ID),
    ("audit", "export", "-o", "log.jsonl"),
    ("audit", "verify"),
    ("trace", ID),
    ("request", __file__),
    ("models", "evaluate"),
]


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_without_any_stack_each_command_says_how_to_start_one(
    arguments: tuple[str, ...], tmp_path: Path
) -> None:
    finished = placet(*arguments, home=tmp_path / "home")
    assert finished.returncode == 1
    assert "placet up" in finished.stderr


def test_a_stack_that_does_not_answer_is_said_to_be_away(tmp_path: Path) -> None:
    home = Home.at(tmp_path / "home")
    home.prepare()
    make_keys(home)
    finished = placet("show", ID, "--port-base", FREE_BASE, home=home.path)
    assert finished.returncode == 1
    assert f"nothing listens at 127.0.0.1:{FREE_BASE}" in finished.stderr
    assert "placet up" in finished.stderr


def test_doctor_says_what_to_do_and_prints_json(tmp_path: Path) -> None:
    finished = placet("doctor", "--json", "--port-base", FREE_BASE, home=tmp_path / "home")
    findings = {finding["what"]: finding for finding in json.loads(finished.stdout)}
    assert finished.returncode == 0, finished.stdout
    assert findings["stack"]["advice"] == f"placet up --port-base {FREE_BASE}"
    assert findings["Temporal server"]["ok"]
    assert findings["packages"]["ok"]


def test_keys_that_others_can_read_are_found_by_doctor_and_refused_by_commands(tmp_path: Path) -> None:
    home = Home.at(tmp_path / "home")
    home.prepare()
    make_keys(home)
    (home.keys / "signing-key.json").chmod(0o644)
    finished = placet("doctor", "--port-base", FREE_BASE, home=home.path)
    assert finished.returncode == 1
    assert "chmod 600" in finished.stdout
    finished = placet("list", home=home.path)
    assert "chmod 600" in finished.stderr


def test_options_are_taken_before_and_after_the_command(tmp_path: Path) -> None:
    for arguments in (("--as", "alice", "list"), ("list", "--as", "alice"), ("list", "--as", "älice@a.de")):
        assert "not an e-mail address" in placet(*arguments, home=tmp_path).stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("--home", "meant", "--port-base", FREE_BASE, "doctor"),
        ("doctor", "--home", "meant", "--port-base", FREE_BASE),
        ("--home", "far", "--port-base", "28200", "doctor", "--home", "meant", "--port-base", FREE_BASE),
    ],
    ids=["before", "after", "both: the nearer one"],
)
def test_what_is_typed_wins_over_the_environment_wherever_it_stands(
    arguments: tuple[str, ...], tmp_path: Path
) -> None:
    typed = [str(tmp_path / one) if one in ("meant", "far") else one for one in arguments]
    said = placet(*typed, home=tmp_path / "environment", env={"PLACET_PORT_BASE": "28300"}).stdout
    assert f"{tmp_path / 'meant'} does not exist yet" in said
    assert f"{FREE_BASE} and those after it" in said


def test_who_acts_is_who_was_named_nearest_to_the_command(tmp_path: Path) -> None:
    said = placet("--as", "alice@example.com", "list", "--as", "bob", home=tmp_path).stderr
    assert "--as bob is not an e-mail address" in said


def test_a_wrong_command_line_is_explained(tmp_path: Path) -> None:
    for arguments in (("nosuch",), ("decide", ID, "maybe"), ("request",)):
        finished = placet(*arguments, home=tmp_path)
        assert finished.returncode == 2
        assert "--help" in finished.stderr


def test_a_mistake_of_ours_is_kept_in_a_file_and_named_by_its_reference(tmp_path: Path) -> None:
    home = tmp_path / "home"
    code = (
        "import sys; from placet_cli import main; from placet_cli.commands import verify\n"
        "def broken(*_, **__): raise ZeroDivisionError('oops')\n"
        "verify.verify_log = broken; sys.argv = ['placet', 'audit', 'verify']; main.main()"
    )
    env = os.environ | {"PLACET_HOME": str(home)}
    finished = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=120, check=False
    )
    assert finished.returncode == 1
    assert "Traceback" not in finished.stderr
    assert "reference" in finished.stderr
    assert "ZeroDivisionError" in (home / "logs" / "cli.log").read_text()


@pytest.mark.parametrize(("no_color", "coloured"), [("", True), ("1", False)])
def test_colour_is_for_terminals_and_not_where_no_color_is_set(
    tmp_path: Path, no_color: str, coloured: bool
) -> None:
    parent, child = pty.openpty()
    env = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "PLACET_HOME")}
    env |= {"TERM": "xterm-256color", "PLACET_HOME": str(tmp_path)}
    env |= {"NO_COLOR": no_color} if no_color else {}
    command = [sys.executable, "-m", "placet_cli.main", "doctor", "--port-base", FREE_BASE]
    with subprocess.Popen(command, env=env, stdout=child, stderr=child) as process:
        os.close(child)
        output = b""
        try:
            while chunk := os.read(parent, 4096):
                output += chunk
        except OSError:
            pass  # how Linux says that the other end was closed
        process.wait(timeout=60)
    os.close(parent)
    assert b"Python" in output
    assert (b"\x1b[3" in output) is coloured


def test_without_a_terminal_there_is_no_colour(tmp_path: Path) -> None:
    finished = placet("doctor", "--port-base", FREE_BASE, home=tmp_path, env={"TERM": "xterm-256color"})
    assert "\x1b" not in finished.stdout


def test_a_reader_who_has_seen_enough_is_no_error(tmp_path: Path) -> None:
    command = f"{sys.executable} -m placet_cli.main doctor --port-base {FREE_BASE} | true"
    env = os.environ | {"PLACET_HOME": str(tmp_path)}
    finished = subprocess.run(
        ["bash", "-c", command], env=env, capture_output=True, text=True, timeout=120, check=False
    )
    assert finished.stderr == ""


ERRORS: list[tuple[PlacetError, str]] = [
    (FailedPrecondition("The request is closed", reason="CLOSED"), "placet show 1c9f0e4a"),
    (InvalidArgument("A rejection needs a reason", reason="REASON_REQUIRED"), "placet decide 1c9f0e4a"),
    (FailedPrecondition("Other content", reason="CONTENT_CHANGED"), "placet show 1c9f0e4a --content"),
    (FailedPrecondition("Another policy", reason="POLICY_CHANGED"), "placet policies"),
    (FailedPrecondition("Shown otherwise", reason="RENDERING_CHANGED"), "placet show 1c9f0e4a --content"),
    (Unavailable("Temporal does not answer", reason="DEPENDENCY_UNAVAILABLE"), "placet doctor"),
    (FailedPrecondition("It must be kept", reason="RETAINED"), "placet erase 1c9f0e4a --before-retention"),
    (FailedPrecondition("It is open", reason="NOT_CLOSED"), "placet cancel 1c9f0e4a"),
    (Unauthenticated("the token is not valid here", reason="TOKEN_INVALID"), "placet doctor"),
]


@pytest.mark.parametrize(("error", "step"), ERRORS, ids=lambda one: getattr(one, "reason", ""))
def test_every_error_names_the_next_command(error: PlacetError, step: str) -> None:
    problem = problem_of(error, ID)
    assert problem.what == error.message
    assert any(one.startswith(step) for one in problem.tries)


def test_each_broken_rule_is_named_as_it_was_given() -> None:
    violations = [FieldViolation("title", "must not be empty"), FieldViolation("policy", "is unknown")]
    problem = problem_of(InvalidArgument("2 rules are broken", violations=violations))
    assert problem.why == "--title: must not be empty\n--policy: is unknown"


def test_an_identity_that_is_no_address_is_refused() -> None:
    with pytest.raises(Problem):
        Session.of(None, None, "alice", json=False)
