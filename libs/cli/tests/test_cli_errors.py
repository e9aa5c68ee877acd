"""Error messages: the next command is for the stack and the person that were meant."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import uuid
from pathlib import Path
from types import SimpleNamespace

import pytest

from placet_cli.error_messages import problem_of
from placet_cli.home import Home
from placet_cli.input_files import MAX_BYTES, read_document
from placet_cli.problems import Problem
from placet_cli.session import Session
from placet_client import PlacetClient
from placet_rpc.errors import FieldViolation, InvalidArgument, PermissionDenied

INTERRUPTED = 130


def addressed(*steps: str, stack: tuple[str, ...] = (), identity: str | None = None) -> tuple[str, ...]:
    return Problem("it failed", tries=steps).addressed(stack=stack, identity=identity).tries


@pytest.mark.parametrize(
    ("step", "meant"),
    [
        ("placet up", "placet up --home x"),
        ("placet up  (in another terminal)", "placet up --home x  (in another terminal)"),
        ("placet up --home .placet-2 --port-base 8000", "placet up --home .placet-2 --port-base 8000"),
        ("placet up --port-base 8000", "placet up --port-base 8000 --home x"),
        ("placet list --help", "placet list --help"),
        ("kill 12", "kill 12"),
    ],
)
def test_the_next_command_is_for_the_stack_that_was_meant(step: str, meant: str) -> None:
    assert addressed(step, stack=("--home x",)) == (meant,)


def test_the_next_command_is_for_the_person_who_acts() -> None:
    steps = ('placet decide 1 reject --reason "…"', "placet decide 1 … --as THEIR-ADDRESS", "placet show 1")
    assert addressed(*steps, identity="alice@example.com") == (
        'placet decide 1 reject --reason "…" --as alice@example.com',
        "placet decide 1 … --as THEIR-ADDRESS",
        "placet show 1",
    )


def test_nobody_is_told_to_leave_out_what_they_did_not_give() -> None:
    steps = ("placet list", "placet show 1  (without --as, you see everything)")
    assert addressed(*steps) == ("placet list",)
    assert addressed(*steps, identity="eve@example.com") == steps


@pytest.mark.parametrize(
    ("home", "given"),
    [(".placet", []), ("named", []), ("other", ["--home other"])],
)
def test_what_the_environment_says_need_not_be_said_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, home: str, given: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PLACET_PORT_BASE", raising=False)
    if home == "named":
        monkeypatch.setenv("PLACET_HOME", home)
    else:
        monkeypatch.delenv("PLACET_HOME", raising=False)
    assert Session(Home.at(Path(home))).given == given
    assert Session(Home.at(Path(home)), 8640).given == [*given, "--port-base 8640"]


def test_a_broken_rule_is_told_once_and_the_command_that_broke_it_helps() -> None:
    violations = [FieldViolation("title", "must be at most 200 characters")]
    error = InvalidArgument("title: must be at most 200 characters", violations=violations)
    problem = problem_of(error, command="placet request")
    assert problem.what == "--title: must be at most 200 characters"
    assert (problem.why, problem.tries) == ("", ("placet request --help",))


@pytest.mark.parametrize(
    ("field", "description", "option"),
    [
        (
            "assignments",
            "slot 'required_approver' is missing; policy 'simple' asks whom it names",
            "--approver",
        ),
        ("assignments", "slot 'manager_approver' is missing; policy 'x' asks whom it names", "--manager"),
        ("assignments", "slot 'legal' is missing; policy 'x' asks whom it names", "--assign legal=WHO"),
        ("assignments[2].slot", "'tax' is no slot of policy 'x'; it has: legal", "--assign tax=WHO"),
        ("--assign legal=x", "must be a valid email address", "--assign legal=x"),
    ],
)
def test_a_slot_that_is_wrong_is_told_with_the_option_that_fills_it(
    field: str, description: str, option: str
) -> None:
    violations = [FieldViolation(field, description)]
    problem = problem_of(InvalidArgument(f"{field}: {description}", violations=violations))
    assert problem.what == f"{option}: {description}"


def test_a_lacking_role_is_told_without_the_method_that_lacks_it() -> None:
    error = PermissionDenied(
        "placet.audit.v1.AuditService/ListEvents needs one of the roles: auditor", reason="ROLE_REQUIRED"
    )
    assert problem_of(error).what == "this needs one of the roles: auditor"


def test_an_endless_file_is_too_large() -> None:
    with pytest.raises(Problem, match="too large"):
        read_document("/dev/zero")


def test_a_file_of_just_the_size_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "large.txt"
    path.write_bytes(b"a" * MAX_BYTES)
    assert len(read_document(str(path)).body) == MAX_BYTES


def test_a_program_is_no_text() -> None:
    with pytest.raises(Problem, match="not text") as refused:
        read_document(sys.executable)
    assert "zero bytes" in refused.value.why


async def test_requests_that_share_a_beginning_are_told_without_steering_the_terminal(tmp_path: Path) -> None:
    ids = [f"abcd{number}000-0000-4000-8000-000000000000" for number in range(2)]
    found = [SimpleNamespace(approval_id=one, title="\x1b[31mred\x1b[0m") for one in ids]

    async def listed(**_filter: object) -> SimpleNamespace:
        return SimpleNamespace(approvals=found)

    client: PlacetClient = SimpleNamespace(list=listed)  # type: ignore[assignment]  # all that is asked of it
    with pytest.raises(Problem) as ambiguous:
        await Session(Home.at(tmp_path)).resolve(client, "abcd")
    assert ambiguous.value.what == "2 requests begin with abcd"
    assert all(one in ambiguous.value.why for one in ids)
    assert "\x1b" not in ambiguous.value.why
    assert str(uuid.UUID(ids[1])) == await Session(Home.at(tmp_path)).resolve(client, "abcd1")


@pytest.mark.integration
@pytest.mark.parametrize("delay", [0.0, 0.2, 0.5])
def test_ctrl_c_while_a_command_is_still_being_loaded_leaves_no_trace(tmp_path: Path, delay: float) -> None:
    # From when its own code runs: before that, it is Python that is interrupted.
    code = (
        "import sys; from placet_cli.main import main; print(flush=True)\n"
        "sys.argv = ['placet', 'watch']; main()"
    )
    command = [sys.executable, "-c", code]
    env = os.environ | {"PLACET_HOME": str(tmp_path)}
    with subprocess.Popen(
        command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            process.wait(timeout=0.05 + delay)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert "Traceback" not in errors
    # The last: an interpreter that has said everything and is just going.
    assert process.returncode in (INTERRUPTED, 1, -signal.SIGINT), errors
