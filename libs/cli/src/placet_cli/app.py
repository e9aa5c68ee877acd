"""The `placet` command: its options, its commands, and its last error handler."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from placet_cli.commands import options
from placet_cli.completion import Shell, script_of
from placet_cli.lazy import Entry, group
from placet_cli.problems import INTERRUPTED, Problem

_OWN, _DEVSTACK = "placet_cli.commands", "placet_devstack.commands"

COMMANDS = (
    Entry("up", f"{_DEVSTACK}.stack", "Run the whole of Placet on this machine until Ctrl-C."),
    Entry("down", f"{_DEVSTACK}.stack", "Stop the stack that runs on this machine."),
    Entry("doctor", f"{_DEVSTACK}.doctor", "Check what Placet needs here, and say what to do."),
    Entry("demo", f"{_DEVSTACK}.demo", "Watch six requests find their answers."),
    Entry("request", f"{_OWN}.request", "Ask for a decision about a text, a diff, JSON or a PDF."),
    Entry("wait", f"{_OWN}.request", "Wait until a request is decided, for however long."),
    Entry("list", f"{_OWN}.queries", "List requests: those that are open first, then the newest."),
    Entry("show", f"{_OWN}.queries", "Show a request: how it stands, who is asked, and its path."),
    Entry("watch", f"{_OWN}.queries", "Watch what happens, to one request or to all."),
    Entry("decide", f"{_OWN}.decide", "Decide a request that you were asked to decide."),
    Entry("comment", f"{_OWN}.decide", "Add a comment to an open request."),
    Entry("cancel", f"{_OWN}.decide", "Withdraw a request."),
    Entry("erase", f"{_OWN}.erase", "Erase what a closed request says in words, for good."),
    Entry(
        "policies",
        f"{_OWN}.policies",
        "List the policies: who is asked, how long, and what then.",
    ),
    Entry("automation", f"{_OWN}.automation", "Switch off, and on again, what is decided without a person."),
    Entry("stats", f"{_OWN}.stats", "Show how much people decide, and how much the fallback does."),
    Entry("audit", f"{_OWN}.audit", "The record of everything that happened, and its proofs."),
    Entry("trace", f"{_DEVSTACK}.trace", "Draw a request's trace: every hop from caller to outcome."),
    Entry("mail", f"{_DEVSTACK}.mail", "Show the mails that the embedded stack sent, newest first."),
    Entry("token", f"{_DEVSTACK}.token", "Print a token for a program that calls the embedded stack."),
    Entry("models", f"{_DEVSTACK}.models", "The models that assess risk."),
)

_MISSING = tuple(f"placet {entry.name}" for entry in COMMANDS if not entry.installed)
_STATUSES = (
    "Exit status of every command: 0 done, 1 refused or failed, 2 wrong usage: the command line was refused "
    "before anything was sent. The --help of a command says what others it has."
)
_EPILOG = (
    "This is a client: PLACET_APPROVAL_ADDRESS and PLACET_TOKEN_FILE name the service and who acts. With "
    "placet-devstack installed, `placet up` runs all of it here."
    if _MISSING
    else "New here? `placet demo` shows the whole of it; `placet up` runs it, and says what to type next."
)

app = typer.Typer(
    name="placet",
    cls=group(COMMANDS),
    help="Software asks, a human answers, and the record proves it.",
    epilog=f"{_STATUSES}\n\n{_EPILOG}",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib import metadata

        from placet_cli.screen import Screen

        Screen().say(f"placet {metadata.version('placet-cli')}")
        raise typer.Exit


def _print_completion(shell: Shell | None) -> None:
    if shell is not None:
        from placet_cli.screen import Screen

        Screen().raw(script_of(shell))
        raise typer.Exit


@app.callback()
def placet(
    context: typer.Context,
    home: Annotated[str | None, options.HOME] = None,
    port_base: Annotated[int | None, options.PORT_BASE] = None,
    identity: Annotated[str | None, options.IDENTITY] = None,
    json: Annotated[bool, options.JSON] = False,
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version.")
    ] = False,
    completion: Annotated[
        Shell | None,
        typer.Option(
            is_eager=True,
            callback=_print_completion,
            help="Print the script that completes placet's commands, for the start file of this shell.",
        ),
    ] = None,
) -> None:
    """Software asks, a human answers, and the record proves it."""
    found = {"home": home, "port_base": port_base, "identity": identity, "json": json}
    # Environment variables are left to the command: typed options take precedence over them.
    context.obj = {key: value for key, value in found.items() if options.typed_in(context, key)}


def run() -> None:
    """Runs the command line. Whatever happens, the user gets words and no stack trace.

    Exit status: 2 when the command line was refused before anything was sent, whichever option was wrong;
    1 when something failed or was refused later; else the command's own.
    """
    try:
        app(prog_name="placet")
    except Problem as problem:
        _print_problem(problem)
        sys.exit(problem.status)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except Exception as error:  # noqa: BLE001 (the last line before the user's terminal; kept in a file)
        _print_problem(_unexpected(error))
        sys.exit(1)


def _print_problem(problem: Problem) -> None:
    # Imported late: `placet --help` needs no screen.
    from placet_cli.screen import Screen

    # A command that is not installed is no next step.
    problem.tries = tuple(step for step in problem.tries if not step.startswith(_MISSING))
    Screen().problem(problem)


def _unexpected(error: Exception) -> Problem:
    """Reports a defect of Placet: its trace goes to a file, the user gets a reference to it."""
    import traceback
    import uuid
    from datetime import UTC, datetime

    from placet_cli.home import DEFAULT_HOME, Home

    reference = uuid.uuid4().hex[:8]
    try:
        log = Home.at(Path(os.environ.get("PLACET_HOME") or DEFAULT_HOME)).log("cli")
        log.parent.mkdir(parents=True, exist_ok=True)
        # Arguments may be no UTF-8, and so may what the error quotes of them.
        with log.open("a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(f"{datetime.now(UTC).isoformat()} {reference} {' '.join(sys.argv)}\n")
            traceback.print_exception(error, file=file)
    except (OSError, RuntimeError, ValueError):
        why = f"{type(error).__name__}: {error}"
        return Problem("something unexpected happened", why, tries=("placet doctor",))
    return Problem(
        f"something unexpected happened, which is a mistake in Placet (reference {reference})",
        f"{type(error).__name__}: {error}",
        tries=("placet doctor", f"less {shlex.quote(str(log))}"),
    )
