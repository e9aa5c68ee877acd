"""`placet doctor`: what Placet needs on this machine, and what to do."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Annotated

import typer
from rich.text import Text

from placet_cli.commands.options import command
from placet_cli.local_stack import UP
from placet_cli.program import pasted
from placet_cli.screen import Screen, fit
from placet_cli.session import Session
from placet_devstack.doctor import Finding, diagnose
from placet_devstack.state import StackState

LOOK_EVERY = 0.2


def register(app: typer.Typer) -> None:
    """Adds the command."""
    command(app, "doctor", json="the findings as JSON")(doctor)


async def doctor(
    session: Session,
    wait: Annotated[
        float, typer.Option(min=0, metavar="SECONDS", help="Wait at most so long until the stack is up.")
    ] = 0,
) -> None:
    """Check what Placet needs here, and say what to do.

    Exit status: 0 when nothing is wrong, 1 when something is, or the stack is still starting. With --wait,
    0 only when the stack is up.
    """
    up = await _wait_until_up(session, wait)
    findings = await diagnose(session.home, session.ports)
    if wait and not up and not any(one.what == "stack" and one.ok is False for one in findings):
        found = f"is not up after {wait:g} s"
        findings.append(Finding("stack", False, found, "placet up --detach"))
    if session.json:
        session.screen.raw(json.dumps([finding.as_json() for finding in findings], indent=2))
    else:
        for finding in findings:
            _print_finding(session.screen, finding)
        if any(finding.ok is None for finding in findings):
            session.screen.say("✓ right  ✗ wrong  · neither: it is not there, or not needed now", "dim")
    if any(finding.ok is False for finding in findings):
        raise typer.Exit(1)


async def _wait_until_up(session: Session, seconds: float) -> bool:
    """Waits for the stack and returns True when it is up, False after so many seconds."""
    deadline = time.monotonic() + seconds
    while True:
        state = StackState.running(session.home)
        if state is not None and state.phase == UP:
            return True
        if time.monotonic() >= deadline:
            return False
        await asyncio.sleep(LOOK_EVERY)


def _print_finding(screen: Screen, finding: Finding) -> None:
    mark, style = {True: ("✓", "green"), False: ("✗", "bold red"), None: ("·", "dim")}[finding.ok]
    screen.say(Text.assemble((f"{mark} ", style), (fit(finding.what, 22) + " ", "cyan"), finding.found))
    if finding.advice:
        screen.say(Text.assemble(" " * 25, (pasted(finding.advice), "cyan")))
