"""`placet doctor`: what Placet needs on this machine, and what to do."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import replace
from typing import Annotated

import typer
from rich.text import Text

from placet_cli.command_name import pasted
from placet_cli.commands.options import command
from placet_cli.home import Home
from placet_cli.local_stack import UP
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

    ✓ is good and ✗ is wrong. … is neither yet, because the stack is still starting or stopping; · is
    neither.

    Exit status: 0 when nothing is wrong, 1 when something is, or not ready yet. With --wait, 0 only when
    the stack is up.
    """
    home = session.own_home
    up = await _wait_until_up(home, wait)
    findings = await diagnose(home, session.ports)
    if wait and not up and not any(one.what == "stack" and one.pending for one in findings):
        found = f"is not up after {wait:g} s"
        findings.append(Finding("stack", False, found, "placet up --detach"))
    findings = [replace(one, advice=session.addressed(one.advice)) for one in findings]
    if session.json:
        session.screen.raw(json.dumps([finding.as_json() for finding in findings], indent=2))
    else:
        for finding in findings:
            _print_finding(session.screen, finding)
        if any(finding.pending for finding in findings):
            session.screen.aside("… is not ready yet, which is no fault. --wait SECONDS waits for it")
        if any(finding.ok is None and not finding.pending for finding in findings):
            session.screen.say("✓ right  ✗ wrong  · neither: it is not there, or not needed now", "dim")
    if any(finding.ok is False or finding.pending for finding in findings):
        raise typer.Exit(1)


async def _wait_until_up(home: Home, seconds: float) -> bool:
    """Waits for the stack and returns True when it is up, False after so many seconds."""
    deadline = time.monotonic() + seconds
    while True:
        state = StackState.running(home)
        if state is not None and state.phase == UP:
            return True
        if time.monotonic() >= deadline:
            return False
        await asyncio.sleep(LOOK_EVERY)


def _print_finding(screen: Screen, finding: Finding) -> None:
    mark, style = {True: ("✓", "green"), False: ("✗", "bold red"), None: ("·", "dim")}[finding.ok]
    if finding.pending:
        mark, style = "…", "yellow"
    screen.say(Text.assemble((f"{mark} ", style), (fit(finding.what, 22) + " ", "cyan"), finding.found))
    if finding.advice:
        screen.say(Text.assemble(" " * 25, (pasted(finding.advice), "cyan")))
