"""Every command keeps the rules of the command line: no empty value, one status, true help, no vain files."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from google.protobuf import json_format

from placet.approval.v1 import approval_pb2, approval_service_pb2
from placet_cli.app import COMMANDS
from placet_cli.commands import audit, automation
from placet_cli.commands import policies as policy_commands
from placet_cli.commands.options import command
from placet_cli.completion import FILES, Shell, script_of
from placet_cli.home import Home
from placet_cli.session import Session
from placet_testing.command import placet

pytestmark = pytest.mark.integration

ID = "1c9f0e4a-0000-5000-8000-000000000000"
GROUPS = ("audit", "automation", "models")
LEAVES = [
    *(one for one in COMMANDS if one.name not in GROUPS),
    *audit.COMMANDS,
    *automation.COMMANDS,
]
# Commands that print nothing of a service.
WITHOUT_JSON = {"up", "down", "demo", "token", "export"}
# Where values are files or folders.
FILE_METAVARS = {"FILE", "FOLDER", "VKEY|FILE"}


def parameters() -> Iterator[tuple[str, Any, Any]]:
    """Each command's name, its context and one of its parameters."""
    for entry in LEAVES:
        loaded = entry.load()
        context = loaded.make_context(entry.name, [], resilient_parsing=True)
        for one in loaded.get_params(context):
            yield entry.name, context, one


def test_no_option_takes_an_empty_value() -> None:
    checked = 0
    for name, context, one in parameters():
        if one.param_type_name != "option" or one.is_flag or one.name == "help":
            continue
        for option in one.opts:
            joined = [[f"{option}="]] if option.startswith("--") else []
            for arguments in ([option, ""], [option, " "], *joined):
                with pytest.raises(typer.BadParameter, match="it is empty"):
                    context.command.make_context(name, arguments)
                checked += 1
    assert checked > 100


@pytest.mark.parametrize(
    "arguments",
    [
        ("show", "x"),
        ("watch", "x"),
        ("trace", "x"),
        ("audit", "tail", "--about", "x"),
        ("comment", ID, " "),
        ("list", "--since", "soon"),
        ("list", "--since", "999999 weeks"),
        ("list", "--label", "x"),
        ("list", "--approver", "x"),
        ("list", "--limit", "0"),
        ("stats", "--window", "x"),
        ("mail", "--to", "x"),
        ("token", "--roles", "worker"),
        ("--port-base", "3", "list"),
        ("--as", "x", "list"),
        ("request", "nothing.txt"),
        ("request", __file__, "--approver", "x"),
        ("request", __file__, "--manager", "x"),
        ("request", __file__, "--assign", "x"),
        ("request", __file__, "--deadline", "soon"),
        ("request", __file__, "--title", ""),
    ],
    ids=" ".join,
)
def test_what_is_refused_before_anything_is_sent_ends_with_status_2(
    arguments: tuple[str, ...], tmp_path: Path
) -> None:
    finished = placet(*arguments, home=tmp_path / "home", cwd=tmp_path)
    assert finished.returncode == 2, finished.stderr
    # Anything else would say that there is no stack.
    assert "placet up" not in finished.stderr.replace("placet up --port-base", "")


def test_help_says_what_the_statuses_are(tmp_path: Path) -> None:
    said = " ".join(placet("--help", home=tmp_path).stdout.split())
    assert "2 wrong usage: the command line was refused before anything was sent" in said


def test_a_command_says_what_its_json_is_and_has_none_where_it_prints_none(tmp_path: Path) -> None:
    described = {name: one.help for name, _, one in parameters() if one.name == "json"}
    assert set(described) == {entry.name for entry in LEAVES} - WITHOUT_JSON
    assert {name for name, help_text in described.items() if "proto3" not in help_text} == {
        *("doctor", "mail", "trace", "verify", "verify-receipt")
    }
    finished = placet("--json", "token", home=tmp_path)
    assert finished.returncode == 2
    assert "placet token prints no JSON" in finished.stderr


async def test_policies_are_printed_as_the_service_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    policy = approval_pb2.Policy(name="simple", version=1, policy_digest=b"p" * 32, body="{}")

    class Client:
        async def __aenter__(self) -> Client:
            return self

        async def __aexit__(self, *_error: object) -> None:
            return None

        async def policies(self, **_which: object) -> list[approval_pb2.Policy]:
            return [policy]

        async def policy(self, _name: str, _version: int) -> approval_pb2.Policy:
            return policy

    monkeypatch.setattr(Session, "client", lambda _session: Client())
    session = Session(Home.at(tmp_path), json=True)
    await policy_commands.policies(session)
    listed = json_format.Parse(capsys.readouterr().out, approval_service_pb2.ListPoliciesResponse())
    assert list(listed.policies) == [policy]
    await policy_commands.policies(session, "simple")
    one = json_format.Parse(capsys.readouterr().out, approval_service_pb2.GetPolicyResponse())
    assert one.policy == policy


def test_files_are_completed_where_files_are_meant_and_nowhere_else(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PLACET_HOME", str(tmp_path))
    for name, context, one in parameters():
        offered = [item.value for item in one.shell_complete(context, "x")]
        meant = one.metavar in FILE_METAVARS or one.name == "home"
        assert (offered == [f"x{FILES}"]) is meant, f"{name} {one.name}"


def test_bash_offers_files_only_where_the_program_says_so(tmp_path: Path) -> None:
    (tmp_path / "wanted.txt").touch()
    code = script_of(Shell.BASH) + (
        'compopt() { echo "files"; }\n'
        'ask() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _placet_completion placet; '
        'echo "${COMPREPLY[*]}"; }\n'
        "ask placet show ''; ask placet request ''; ask placet request --policy ''; ask placet sh\n"
    )
    env = os.environ | {
        "PLACET_HOME": str(tmp_path),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    finished = subprocess.run(
        ["bash", "--norc", "-c", code],
        env=env,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert finished.stdout.split("\n") == ["", "files", "", "", "show", ""]


def test_ctrl_c_at_a_question_ends_the_command_in_words(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def pressed(*_question: object, **_more: object) -> str:
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            raise typer.Abort from None
        return "asyncio kept the question open"

    async def ask(session: Session) -> None:
        """Asks."""
        session.screen.say(session.screen.prompt("Well?"))

    monkeypatch.setattr(typer, "prompt", pressed)
    monkeypatch.setenv("PLACET_HOME", str(tmp_path))
    app = typer.Typer()
    command(app, "ask")(ask)
    with pytest.raises(SystemExit) as end:
        app([])
    told = capsys.readouterr()
    assert end.value.code == 130
    assert (told.out, told.err.split()) == ("", ["Nothing", "was", "changed."])
