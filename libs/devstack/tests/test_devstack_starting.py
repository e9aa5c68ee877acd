"""A stack that is still starting: what commands say of it, and how scripts wait for it."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest

from placet_cli.home import Home, Ports
from placet_cli.local_stack import STARTING, STOPPING, UP, LocalStack
from placet_cli.problems import Problem
from placet_cli.session import Session
from placet_devstack.detached import start_detached, stop_stack
from placet_devstack.doctor import diagnose
from placet_devstack.secrets import make_keys
from placet_devstack.state import write_state
from placet_devstack.supervisor import Supervisor
from placet_testing.command import placet

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
    assert found.ok is False
    assert "the stack is starting: 3 of 11 parts are ready" in found.found
    assert found.advice == "placet doctor --wait 60"


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


async def test_a_detached_stack_that_cannot_start_says_why(tmp_path: Path) -> None:
    home = Home.at(tmp_path / "home")
    home.prepare()
    make_keys(home)
    home.log_key.chmod(0o644)
    home.database("temporal").write_bytes(b"")
    home.payload_key.unlink()
    with pytest.raises(Problem) as caught:
        await start_detached(Session(home, PORT_BASE), fast=True)
    assert caught.value.what == "the stack did not start"
    assert "payload.key" in caught.value.why
    assert "Traceback" not in caught.value.why


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
