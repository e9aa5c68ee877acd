"""`placet audit`: the group of the commands about the log."""

from __future__ import annotations

import typer

from placet_cli.lazy import Entry, group

_LOG, _RECEIPTS = "placet_cli.commands.log", "placet_cli.commands.receipts"

COMMANDS = (
    Entry("tail", "placet_cli.commands.tail", "Print the log in its order, then each entry as it comes."),
    Entry("verify", "placet_cli.commands.verify", "Verify the whole log, and say exactly where it breaks."),
    Entry("checkpoint", _LOG, "Print the log's signed checkpoint and the public keys."),
    Entry("receipt", _RECEIPTS, "Get a request's path with the proof that the log holds it."),
    Entry("verify-receipt", _RECEIPTS, "Verify a receipt offline: who decided what, and when."),
    Entry("export", _LOG, "Write the whole log to a file, to be verified elsewhere."),
)


def register(app: typer.Typer) -> None:
    """Adds the group."""
    audit = typer.Typer(
        cls=group(COMMANDS),
        help="The record of everything that happened, and its proofs.",
        epilog="The log is a Merkle tree with signed checkpoints. Whoever runs it can append to it, and "
        "change nothing that was there without being found out, as long as somebody else keeps its public "
        "key (`placet audit checkpoint --keys`) and a witness. docs/audit.md says against whom that holds, "
        "and against whom it does not.",
        no_args_is_help=True,
        rich_markup_mode=None,
    )
    app.add_typer(audit, name="audit")
