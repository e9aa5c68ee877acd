"""Commands about the log as a whole: its checkpoint, its export."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from placet.audit.v1 import audit_service_pb2, audit_service_pb2_grpc
from placet_cli import completion
from placet_cli.commands import receipts
from placet_cli.commands.options import command
from placet_cli.event_rows import entries
from placet_cli.export_file import write_export
from placet_cli.session import Session
from placet_verify.progress import Progress


def register(app: typer.Typer) -> None:
    """Adds these commands."""
    command(app, "checkpoint")(checkpoint)
    command(app, "export", json=None)(export)


async def checkpoint(
    session: Session,
    keys: Annotated[bool, typer.Option("--keys", help="Print the public keys alone, one a line.")] = False,
    note: Annotated[
        bool, typer.Option("--note", help="Print the signed note alone, byte for byte as it was signed.")
    ] = False,
) -> None:
    """Print the log's signed checkpoint and the public keys.

    The keys are those of the log, and of what people say.

    A checkpoint is the log's name, how many entries it has, and their root: whoever keeps one can later see
    whether the log still begins with what it was then. Keep the keys where who runs the log cannot change
    them.
    """
    if keys and note:
        raise typer.BadParameter("give --keys or --note: each prints its part alone")
    async with session.channel("audit") as channel:
        stub = audit_service_pb2_grpc.AuditServiceStub(channel)
        found = await stub.GetCheckpoint(audit_service_pb2.GetCheckpointRequest())
    if session.json:
        public = {"keys": found.keys, "attestation_keys": found.attestation_keys}
        parts = public if keys else {"checkpoint": found.checkpoint} if note else None
        session.screen.json(found if parts is None else audit_service_pb2.GetCheckpointResponse(**parts))
        return
    if note:
        # A note ends with its last line's end, and `raw` adds one.
        session.screen.raw(found.checkpoint.removesuffix("\n"))
        return
    if not keys:
        session.screen.raw(found.checkpoint)
        session.screen.aside(
            "Public keys of the log, newest first, and of people's commands; anybody may know them:"
        )
    for key in [*found.keys, *found.attestation_keys]:
        session.screen.raw(key)


async def export(
    session: Session,
    output: Annotated[
        Path,
        typer.Option(
            "-o",
            "--output",
            metavar="FILE",
            help="Where to.",
            dir_okay=False,
            autocompletion=completion.files,
        ),
    ],
) -> None:
    """Write the whole log to a file, to be verified elsewhere.

    Lines of JSON: a header with the newest checkpoint, then each entry with the values that still exist. FILE
    is written only when all of it arrived. It holds what people wrote: guard it like the log.
    """
    with Progress() as progress:
        async with session.channel("audit") as channel:
            stub = audit_service_pb2_grpc.AuditServiceStub(channel)
            messages = stub.ExportEvents(audit_service_pb2.ExportEventsRequest())
            count = await write_export(messages, output, lambda n: progress.show(f"{entries(n)} written"))
    session.screen.aside(f"{entries(count)}. To verify them:")
    session.screen.aside(session.addressed(f"placet audit verify --export {shlex.quote(str(output))}"))
    session.screen.aside(receipts.elsewhere(session))
