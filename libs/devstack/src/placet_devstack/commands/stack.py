"""`placet up` and `placet down`: run the embedded stack and stop it."""

from __future__ import annotations

import time
from typing import Annotated

import typer
from rich.text import Text

from placet_cli.commands.options import command
from placet_cli.home import shown, typed
from placet_cli.screen import Screen, fit
from placet_cli.session import Session
from placet_devstack.child import Report, StackEvent
from placet_devstack.detached import start_detached, stop_stack
from placet_devstack.lifecycle import Interrupts, running_stack
from placet_devstack.plan import StackOptions

_NAME = 14
_WHAT = 12


def register(app: typer.Typer) -> None:
    """Adds these commands."""
    command(app, "up", json=None)(up)
    command(app, "down", json=None)(down)


async def up(
    session: Session,
    fast: Annotated[
        bool, typer.Option("--fast", help="Sync less: what is done survives any crash, but not a power cut.")
    ] = False,
    detach: Annotated[
        bool, typer.Option("--detach", help="Return when it is ready; `placet down` stops it.")
    ] = False,
) -> None:
    """Run the whole of Placet on this machine until Ctrl-C."""
    if detach:
        await start_detached(session, fast=fast)
        print_addresses(session, f"Placet is up. `{session.again('placet down')}` stops it", "Next:")
        return
    screen, interrupts = session.screen, Interrupts()
    with interrupts.caught():
        report = event_printer(screen)
        async with running_stack(
            session.home, session.ports, StackOptions(fast=fast), report=report, interrupts=interrupts
        ):
            if not interrupts.stop.is_set():
                print_addresses(session, "Placet is up. Ctrl-C stops it", "In another terminal:")
            await interrupts.stop.wait()
            screen.say("Stopping; Ctrl-C again kills.", "dim")


async def down(session: Session) -> None:
    """Stop the stack that runs on this machine.

    All that waits goes on with the next `placet up`.
    """
    stopped = await stop_stack(session.own_home)
    where = shown(session.home.path)
    session.screen.say(f"The stack on {where} is stopped." if stopped else f"No stack runs on {where}.")


def print_addresses(session: Session, headline: str, following: str) -> None:
    """Prints where the stack listens, and the next commands."""
    ports, screen = session.ports, session.screen
    screen.say()
    screen.say(f"{headline}; all that waits goes on with the next `placet up`.", "bold")
    screen.say(f"  service   {ports.address('approval')}")
    screen.say(f"  Temporal  http://{ports.address('temporal-ui')}")
    screen.say(f"  data      {session.home.path}")
    screen.say(following)
    screen.step(f"placet request FILE --approver alice@example.com{session.options}")
    screen.step(f"placet watch{session.options}")
    screen.say("For programs:")
    address, token = ports.address("approval"), typed(session.home.token("caller"))
    screen.say(f"  export PLACET_APPROVAL_ADDRESS={address} PLACET_TOKEN_FILE={token}", "cyan")
    screen.say()


def event_printer(screen: Screen) -> Report:
    """Prints one line for each event of the stack, with the seconds since now."""
    begun = time.monotonic()

    def report(event: StackEvent) -> None:
        line = Text.assemble(
            (f"{time.monotonic() - begun:7.1f} s ", "dim"),
            (fit(event.name, _NAME) + " ", "cyan"),
            (fit(event.what, _WHAT) + " ", "bold red" if event.bad else ""),
            event.detail,
        )
        line.rstrip()
        screen.say(line)

    return report
