"""Commands that newcomers tried and were misled by."""

from __future__ import annotations

import asyncio
import hashlib
import io
import os
import pty
import shlex
import signal
import socket
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from placet.approval.v1 import approval_pb2, approval_service_pb2
from placet_cli import command_name
from placet_cli.commands.decide import _with_reason
from placet_cli.content_output import print_content
from placet_cli.event_rows import Row
from placet_cli.home import Home, Ports, typed
from placet_cli.input_files import read_document
from placet_cli.option_parsers import deadline_of
from placet_cli.problems import Problem
from placet_cli.session import Session
from placet_cli.times import point_of
from placet_devstack.ports import check_ports
from placet_devstack.process_table import suspended
from placet_rpc.tokens.mint import MintingTokenSource, generate_keys
from placet_rpc.tokens.sources import FileTokenSource
from placet_testing.command import placet
from placet_testing.conditions import until

FREE_BASE = 28300


@pytest.mark.integration
def test_the_version_is_told(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "placet_cli.main", "--version"]
    finished = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True)
    assert finished.stdout.startswith("placet ")


@pytest.mark.integration
def test_help_cuts_no_description_and_its_usage_can_be_typed(tmp_path: Path) -> None:
    for group in ((), ("audit",), ("models",)):
        said = placet(*group, "--help", home=tmp_path).stdout
        assert "..." not in said.partition("Commands:")[2]
    usage = placet("decide", "--help", home=tmp_path).stdout
    assert "Usage: placet decide [OPTIONS] ID [VERDICT]" in usage
    assert "3 when it is received" in " ".join(usage.split())
    assert "[OPTIONS] [N]" in placet("mail", "--help", home=tmp_path).stdout


@pytest.mark.integration
def test_a_wrong_state_is_told_once_and_about_list(tmp_path: Path) -> None:
    said = placet("list", "--state", "foo", home=tmp_path).stderr
    assert "placet list --help" in said
    assert said.count("pending") == 1
    assert "Value error" not in said


@pytest.mark.parametrize(
    ("written", "length"),
    [
        ("2 days", timedelta(days=2)),
        ("2d", timedelta(days=2)),
        ("90 min", timedelta(minutes=90)),
        ("1 week", timedelta(days=7)),
        ("20s", timedelta(seconds=20)),
    ],
)
def test_a_deadline_is_taken_as_people_write_it(written: str, length: timedelta) -> None:
    read = deadline_of(written)
    assert read is not None
    assert abs(read - datetime.now(UTC) - length) < timedelta(seconds=5)


def test_a_wrong_deadline_is_answered_with_the_units() -> None:
    with pytest.raises(Problem) as told:
        deadline_of("soon")
    assert "days" in told.value.why


def test_a_hint_repeats_who_and_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command_name, "_program", lambda: "placet")
    session = Session.of(tmp_path / "a home", 8100, "alice@example.com", json=False)
    hint = session.again(_with_reason(["decide", "1c9f", "reject", "--command-id", "77a"], "it's late"))
    where = f"--home '{tmp_path}/a home' --port-base 8100"
    assert hint == (
        "placet decide 1c9f reject --command-id 77a --reason 'it'\"'\"'s late' "
        f"--as alice@example.com {where}"
    )


def test_what_an_error_says_to_try_can_be_pasted_whatever_the_names(tmp_path: Path) -> None:
    session = Session.of(tmp_path / "a home", None, "o'neil@example.com", json=False)
    told = Problem("no", tries=("placet cancel 1c9f", f"placet up --home {typed(session.home.path)}"))
    cancel, up = told.addressed(stack=session.given, identity=session.identity).tries
    home = f"{tmp_path}/a home"
    assert shlex.split(cancel) == ["placet", "cancel", "1c9f", "--as", "o'neil@example.com", "--home", home]
    assert shlex.split(up) == ["placet", "up", "--home", home]


def test_a_home_or_ports_that_were_typed_are_meant_whatever_the_environment_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLACET_APPROVAL_ADDRESS", "elsewhere:1")
    monkeypatch.setenv("PLACET_TOKEN_FILE", str(tmp_path / "token"))
    typed_home = Session.of(tmp_path, None, None, json=False, home_is_typed=True)
    typed_ports = Session.of(tmp_path, 8600, None, json=False, ports_are_typed=True)
    by_variable = Session.of(tmp_path, 8600, None, json=False)
    with pytest.raises(Problem, match="there is no Placet in"):
        typed_home.tokens()

    generate_keys(tmp_path / "keys")

    assert typed_home.address("approval") == "127.0.0.1:7400"
    assert isinstance(typed_home.tokens(), MintingTokenSource)
    assert typed_ports.address("approval") == "127.0.0.1:8600"
    assert isinstance(typed_ports.tokens(), FileTokenSource)
    assert by_variable.address("approval") == "elsewhere:1"
    assert isinstance(by_variable.tokens(), FileTokenSource)


