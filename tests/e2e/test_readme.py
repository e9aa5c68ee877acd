"""The commands in the README print what it shows."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from placet_testing.conditions import EVENTUALLY, until
from placet_testing.ports import free_port, free_port_base
from placet_testing.stack import Stack

pytestmark = pytest.mark.integration

ROOT = Path(__file__).resolve().parents[2]
PLACET = (sys.executable, "-m", "placet_cli.main")


def block(language: str, containing: str) -> str:
    """The README's block in a language that contains some text."""
    blocks = re.findall(rf"```{language}\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    (found,) = [str(one) for one in blocks if containing in one]
    return found


def without_times(line: str) -> str:
    """A line of the demo without what differs from run to run: elapsed seconds at its beginning or end."""
    line = re.sub(r"^ *\d+\.\d s ", "", line.rstrip())
    return re.sub(r" +\d+ s$", "", line)


async def run(*command: str, home: Path, port_base: int) -> tuple[int, str]:
    """Runs a command to its end: exit status and output."""
    env = {**os.environ, "PLACET_HOME": str(home), "PLACET_PORT_BASE": str(port_base), "NO_COLOR": "1"}
    process = await asyncio.create_subprocess_exec(
        *command, env=env, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, cwd=ROOT
    )
    output, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode()


@pytest.mark.timeout(400)
async def test_the_demo_shows_what_the_readme_shows_and_does_so_twice(tmp_path: Path) -> None:
    port_base = free_port_base()
    for _ in range(2):
        status, output = await run(*PLACET, "demo", "--exit", home=tmp_path / "home", port_base=port_base)
        assert status == 0, output
        shown = [without_times(line) for line in output.splitlines()]
        in_readme = block("console", "$ make demo ").splitlines()
        assert len(in_readme) <= 15
        missing = [line for line in in_readme[1:] if without_times(line) not in shown]
        assert not missing, f"the README shows {missing}; the demo printed:\n{output}"
        told = [shown.index(without_times(line)) for line in in_readme[1:]]
        assert told == sorted(told), f"the README's order is not the demo's:\n{output}"
        # A command to paste is as long as its paths.
        assert all(
            len(line) <= 80
            for line in output.splitlines()
            if "placet up" not in line and "placet list" not in line
        )
        assert "Traceback" not in output


def test_the_readmes_caller_is_the_example() -> None:
    assert block("python", "PlacetClient") == (ROOT / "examples" / "caller.py").read_text()


async def test_the_readmes_caller_says_plainly_that_no_stack_is_there(tmp_path: Path) -> None:
    caller = ROOT / "examples" / "caller.py"
    outside = {name: value for name, value in os.environ.items() if not name.startswith("PLACET_")}
    (tmp_path / "token").write_text("x")
    nobody = f"127.0.0.1:{free_port()}"
    elsewhere = {"PLACET_APPROVAL_ADDRESS": nobody, "PLACET_TOKEN_FILE": "token"}
    for given, why, address in (
        ({}, "there is no token in .placet/tokens/caller", "127.0.0.1:7400"),
        (elsewhere, "", nobody),
    ):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, str(caller)),
            stderr=asyncio.subprocess.PIPE,
            cwd=tmp_path,
            env=outside | given,
        )
        _, said = await process.communicate()
        assert process.returncode == 1
        first, second = said.decode().splitlines()
        assert first.startswith(why)
        assert second == f"Is the stack up at {address}? `placet up` starts one."


def test_the_table_of_commands_names_all_that_there_are() -> None:
    readme = (ROOT / "README.md").read_text()
    table = readme[readme.index("| command |") : readme.index("```console\n$ placet request")]
    named = set(re.findall(r"`placet ([a-z]+)", table))
    listed = subprocess.run([*PLACET, "--help"], check=True, capture_output=True, text=True).stdout
    known = set(re.findall(r"^  ([a-z]+) {2,}", listed.partition("Commands:")[2], re.MULTILINE))
    assert named == known


async def test_the_readmes_caller_runs(stack: Stack, tmp_path: Path) -> None:
    exported = {
        "PLACET_APPROVAL_ADDRESS": stack.ports.address("approval"),
        "PLACET_TOKEN_FILE": str(stack.home.token("caller")),
    }
    caller = await asyncio.create_subprocess_exec(
        *(sys.executable, str(ROOT / "examples" / "caller.py")),
        stdout=asyncio.subprocess.PIPE,
        env=os.environ | exported,
        cwd=tmp_path,
    )
    assert caller.stdout is not None
    async with asyncio.timeout(EVENTUALLY):
        command = (await caller.stdout.readline()).decode().split()
    assert command[:2] == ["placet", "decide"]

    async def decided() -> bool:
        # Nobody is asked in the first milliseconds; then the command works as it was printed.
        status, _ = await run(*PLACET, *command[1:], home=stack.home.path, port_base=stack.ports.base)
        return status == 0

    await until(decided, "the printed command decides", EVENTUALLY)
    async with asyncio.timeout(EVENTUALLY):
        said = (await caller.stdout.read()).decode()
        assert await caller.wait() == 0
    assert said.strip() == "APPROVED by alice@example.com"
