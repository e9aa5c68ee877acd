"""A stack that is still starting: what commands say of it, and how scripts wait for it."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from placet_cli.home import Home, Ports
from placet_cli.local_stack import STARTING, STOPPING, UP, LocalStack
from placet_cli.problems import Problem
from placet_cli.session import Session
from placet_devstack.detached import start_detached, stop_stack
from placet_devstack.doctor import diagnose
from placet_devstack.secrets import make_keys
from placet_devstack.state import StartFailure, record_failure, write_state
from placet_devstack.supervisor import Supervisor
from placet_testing.command import placet
from placet_testing.ports import free_port_base

pytestmark = pytest.mark.integration

PORT_BASE = 28500


@pytest.fixture
def starting(tmp_path: Path) -> Home:
    """A home whose stack, this process, has three of eleven parts ready."""
    home = Home.at(tmp_path / "home")
    home.prepare()
    make_keys(home)
    write_state(home, PORT_BASE, {}, phase=STARTING, ready=("temporal", "mail", "spans"), parts=11)
    return home


async def test_doctor_says_how_far_a_start_is(starting: Home) -> None:
    found = next(one for one in await diagnose(starting, Ports(PORT_BASE)) if one.what == "stack")
    assert (found.ok, found.pending) == (None, True)
    assert "the stack is starting: 3 of 11 parts are ready" in found.found
    assert found.advice == "placet doctor --wait 60"


@pytest.mark.parametrize("phase", [STARTING, STOPPING])
def test_doctor_gives_what_is_not_ready_yet_a_sign_of_its_own_and_explains_it(
    starting: Home, phase: str
) -> None:
    write_state(starting, PORT_BASE, {}, phase=phase)
    finished = placet("doctor", home=starting.path)
    assert finished.returncode == 1
    (line,) = [line for line in finished.stdout.splitlines() if line[2:].startswith("stack")]
    assert line.startswith("… ")
    assert "✗ stack" not in finished.stdout
    assert "… is not ready yet, which is no fault" in finished.stderr


@pytest.mark.parametrize("command", [("list",), ("request", __file__), ("audit", "checkpoint")])
def test_a_command_says_that_the_stack_is_starting(starting: Home, command: tuple[str, ...]) -> None:
    finished = placet(*command, home=starting.path)
    assert finished.returncode == 1
    assert "the stack is starting: 3 of 11 parts are ready" in finished.stderr
    assert "placet doctor --wait 60" in finished.stderr


def test_ports_of_another_stack_are_not_those_of_the_one_that_starts(starting: Home) -> None:
    assert Session(starting).starting
    assert not Session(starting, PORT_BASE + 100).starting


def test_a_stack_whose_supervisor_is_gone_is_not_starting(starting: Home) -> None:
    starting.state.write_text(starting.state.read_text().replace(f'"pid": {os.getpid()}', '"pid": 999999999'))
    state = LocalStack.read(starting)
    assert state is not None
    assert not state.runs
    assert not state.starting


def test_doctor_waits_for_a_stack_and_fails_when_there_is_none(tmp_path: Path) -> None:
    finished = placet("doctor", "--wait", "0.1", "--port-base", str(PORT_BASE), home=tmp_path)
    assert finished.returncode == 1
    assert "is not up after 0.1 s" in finished.stdout
    assert "placet up --detach" in finished.stdout


async def test_a_supervisor_goes_through_its_phases() -> None:
    seen: list[str] = []
    supervisor = Supervisor([], report=lambda _event: None, changed=lambda: seen.append(supervisor.phase))
    await supervisor.start()
    await supervisor.stop()
    assert seen == [STARTING, UP, STOPPING]


async def test_a_second_detached_stack_on_a_home_is_refused(starting: Home) -> None:
    with pytest.raises(Problem, match="a stack already runs"):
        await start_detached(Session(starting), fast=True)


def lose_the_payload_key(home: Home) -> dict[str, str]:
    """Of a home that was in use."""
    home.prepare()
    make_keys(home)
    home.database("temporal").write_bytes(b"")
    home.payload_key.unlink()
    return {}


def spoil_a_policy(home: Home) -> dict[str, str]:
    """In the operator's own folder."""
    folder = home.path.parent / "policies"
    folder.mkdir()
    text = (
        'name = "mine"\nversion = 1\n[[tiers]]\nname = "team"\nasks = ["required_approver"]\ntimeout = "5x"\n'
    )
    (folder / "mine.toml").write_text(text)
    return {"PLACET_APPROVAL_POLICY_FOLDER": str(folder)}


def put_a_file_in_a_folders_place(home: Home) -> dict[str, str]:
    """A folder that cannot be made, whoever asks for it."""
    home.path.mkdir(mode=0o700)
    (home.path / "data").write_text("")
    return {}


