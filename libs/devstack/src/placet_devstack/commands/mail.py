"""`placet mail`: the mails that the embedded stack sent."""

from __future__ import annotations

import json
from datetime import UTC
from typing import Annotated

import typer

from placet_cli.commands.options import command
from placet_cli.event_rows import counted
from placet_cli.option_parsers import address_of
from placet_cli.problems import Problem
from placet_cli.session import Session
from placet_cli.times import point_of
from placet_devstack.mail_sink import Mail, read_mails
from placet_text import one_line, visible

SHOWN = 20
MAIL_WIDTHS = (4, 23, 24, 26)


def register(app: typer.Typer) -> None:
    """Adds the command."""
    command(app, "mail", json="the mails as JSON")(mail)


async def mail(
    session: Session,
    number: Annotated[int | None, typer.Argument(metavar="N", min=1, help="Print this mail.")] = None,
    latest: Annotated[bool, typer.Option("--latest", help="Print the newest mail.")] = False,
    to: Annotated[str, typer.Option(metavar="ADDRESS", help="Only mails to this address.")] = "",
    limit: Annotated[int, typer.Option(min=1, help="List at most this many.")] = SHOWN,
) -> None:
    """Show the mails that the embedded stack sent, newest first.

    None of them leaves this machine.
    """
    if to:
        address_of("--to", to)
    mails = list(enumerate(read_mails(session.own_home.mails), start=1))
    chosen = [(place, one) for place, one in mails if not to or to in one.recipients]
    if number is not None:
        chosen = [(place, one) for place, one in mails if place == number]
    if not chosen:
        raise Problem(
            "there is no such mail",
            f"{counted(len(mails), 'mail is', 'mails are')} kept",
            tries=("placet mail",),
        )
    if session.json:
        shown = chosen[-1:] if latest else chosen
        session.screen.raw(json.dumps([_as_json(place, one) for place, one in shown], indent=2))
    elif number is not None or latest:
        _print_mail(session, chosen[-1][1])
    else:
        lines = [_mail_line(place, one) for place, one in reversed(chosen[-limit:])]
        session.screen.table(("no", "received", "to", "subject"), lines, MAIL_WIDTHS, grows=3)
        session.screen.aside("placet mail N prints one, placet mail --latest the newest")
        if len(chosen) > limit:
            older = counted(len(chosen) - limit, "older one is", "older ones are")
            again = f"placet mail --limit {len(chosen)}" + (f" --to {to}" if to else "")
            session.screen.aside(f"{older} not listed: {again}")


def _mail_line(place: int, one: Mail) -> tuple[str, ...]:
    return str(place), point_of(one.received), ", ".join(one.recipients), one_line(one.subject)


def _print_mail(session: Session, one: Mail) -> None:
    session.screen.say(f"To:      {', '.join(one.recipients)}", "dim")
    session.screen.say(f"Subject: {one_line(one.subject)}", "bold")
    session.screen.say()
    for line in one.text.splitlines():
        # White space carries meaning in what is quoted.
        session.screen.say(visible(line), "dim" if line.startswith(">") else "")


def _as_json(place: int, one: Mail) -> dict[str, object]:
    return {
        "number": place,
        "received": one.received.astimezone(UTC).isoformat(),
        "sender": one.sender,
        "recipients": list(one.recipients),
        "subject": one.subject,
        "messageId": one.message_id,
        "text": one.text,
    }
