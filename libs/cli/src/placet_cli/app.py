"""What `placet` can do, and how it fails: in words."""

from __future__ import annotations

import os
import shlex
import sys
import traceback
import uuid
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Annotated

import typer

from placet_cli.commands import (
    audit,
    deciding,
    demo,
    erasing,
    models,
    options,
    policies,
    record,
    requests,
    stack,
)
from placet_cli.home import DEFAULT_HOME, Home
from placet_cli.main import INTERRUPTED
from placet_cli.problems import Problem
from placet_cli.screen import Screen

app = typer.Typer(
    name="placet",
    help="Software asks, a human answers, and the record proves it.",
    epilog="New here? `placet demo` shows the whole of it; `placet up` runs it, and says what to type next.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode=None,
)


def _tell_version(wanted: bool) -> None:
    if wanted:
        Screen().say(f"placet {metadata.version('placet-cli')}")
        raise typer.Exit


@app.callback()
def placet(
    context: typer.Context,
    home: Annotated[Path | None, options.HOME] = None,
    port_base: Annotated[int | None, options.PORT_BASE] = None,
    identity: Annotated[str | None, options.IDENTITY] = None,
    json: Annotated[bool, options.JSON] = False,
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_tell_version, help="Print the version.")
    ] = False,
) -> None:
    """Software asks, a human answers, and the record proves it."""
    found = {"home": home, "port_base": port_base, "identity": identity, "json": json}
    # What the environment says is heard by the command itself, after what was typed.
    context.obj = {key: value for key, value in found.items() if options.typed_in(context, key)}


for part in (stack, demo, requests, deciding, erasing, policies, audit, record, models):
    part.register(app)


def run() -> None:
    """Runs the command line. Whatever happens, the user gets words and no stack trace."""
    try:
        app(prog_name="placet")
    except Problem as problem:
        Screen().problem(problem)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except Exception as error:  # noqa: BLE001 (the last line before the user's terminal; kept in a file)
        Screen().problem(_unexpected(error))
        sys.exit(1)


def _unexpected(error: Exception) -> Problem:
    """A mistake of ours: its trace goes to a file, the user gets its place."""
    reference = uuid.uuid4().hex[:8]
    log = Home.at(Path(os.environ.get("PLACET_HOME") or DEFAULT_HOME)).log("cli")
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("a") as file:
            file.write(f"{datetime.now(UTC).isoformat()} {reference} {' '.join(sys.argv)}\n")
            traceback.print_exception(error, file=file)
    except OSError:
        why = f"{type(error).__name__}: {error}"
        return Problem("something unexpected happened", why, tries=("placet doctor",))
    return Problem(
        f"something unexpected happened, which is a mistake in Placet (reference {reference})",
        f"{type(error).__name__}: {error}",
        tries=("placet doctor", f"less {shlex.quote(str(log))}"),
    )
