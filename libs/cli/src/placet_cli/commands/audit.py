"""Commands for auditors: the log's checkpoints, receipts, exports, and whether all of it is whole."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from placet.audit.v1 import audit_service_pb2, audit_service_pb2_grpc
from placet_cli.commands import receipts
from placet_cli.commands.options import command
from placet_cli.commands.record import tail
from placet_cli.exporting import write_export
from placet_cli.known_keys import KEY, ORIGIN
from placet_cli.progress import Progress
from placet_cli.session import Session

STATUSES = (
    "Exit status: 0 proven, 1 not proven or not to be read, 2 wrong usage. Where there is no entry, "
    "nothing is proven."
)


def register(app: typer.Typer) -> None:
    """Adds these commands."""
    audit = typer.Typer(
        help="The record of everything that happened, and its proofs.",
        epilog="The log is a Merkle tree with signed checkpoints. Whoever runs it can append to it, and "
        "change nothing that was there without being found out, as long as somebody else keeps its public "
        "key (`placet audit checkpoint --keys`) and a witness. docs/audit.md says against whom that holds, "
        "and against whom it does not.",
        no_args_is_help=True,
        rich_markup_mode=None,
    )
    command(audit, "tail")(tail)
    command(audit, "verify", epilog=STATUSES)(verify)
    command(audit, "checkpoint")(checkpoint)
    command(audit, "receipt")(receipts.receipt)
    command(audit, "verify-receipt", epilog=receipts.STATUSES)(receipts.verify_receipt)
    command(audit, "export")(export)
    app.add_typer(audit, name="audit")


async def checkpoint(
    session: Session,
    keys: Annotated[bool, typer.Option("--keys", help="Print the public keys alone, one a line.")] = False,
) -> None:
    """Print the log's signed checkpoint and its public keys.

    A checkpoint is the log's name, how many entries it has, and their root: whoever keeps one can later tell
    whether the log still begins with what it was then. Keep the keys where who runs the log cannot change
    them.
    """
    async with session.channel("audit") as channel:
        stub = audit_service_pb2_grpc.AuditServiceStub(channel)
        found = await stub.GetCheckpoint(audit_service_pb2.GetCheckpointRequest())
    if session.json:
        session.screen.json(audit_service_pb2.GetCheckpointResponse(keys=found.keys) if keys else found)
        return
    if not keys:
        session.screen.raw(found.checkpoint)
        session.screen.aside("Public keys, newest first; anybody may know them:")
    for key in found.keys:
        session.screen.raw(key)


async def export(
    session: Session,
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FILE", help="Where to.", dir_okay=False)],
) -> None:
    """Write the whole log to a file, to be verified elsewhere.

    Lines of JSON: a header with the newest checkpoint, then each entry with the values that still exist. FILE
    is written only when all of it arrived. It holds what people wrote: guard it like the log.
    """
    with Progress() as progress:
        async with session.channel("audit") as channel:
            stub = audit_service_pb2_grpc.AuditServiceStub(channel)
            messages = stub.ExportEvents(audit_service_pb2.ExportEventsRequest())
            count = await write_export(messages, output, lambda n: progress.show(f"{n:,} entries written"))
    session.screen.aside(f"{count:,} entries. To verify them:")
    session.screen.aside(f"placet audit verify --export {shlex.quote(str(output))}{session.given}")
    session.screen.aside(receipts.elsewhere(session))


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
        typer.Option(metavar="FILE", exists=True, dir_okay=False, help="What `placet audit export` wrote."),
    ] = None,
    witness: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            exists=True,
            file_okay=False,
            help="What a witness keeps, with its key in witness.vkey. [default: the home's, for its own log]",
            show_default=False,
        ),
    ] = None,
    key: Annotated[list[str] | None, KEY] = None,
    origin: Annotated[str, ORIGIN] = "",
    tenant: Annotated[str, typer.Option(metavar="NAME", help="Only this tenant's log. [default: all]")] = "",
    most: Annotated[int, typer.Option(min=1, help="Tell at most this many findings.")] = 20,
) -> None:
    """Verify the whole log, and say exactly where it breaks.

    Reads what is stored, and neither asks nor trusts AuditService, which may run meanwhile. Every leaf, the
    whole tree, every signature, every value that is there, and what erased those that are not. With a witness
    also that nothing was put back to what it was, rewritten with the log's own key, or deleted whole.
    """
    # Imported late: other commands do without.
    from placet_cli.auditing import verify
    from placet_cli.verdicts import Asked

    asked = Asked(database, export, witness, key or [], origin, tenant, most)
    if database and export is not None:
        raise typer.BadParameter("there is one log to verify: give --database or --export")
    if not await verify(session, asked):
        raise typer.Exit(1)