CANNOT_START = [
    (lose_the_payload_key, "payload.key is gone", "last start"),
    (spoil_a_policy, "'5x' is not a duration", "last start"),
    (put_a_file_in_a_folders_place, "cannot keep data in", "home"),
]


@pytest.mark.parametrize("detach", [(), ("--detach",)], ids=["here", "detached"])
@pytest.mark.parametrize(
    ("spoil", "why", "finding"), CANNOT_START, ids=lambda one: getattr(one, "__name__", None)
)
def test_a_stack_that_cannot_start_says_why_once_and_doctor_says_it_again(
    tmp_path: Path,
    spoil: Callable[[Home], dict[str, str]],
    why: str,
    finding: str,
    detach: tuple[str, ...],
) -> None:
    home = Home.at(tmp_path / "home")
    env = spoil(home) | {"NO_COLOR": "1", "COLUMNS": "80"}

    up = placet("up", *detach, "--port-base", str(PORT_BASE), home=home.path, env=env)

    assert (up.returncode, up.stdout) == (1, "")
    assert why in " ".join(up.stderr.split())
    assert up.stderr.startswith("✗ ")
    assert up.stderr.count("✗") == up.stderr.count("Try:") == 1
    doctor = placet("doctor", home=home.path, env=env)
    assert doctor.returncode == 1
    assert any(why in one for one in doctor.stdout.splitlines() if one.startswith(f"✗ {finding}"))


@pytest.mark.parametrize("detach", [(), ("--detach",)], ids=["here", "detached"])
def test_a_taken_port_is_told_once_and_doctor_says_it_again(tmp_path: Path, detach: tuple[str, ...]) -> None:
    home = Home.at(tmp_path / "home")
    home.prepare()
    base = free_port_base()
    with socket.create_server(("127.0.0.1", base)):
        up = placet("up", *detach, "--port-base", str(base), home=home.path)
    assert up.returncode == 1
    assert f"port {base}, for approval, is taken" in up.stderr
    assert up.stderr.count("✗") == 1
    doctor = placet("doctor", home=home.path)
    assert doctor.returncode == 1
    assert f"port {base}, for approval, is taken" in doctor.stdout


def test_the_next_start_forgets_why_the_last_one_failed(tmp_path: Path) -> None:
    home = Home.at(tmp_path / "home")
    home.prepare()
    record_failure(home, PORT_BASE, Problem("the disk is on fire"))
    spoiled = spoil_a_policy(home)
    placet("up", "--port-base", str(PORT_BASE), home=home.path, env=spoiled)
    failure = StartFailure.read(home)
    assert failure is not None
    assert "'5x' is not a duration" in failure.what


@pytest.fixture
def stranger() -> Iterator[None]:
    """Somebody without root's rights, who may read whatever the modes say."""
    own = os.geteuid()
    if own == 0:
        os.seteuid(65534)
    yield
    os.seteuid(own)


@pytest.fixture
def closed(tmp_path: Path) -> Iterator[Home]:
    """A home that was in use, which this user may not enter any more."""
    home = Home.at(tmp_path / "home")
    home.prepare()
    make_keys(home)
    for folder in home.path.iterdir():
        folder.chmod(0)
    tmp_path.chmod(0o755)
    home.path.chmod(0o500)
    yield home
    home.path.chmod(0o700)
    for folder in home.path.iterdir():
        folder.chmod(0o700)


@pytest.mark.usefixtures("closed", "stranger")
async def test_a_home_that_cannot_be_read_is_told_by_a_start_and_by_doctor(closed: Home) -> None:
    with pytest.raises(Problem, match="cannot keep data in") as caught:
        closed.prepare()
    assert "Permission denied" in caught.value.why
    found = (await diagnose(closed, Ports(PORT_BASE)))[-1]
    assert (found.what, found.ok) == ("home", False)
    assert "Permission denied" in found.found


async def test_nothing_is_stopped_where_nothing_runs(tmp_path: Path) -> None:
    assert not await stop_stack(Home.at(tmp_path))


async def test_a_stack_is_stopped_by_its_supervisor(tmp_path: Path) -> None:
    home = Home.at(tmp_path / "home")
    home.prepare()
    code = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from placet_cli.home import Home\n"
        "from placet_devstack.state import write_state\n"
        f"write_state(Home.at(Path(sys.argv[1])), {PORT_BASE}, {{}}, phase='up', parts=1)\n"
        "print(flush=True)\n"
        "time.sleep(60)  # until it is stopped\n"
    )
    command = [sys.executable, "-c", code, str(home.path)]
    supervisor = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    assert supervisor.stdout is not None
    await supervisor.stdout.readline()
    assert await stop_stack(home)
    assert await supervisor.wait() != 0
