"""`placet audit verify`: the verifier of placet-verify, with the home's log, key and witness as defaults."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from placet_cli import completion
from placet_cli.commands.options import command
from placet_cli.home import shown
from placet_cli.key_options import KEY, ORIGIN, verifier_errors
from placet_cli.session import Session
from placet_verify.options import Defaults, Request
from placet_verify.runner import verify as verify_log

STATUSES = (
    "Exit status: 0 proven, 1 not proven or not to be read, 2 wrong usage. Where there is no entry, "
    "nothing is proven."
)


def register(app: typer.Typer) -> None:
    """Adds the command."""
    command(app, "verify", epilog=STATUSES, json="the findings as JSON")(verify)


async def verify(
    session: Session,
    database: Annotated[
        str,
        typer.Option(
            metavar="URL", help="sqlite:///PATH or postgresql://… [default: the home's]", show_default=False
        ),
    ] = "",
    export: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            exists=True,
            dir_okay=False,
            help="What `placet audit export` wrote.",
            autocompletion=completion.files,
        ),
    ] = None,
    witness: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            exists=True,
            file_okay=False,
            autocompletion=completion.files,
            help="What a witness keeps, with its key in witness.vkey. [default: the home's, for its own log]",
            show_default=False,
        ),
    ] = None,
    key: Annotated[list[str] | None, KEY] = None,
    origin: Annotated[str, ORIGIN] = "",
    tenant: Annotated[str, typer.Option(metavar="NAME", help="Only this tenant's log. [default: all]")] = "",
    most: Annotated[int, typer.Option(min=1, help="Print at most this many findings.")] = 20,
) -> None:
    """Verify the whole log, and say exactly where it breaks.

    Reads what is stored, and neither asks nor trusts AuditService, which may run meanwhile. Every leaf, the
    whole tree, every signature, every value that is there, and what erased those that are not. With a witness
    also that nothing was put back to what it was, rewritten with the log's own key, or deleted whole.
    """
    request = Request(database, export, witness, key or [], origin, tenant, most)
    if database and export is not None:
        raise typer.BadParameter("there is one log to verify: give --database or --export")
    home = session.own_home
    stored = (home.database("audit"), home.log_key, home.witness, home.attestation_keys)
    defaults = Defaults(*(Path(shown(path)) for path in stored))
    with verifier_errors():
        proven = await verify_log(
            request, session.screen, as_json=session.json, defaults=defaults, command="placet audit verify"
        )
    if not proven:
        raise typer.Exit(1)
