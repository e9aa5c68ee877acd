"""Commands about what is on record: the log, traces, mails."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import re
import sqlite3
import time
from datetime import UTC
from typing import Annotated

import typer

from placet.audit.v1 import audit_service_pb2, audit_service_pb2_grpc, event_pb2
from placet_cli.commands.options import command
from placet_cli.mailsink import Mail, read_mails
from placet_cli.problems import Problem
from placet_cli.screen import short
from placet_cli.session import PATIENCE, Session
from placet_cli.spans import load_trace, render
from placet_cli.words import clean, row, visible
from placet_client.converging import TRANSIENT, pauses

SHOWN_AT_FIRST = 20
MAIL_WIDTHS = (4, 20, 28, 25)


def register(app: typer.Typer) -> None:
    """Adds these commands."""
    audit = typer.Typer(help="The record of everything that happened.", no_args_is_help=True)
    command(audit, "tail")(tail)
    app.add_typer(audit, name="audit")
    command(app, "trace")(trace)
    command(app, "mail")(mail)


async def tail(
    session: Session,
    from_index: Annotated[
        int | None,
        typer.Option("--from", min=0, help="From this index on. [default: the last 20]"),
    ] = None,
    follow: Annotated[bool, typer.Option(help="Go on with what comes, until Ctrl-C.")] = True,
) -> None:
    """Print the log's entries in their order, and each new one as it becomes durable."""
    async with session.channel("audit") as channel:
        stub = audit_service_pb2_grpc.AuditServiceStub(channel)
        size = (await stub.ListEvents(audit_service_pb2.ListEventsRequest(page_size=1))).size
        start = max(size - SHOWN_AT_FIRST, 0) if from_index is None else from_index
        if not follow:
            await _print_range(session, stub, start)
            return
        await _follow(session, stub, start)


async def _print_range(session: Session, stub: audit_service_pb2_grpc.AuditServiceStub, start: int) -> None:
    request = audit_service_pb2.ListEventsRequest(from_index=start, page_size=1000)
    while True:
        page = await stub.ListEvents(request)
        for entry in page.entries:
            _print_entry(session, entry)
        if not page.next_page_token:
            return
        request.page_token = page.next_page_token


async def _follow(session: Session, stub: audit_service_pb2_grpc.AuditServiceStub, start: int) -> None:
    """Tails, and begins again where it ended when the service was away for a moment."""
    following, waits, alive = start, pauses(), time.monotonic()
    while True:
        try:
            async for some in stub.TailEvents(audit_service_pb2.TailEventsRequest(from_index=following)):
                waits, alive = pauses(), time.monotonic()
                for entry in some.entries:
                    _print_entry(session, entry)
                    following = entry.index + 1
                if session.screen.unread:
                    return
        except TRANSIENT:
            if time.monotonic() - alive > PATIENCE:
                raise
        await asyncio.sleep(next(waits))


def _print_entry(session: Session, entry: event_pb2.LogEntry) -> None:
    if session.json:
        session.screen.json(entry, one_line=True)
        return
    label = f"{short(entry.entry.approval_id) or 'tenant'}"
    session.screen.event(None, row(entry), label=label)


async def trace(
    session: Session,
    request: Annotated[str, typer.Argument(metavar="ID", help="A request's or a trace's id.")],
    most: Annotated[int, typer.Option(min=1, help="About how many lines.")] = 60,
) -> None:
    """Draw the trace of a request: every hop from the caller to the outcome."""
    trace_id = (
        request.lower() if re.fullmatch(r"[0-9a-fA-F]{32}", request) else await _trace_of(session, request)
    )
    try:
        spans = load_trace(session.home.database("spans"), trace_id)
    except sqlite3.Error as error:
        raise Problem("the stored spans cannot be read", str(error), tries=("placet doctor",)) from error
    if not spans:
        raise Problem(
            f"no spans of trace {trace_id} are stored here",
            "they take a second to arrive; with OTEL_EXPORTER_OTLP_ENDPOINT set they are in that backend",
            tries=(f"placet trace {request}",),
        )
    if session.json:
        session.screen.raw(json.dumps([dataclasses.asdict(span) for span in spans], indent=2))
    else:
        session.screen.say(render(spans, most=most))


async def _trace_of(session: Session, request: str) -> str:
    async with session.client() as client:
        approval = await client.get(await session.resolve(client, request))
    if not approval.trace_id:
        raise Problem(
            f"request {short(approval.id)} was not traced",
            "its caller sent no trace, or sampling left it out",
            tries=(f"placet show {short(approval.id)}",),
        )
    return approval.trace_id


async def mail(
    session: Session,
    number: Annotated[int | None, typer.Argument(metavar="N", min=1, help="Print this mail.")] = None,
    latest: Annotated[bool, typer.Option("--latest", help="Print the newest mail.")] = False,
    to: Annotated[str, typer.Option(metavar="ADDRESS", help="Only mails to this address.")] = "",
) -> None:
    """Show the newest mails that the embedded stack sent; none of them leaves this machine."""
    mails = list(enumerate(read_mails(session.home.mails), start=1))
    chosen = [(place, one) for place, one in mails if not to or to in one.recipients]
    if number is not None:
        chosen = [(place, one) for place, one in mails if place == number]
    if not chosen:
        raise Problem("there is no such mail", f"{len(mails)} mails are kept", tries=("placet mail",))
    if session.json:
        shown = chosen[-1:] if latest else chosen
        session.screen.raw(json.dumps([_as_json(place, one) for place, one in shown], indent=2))
    elif number is not None or latest:
        _print_mail(session, chosen[-1][1])
    else:
        lines = [_mail_line(place, one) for place, one in chosen[-SHOWN_AT_FIRST:]]
        session.screen.table(("no", "received", "to", "subject"), lines, MAIL_WIDTHS)
        session.screen.aside("placet mail N prints one, placet mail --latest the newest")


def _mail_line(place: int, one: Mail) -> tuple[str, ...]:
    received = one.received.astimezone().strftime("%Y-%m-%d %H:%M:%S")
    return str(place), received, ", ".join(one.recipients), clean(one.subject)


def _print_mail(session: Session, one: Mail) -> None:
    session.screen.say(f"To:      {', '.join(one.recipients)}", "dim")
    session.screen.say(f"Subject: {clean(one.subject)}", "bold")
    session.screen.say()
    for line in one.text.splitlines():
        # White space carries meaning in what is quoted.
        session.screen.say(visible(line))


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
