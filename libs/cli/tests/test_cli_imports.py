"""Imports of the command line: light where nothing is called yet, and the same help as the commands have."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
import typer

from placet_cli import app, lazy
from placet_cli.app import COMMANDS
from placet_cli.commands import audit
from placet_cli.lazy import Entry, group
from placet_cli.problems import Problem
from placet_rpc.tokens.mint import generate_keys

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

# Of these, `placet list` needs some: the contract and a call by a token of its own making.
FOR_LIST = {
    "cryptography",
    "google.protobuf",
    "grpc",
    "placet",
    "placet_client",
    "placet_domain",
    "placet_rpc",
    "rich",
}
# Costly, and for other commands alone.
NOT_FOR_LIST = {
    "importlib.metadata",
    "joserfc",
    "placet_cli.content_output",
    "placet_domain.policy",
    "placet_rpc.settings",
    "placet_rpc.tokens.verify",
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
    assert HEAVY & imported(*arguments) == set()


def test_list_imports_only_what_a_plain_list_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    generate_keys(tmp_path / "keys")
    server = grpc.server(ThreadPoolExecutor(1))
    # An ApprovalService that lists nothing: an empty message is no bytes.
    method: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(lambda *_: b"")
    service = grpc.method_handlers_generic_handler(
        "placet.approval.v1.ApprovalService", {"ListApprovals": method}
    )
    server.add_generic_rpc_handlers((service,))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    monkeypatch.setenv("PLACET_HOME", str(tmp_path))
    monkeypatch.setenv("PLACET_APPROVAL_ADDRESS", f"127.0.0.1:{port}")
    try:
        modules = imported("list")
    finally:
        server.stop(None).wait()
    # A token was minted and the call was made.
    assert {"placet_rpc.tokens.mint", "grpc.aio"} <= modules
    assert (HEAVY | NOT_FOR_LIST) & modules - FOR_LIST == set()


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
