"""`placet automation`: the group of the commands that switch automatic decisions."""

from __future__ import annotations

import typer

from placet_cli.lazy import Entry, group

_SWITCHES = "placet_cli.commands.switches"

COMMANDS = (
    Entry("off", _SWITCHES, "Switch automatic decisions off: nothing is decided without a person."),
    Entry("on", _SWITCHES, "Switch automatic decisions on again."),
    Entry("status", _SWITCHES, "Say which automatic decisions are switched off, since when, and why."),
)


def register(app: typer.Typer) -> None:
    """Adds the group."""
    automation = typer.Typer(
        cls=group(COMMANDS),
        help="Switch off, and on again, what is decided without a person.",
        epilog="An operator's word. It holds from its entry in the log on, for all requests of the tenant, "
        "also for answers that a model gave before. People can decide as ever; where nobody does, the policy "
        "rejects.",
        no_args_is_help=True,
        rich_markup_mode=None,
    )
    app.add_typer(automation, name="automation")
