"""Commands about the embedded stack: run it, show it off, look after it."""

from __future__ import annotations

import json
import time
from typing import Annotated

import typer
from rich.text import Text

from placet_cli.commands.options import command
from placet_cli.home import typed
from placet_cli.screen import Screen, fit
from placet_cli.session import Session
from placet_devstack.doctor import Finding, checkup
from placet_devstack.lifecycle import Interrupts, running_stack
from placet_devstack.plan import StackOptions
from placet_devstack.process import StackEvent, Tell

_NAME = 14
_WHAT = 12


def register(app: typer.Typer) -> None:
    """Adds these commands."""
    command(app, "up")(up)
    command(app, "doctor")(doctor)


async def up(
    session: Session,
    fast: Annotated[
        bool, typer.Option("--fast", help="Sync less: what is done survives any crash, but not a power cut.")
    ] = False,
) -> None:
    """Run the whole of Placet on this machine until Ctrl-C."""
    screen, interrupts = session.screen, Interrupts()
    with interrupts.caught():
        tell = teller(screen)
        async with running_stack(
            session.home, session.ports, StackOptions(fast=fast), tell=tell, interrupts=interrupts
        ):
            if not interrupts.stop.is_set():
                tell_addresses(session)
            await interrupts.stop.wait()
            screen.say("Stopping; Ctrl-C again kills.", "dim")


def tell_addresses(session: Session) -> None:
    """Where things are, and what to type next."""
    ports, screen = session.ports, session.screen
    screen.say()
    screen.say("Placet is up. Ctrl-C stops it; all that waits goes on with the next `placet up`.", "bold")
    screen.say(f"  service   {ports.address('approval')}")
    screen.say(f"  Temporal  http://{ports.address('temporal-ui')}")
    screen.say(f"  data      {session.home.path}")
    screen.say("In another terminal:")
    screen.say(f"  placet request FILE --approver alice@example.com{session.options}", "cyan")
    screen.say(f"  placet watch{session.options}", "cyan")
    screen.say("For programs:")
    address, token = ports.address("approval"), typed(session.home.token("caller"))
    screen.say(f"  export PLACET_APPROVAL_ADDRESS={address} PLACET_TOKEN_FILE={token}", "cyan")
    screen.say()


def teller(screen: Screen) -> Tell:
    """Prints one line for each event of the stack, with the seconds since now."""
    begun = time.monotonic()

    def tell(event: StackEvent) -> None:
        line = Text.assemble(
            (f"{time.monotonic() - begun:7.1f} s ", "dim"),
            (fit(event.name, _NAME) + " ", "cyan"),
            (fit(event.what, _WHAT) + " ", "bold red" if event.bad else ""),
            event.detail,
        )
        line.rstrip()
        screen.say(line)

    return tell


async def doctor(session: Session) -> None:
    """Check what Placet needs here, and say what to do."""
    findings = await checkup(session.home, session.ports)
    if session.json:
        session.screen.raw(json.dumps([finding.as_json() for finding in findings], indent=2))
    else:
        for finding in findings:
            _tell_finding(session.screen, finding)
    if any(finding.ok is False for finding in findings):
        raise typer.Exit(1)


def _tell_finding(screen: Screen, finding: Finding) -> None:
    mark, style = {True: ("✓", "green"), False: ("✗", "bold red"), None: ("·", "dim")}[finding.ok]
    screen.say(Text.assemble((f"{mark} ", style), (fit(finding.what, 22) + " ", "cyan"), finding.found))
    if finding.advice:
        screen.say(Text.assemble(" " * 25, (finding.advice, "cyan")))
