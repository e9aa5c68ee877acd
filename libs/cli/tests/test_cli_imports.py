"""Imports of the command line: light where nothing is called yet, and the same help as the commands have."""

from __future__ import annotations

import subprocess
import sys

import pytest
import typer

from placet_cli import app, lazy
from placet_cli.app import COMMANDS
from placet_cli.commands import audit
from placet_cli.lazy import Entry, group
from placet_cli.problems import Problem

pytestmark = pytest.mark.integration

# Modules whose import costs more than the whole of `placet --help` may.
HEAVY = {
    "aiosmtpd",
    "cryptography",
    "google.protobuf",
    "grpc",
    "joserfc",
    "opentelemetry",
    "placet",
    "placet_client",
    "placet_devstack",
    "placet_domain",
    "placet_rpc",
    "placet_telemetry",
    "placet_verify",
    "psutil",
    "psycopg",
    "pydantic",
    "rich",
    "sqlalchemy",
    "temporalio",
}


def imported(*arguments: str) -> set[str]:
    """The modules that a run of `placet` imports."""
    code = (
        "import sys; from placet_cli.app import app\n"
        f"try: app({list(arguments)!r}, prog_name='placet')\n"
        "except SystemExit: pass\n"
        "print(*sys.modules, file=sys.stderr)"
    )
    command = [sys.executable, "-c", code]
    finished = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    return set(finished.stderr.split())


@pytest.mark.parametrize("arguments", [["--help"], ["audit", "--help"]])
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    heavy = HEAVY & imported(*arguments)
    # Typer itself takes pydantic for the options of a subcommand.
    assert heavy <= {"pydantic"}


def test_list_imports_neither_servers_nor_the_telemetry_sdk() -> None:
    heavy = {"opentelemetry.sdk", "placet_devstack", "placet_verify", "sqlalchemy", "temporalio", "psycopg"}
    assert heavy & imported("list", "--help") == set()


@pytest.mark.parametrize("entry", [*COMMANDS, *audit.COMMANDS], ids=lambda entry: entry.name)
def test_the_listed_help_is_the_commands_own(entry: Entry) -> None:
    assert (entry.load().help or "").partition("\n")[0] == entry.help


def test_a_missing_package_is_named_with_what_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lazy, "find_spec", lambda name: None)
    assert not Entry("up", "placet_devstack.commands.stack", "").installed
    alone = typer.Typer(cls=group(COMMANDS), callback=lambda: None)
    with pytest.raises(Problem) as missing:
        alone(["up"], prog_name="placet", standalone_mode=False)
    assert missing.value.what == "`placet up` is part of placet-devstack, which is not installed"
    assert missing.value.tries == ("pip install placet-devstack",)


def test_commands_of_a_missing_package_are_not_listed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(lazy, "find_spec", lambda name: None)
    alone = typer.Typer(cls=group(COMMANDS), callback=lambda: None, rich_markup_mode=None)
    alone(["--help"], prog_name="placet", standalone_mode=False)
    listed = capsys.readouterr().out
    assert "\n  list" in listed
    assert "\n  up" not in listed


def test_a_client_proposes_no_command_that_it_lacks(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(app, "_MISSING", ("placet up", "placet doctor"))
    app._print_problem(
        Problem("it is away", tries=("placet up", "placet list", "placet doctor  (says more)"))
    )
    told = capsys.readouterr().err
    assert "placet list" in told
    assert "placet up" not in told
    assert "placet doctor" not in told
