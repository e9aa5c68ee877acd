"""Options that select a stack select it, or are refused."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from placet_cli.app import COMMANDS
from placet_cli.home import Home
from placet_devstack.secrets import make_keys
from placet_devstack.state import StackState, write_state
from placet_testing.command import placet
from placet_testing.ports import free_port_base

pytestmark = pytest.mark.integration

# Commands that read files of the home, or stop its stack: ports alone do not say whose.
OWN = [
    ("down",),
    ("doctor",),
    ("mail",),
    ("trace", "0" * 32),
    ("token",),
    ("audit", "verify"),
]
# They choose the ports of a new stack.
START = {"up", "demo"}
# They ask a service at these ports, and fail when it is another stack's.
ASK = {
    "request",
    "wait",
    "list",
    "show",
    "watch",
    "decide",
    "comment",
    "cancel",
    "erase",
    "policies",
    "automation",
    "stats",
}
ASK |= {"models"}

# A stack's Temporal, with the supervisor that recorded it.
OTHER_STACK = """
import os, socket, sys
from pathlib import Path
from placet_cli.home import Home
from placet_devstack.state import write_state
home, base = Home.at(Path(os.environ["PLACET_HOME"])), int(sys.argv[1])
with socket.create_server(("127.0.0.1", base + 10)):
    write_state(home, base, {"temporal": os.getpid()})
    print(flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home.at(tmp_path / "home")
    home.prepare()
    make_keys(home)
    return home


@pytest.fixture
async def other(tmp_path: Path) -> AsyncIterator[tuple[Home, int]]:
    """Another home, whose stack runs; its port base."""
    home, base = Home.at(tmp_path / "other"), free_port_base()
    home.prepare()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", OTHER_STACK, str(base)),
        env=os.environ | {"PLACET_HOME": str(home.path)},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    await process.stdout.readline()
    yield home, base
    await process.communicate(b"")  # its standard input ends, and it with it
    assert process.returncode == 0


def test_every_command_is_known_here() -> None:
    named = {one[0] for one in OWN} | START | ASK
    assert named == {entry.name for entry in COMMANDS}


@pytest.mark.parametrize("typed", [True, False], ids=["typed", "environment"])
@pytest.mark.parametrize("command", OWN, ids=lambda one: one[0])
def test_ports_that_are_not_those_of_the_homes_stack_are_refused(
    home: Home, command: tuple[str, ...], typed: bool
) -> None:
    write_state(home, 28_600, {})
    if typed:
        finished = placet(*command, "--port-base", "28700", home=home.path)
    else:
        finished = placet(*command, home=home.path, env={"PLACET_PORT_BASE": "28700"})
    assert (finished.returncode, finished.stdout) == (1, "")
    assert "--port-base 28700 is not where this home's stack runs" in finished.stderr
    assert "runs on the ports from 28600 on" in " ".join(finished.stderr.split())
    assert "without --port-base or PLACET_PORT_BASE" in finished.stderr
    assert StackState.running(home) is not None


@pytest.mark.parametrize("command", OWN, ids=lambda one: one[0])
async def test_ports_of_another_homes_stack_are_refused_with_its_home(
    home: Home, other: tuple[Home, int], command: tuple[str, ...]
) -> None:
    its_home, base = other
    finished = await asyncio.to_thread(placet, *command, "--port-base", str(base), home=home.path)
    assert (finished.returncode, finished.stdout) == (1, "")
    assert f"--port-base {base} is the stack of another home" in finished.stderr
    assert f"the same command with --home {its_home.path}" in finished.stderr


async def test_the_ports_of_the_homes_own_stack_are_accepted(other: tuple[Home, int]) -> None:
    home, base = other
    make_keys(home)
    finished = await asyncio.to_thread(placet, "token", "--port-base", str(base), home=home.path)
    assert finished.returncode == 0, finished.stderr


def test_ports_on_which_nothing_runs_say_nothing_of_a_home_that_is_stopped(home: Home) -> None:
    finished = placet("down", "--port-base", str(free_port_base()), home=home.path)
    assert finished.returncode == 0
    assert "No stack runs on" in finished.stdout


@pytest.mark.parametrize("command", [("list",), ("audit", "checkpoint"), ("stats",)], ids=lambda one: one[0])
def test_a_typed_home_without_a_stack_is_refused_whatever_the_environment_says(
    tmp_path: Path, command: tuple[str, ...]
) -> None:
    (tmp_path / "token").write_text("x")
    exported = {"PLACET_APPROVAL_ADDRESS": "127.0.0.1:1", "PLACET_TOKEN_FILE": str(tmp_path / "token")}
    finished = placet(*command, "--home", str(tmp_path / "none"), env=exported)
    assert finished.returncode == 1
    assert f"there is no Placet in {tmp_path}/none" in " ".join(finished.stderr.split())