@pytest.mark.integration
def test_two_words_on_who_acts_are_refused(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("x")
    said = placet(
        "list", "--as", "alice@example.com", home=tmp_path, env={"PLACET_TOKEN_FILE": str(token)}
    ).stderr
    assert "both say who acts" in said
    assert "unset PLACET_TOKEN_FILE" in said


@pytest.mark.integration
@pytest.mark.parametrize("command", [("list",), ("audit", "tail")])
def test_half_of_a_tls_configuration_is_told_and_nothing_is_sent(
    tmp_path: Path, command: tuple[str, ...]
) -> None:
    token = tmp_path / "token"
    token.write_text("x")
    given = {"PLACET_TOKEN_FILE": str(token), "PLACET_TLS_CA_FILE": ""}
    said = placet(*command, home=tmp_path, env=given).stderr
    assert "PLACET_TLS_CA_FILE is set but empty" in said
    assert "mistake in Placet" not in said


def test_an_image_is_told_what_can_be_decided(tmp_path: Path) -> None:
    image = tmp_path / "photo.png"
    image.write_bytes(b"\x89PNG\r\n\x1a\n\x00\x00")
    with pytest.raises(Problem) as told:
        read_document(str(image))
    assert "PDF can be decided" in told.value.why
    assert not any("iconv" in step for step in told.value.tries)


@pytest.mark.integration
def test_ports_of_another_stack_are_told_in_one_line_and_make_no_home(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", FREE_BASE)):
        with pytest.raises(Problem) as told:
            check_ports(Home.at(tmp_path / "new"), Ports(FREE_BASE))
        assert f"port {FREE_BASE}" in told.value.what + told.value.why
        finished = placet("up", "--port-base", str(FREE_BASE), home=tmp_path / "new")
        assert finished.returncode == 1
        assert not (tmp_path / "new").exists()


@pytest.mark.integration
async def test_a_suspended_process_is_seen() -> None:
    # It sleeps so that it is there to be suspended; nothing waits for its end.
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", "import time; time.sleep(60)")
    process.send_signal(signal.SIGSTOP)
    try:
        await until(lambda: suspended(process.pid), "the process is seen as suspended")
    finally:
        process.kill()
        await process.wait()


def content_of(body: bytes) -> tuple[approval_pb2.Approval, approval_service_pb2.GetContentResponse]:
    approval = approval_pb2.Approval(content_digest=hashlib.sha256(body).digest())
    content = approval_pb2.Content(body=body, media_type="text/plain")
    return approval, approval_service_pb2.GetContentResponse(content=content, text=body.decode())


def test_content_is_written_byte_by_byte(tmp_path: Path) -> None:
    session, body = Session.of(tmp_path, None, None, json=False), b"pay\r\n\t4711\n"
    approval, answer = content_of(body)
    print_content(session, approval, answer, str(tmp_path / "out"))
    assert (tmp_path / "out").read_bytes() == body


def test_content_that_may_deceive_is_shown_after_a_warning_and_by_its_numbers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    session = Session.of(tmp_path, None, None, json=False)
    approval, answer = content_of("pay\r\n\tEUR \u202e001\x85ok 👩\u200d👧\n".encode())
    answer.coverage.whole = True
    answer.warnings.add(
        field="text",
        kind=approval_service_pb2.TEXT_WARNING_KIND_BIDIRECTIONAL,
        message="U+202E RIGHT-TO-LEFT OVERRIDE at line 2, column 6",
        count=1,
    )
    session.screen.cuts = True
    print_content(session, approval, answer, "")
    said = capsys.readouterr()
    assert said.out == "pay\n        EUR <U+202E>001<U+0085>ok 👩\u200d👧\n"
    assert " ".join(said.err.split()).startswith(
        "Careful: this may look like something else than it is. The content holds characters that turn the "
        "direction of others: U+202E RIGHT-TO-LEFT OVERRIDE at line 2, column 6 "
        "What could not be seen is shown by its number, like <U+202E>."
    )


def test_what_stands_behind_blanks_stays_in_sight_in_a_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    session = Session.of(tmp_path, None, None, json=False)
    session.screen.cuts = True
    print_content(session, *content_of(b"EUR 10 to ACME" + b" " * 1600 + b"EUR 1000000 to Eve\n"), "")
    assert capsys.readouterr().out == "EUR 10 to ACME<1,600 blanks>EUR 1000000 to Eve\n"


@pytest.mark.integration
def test_nothing_is_cut_in_a_pipe_and_lines_end_at_the_width_of_a_terminal() -> None:
    row = Row(datetime(2026, 1, 2, tzinfo=UTC), "a" * 40, "asked", "why " * 40, None, "why " * 40)
    code = (
        "from datetime import UTC, datetime\nfrom placet_cli.screen import Screen\n"
        "from placet_cli.event_rows import Row\n"
        f"row = Row(datetime(2026, 1, 2, tzinfo=UTC), {row.actor!r}, 'asked', {row.reason!r}, None, 'why')\n"
        "Screen().event(None, row)"
    )
    piped = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert row.actor in piped.stdout
    assert row.reason.strip() in piped.stdout
    parent, child = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=child, env=os.environ | {"COLUMNS": "100", "NO_COLOR": "1"}
    ) as process:
        os.close(child)
        output = io.BytesIO()
        try:
            while chunk := os.read(parent, 4096):
                output.write(chunk)
        except OSError:
            pass  # how Linux says that the other end was closed
        process.wait(timeout=60)
    os.close(parent)
    lines = output.getvalue().decode().splitlines()
    assert lines
    assert all(len(line) <= 100 for line in lines)
    assert row.actor not in lines[0]


def test_every_time_says_its_zone() -> None:
    assert point_of(datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)) == "2026-01-02 03:04:05 UTC"
