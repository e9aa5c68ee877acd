"""Commands about what is on record: the log as it grows, traces, mails."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import re
import sqlite3
import time
from collections.abc import Sequence
from datetime import UTC
from typing import Annotated

import typer

from placet.approval.v1 import approval_pb2
from placet.audit.v1 import audit_service_pb2, audit_service_pb2_grpc
from placet.event.v1 import event_pb2
from placet_cli.commands.options import command
from placet_cli.exporting import entry_json
from placet_cli.mailsink import Mail, read_mails
from placet_cli.problems import Problem
from placet_cli.screen import short
from placet_cli.session import Session
from placet_cli.spans import Span, load_trace, render
from placet_cli.words import clean, named, point_of, row
from placet_client.converging import TRANSIENT, pauses
from placet_text import visible

SHOWN_AT_FIRST = 20
MAIL_WIDTHS = (4, 23, 24, 26)


def register(app: typer.Typer) -> None:
    """Adds these commands."""
    command(app, "trace")(trace)
    command(app, "mail")(mail)


async def tail(
    session: Session,
    from_index: Annotated[
        int | None,
        typer.Option("--from", min=0, help="From this index on. [default: the last 20]"),
    ] = None,
    about: Annotated[
        str, typer.Option(metavar="ID", help="Only what is about this request, refused calls too.")
    ] = "",
    follow: Annotated[bool, typer.Option(help="Go on with what comes, until Ctrl-C.")] = True,
) -> None:
    """Print the log in its order, then each entry as it comes."""
    only = None
    if about:
        async with session.client() as client:
            approval = await client.get(await session.resolve(client, about))
        only = approval.approval_id
        if from_index is None:
            from_index = approval.path[0].index
    async with session.channel("audit") as channel:
        stub = audit_service_pb2_grpc.AuditServiceStub(channel)
        size = (await stub.ListEvents(audit_service_pb2.ListEventsRequest(page_size=1))).size
        start = max(size - SHOWN_AT_FIRST, 0) if from_index is None else from_index
        printer = _Printer(session, only)
        if not follow:
            await _print_range(printer, stub, start)
            return
        await _follow(printer, stub, start)


async def _print_range(printer: _Printer, stub: audit_service_pb2_grpc.AuditServiceStub, start: int) -> None:
    request = audit_service_pb2.ListEventsRequest(
        filter=audit_service_pb2.EventFilter(from_log_index=start), page_size=1000
    )
    while True:
        page = await stub.ListEvents(request)
        for entry in page.entries:
            printer.entry(entry)
        if not page.next_page_token:
            return
        request.page_token = page.next_page_token


async def _follow(printer: _Printer, stub: audit_service_pb2_grpc.AuditServiceStub, start: int) -> None:
    """Tails, and begins again where it ended when the service was away, for however long."""
    following, waits = start, pauses()
    while True:
        try:
            async for some in stub.TailEvents(audit_service_pb2.TailEventsRequest(from_log_index=following)):
                waits = pauses()
                for entry in some.entries:
                    printer.entry(entry)
                    following = entry.index + 1
                if printer.session.screen.unread:
                    return
        except TRANSIENT:
            # It was there when the tail began, so it comes back.
            pass
        await asyncio.sleep(next(waits))


class _Printer:
    """Prints entries: index, time, request, who, event, why. In a terminal, the date is a line of its own."""

    def __init__(self, session: Session, only: str | None) -> None:
        self.session = session
        self._only = only
        self._day = ""

    def entry(self, entry: event_pb2.LogEntry) -> None:
        """One entry, if it is about what was asked for."""
        event, about = entry.entry.event, entry.entry.approval_id
        # Refusals at the door and erasures stand in the tenant's own part of the log, and name the request.
        about = about or event.access_refused.approval_id or event.erased.approval_id
        if self._only not in (None, about):
            return
        screen, told = self.session.screen, row(entry)
        if self.session.json:
            screen.raw(json.dumps(entry_json(entry)))
            return
        day, clock = f"{told.time:%Y-%m-%d}", f"{told.time:%H:%M:%S}Z"
        if screen.cuts and day != self._day:
            self._day = day
            screen.say(f"{day}, times in UTC", "dim")
        when = clock if screen.cuts else f"{day}T{clock}"
        screen.logged(entry.index, when, short(about) or "tenant", told)


async def trace(
    session: Session,
    request: Annotated[str, typer.Argument(metavar="ID", help="A request's or a trace's id.")],
    most: Annotated[int, typer.Option(min=1, help="About how many lines.")] = 60,
) -> None:
    """Draw a request's trace: every hop from caller to outcome."""
    is_trace = re.fullmatch(r"[0-9a-fA-F]{32}", request) is not None
    approval = None if is_trace else await _traced_request(session, request)
    trace_id = request.lower() if approval is None else approval.trace_id
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
        return
    screen, linked = session.screen, {} if approval is None else _decisions(approval)
    if approval is not None and (wait := _open_wait(approval, spans)):
        spans = [*spans, wait]
    screen.say(render(spans, width=screen.width if screen.cuts else None, most=most, linked=linked))


def _decisions(approval: approval_pb2.Approval) -> dict[str, str]:
    """What the traces of the decisions to a request are, by their ids."""
    events = [one.entry.event for one in approval.path]
    return {
        # A traceparent (W3C): version, trace id, span id, flags.
        event.traceparent.split("-")[1]: f"decision by {named(event.actor.name.value)}"
        for event in events
        if event.WhichOneof("body") in ("voted", "refused") and event.traceparent.count("-") == 3
    }


def _open_wait(approval: approval_pb2.Approval, spans: Sequence[Span]) -> Span | None:
    """The wait for people that is still going on; it becomes a span of its own when it ends."""
    if not approval.waiting_for_approval:
        return None
    opened = [one.entry.event for one in approval.path if one.entry.event.WhichOneof("body") == "tier_opened"]
    above = [one for one in spans if one.service == "approval" and one.name.endswith("/RequestApproval")]
    return Span(
        trace_id=approval.trace_id,
        span_id="open",
        parent_id=above[0].span_id if above else "",
        name=f"waiting for {' or '.join(clean(one) for one in approval.asked)}, so far",
        service="approval",
        kind="internal",
        start=opened[-1].time.ToNanoseconds(),
        end=time.time_ns(),
    )


async def _traced_request(session: Session, request: str) -> approval_pb2.Approval:
    async with session.client() as client:
        approval = await client.get(await session.resolve(client, request))
    if not approval.trace_id:
        raise Problem(
            f"request {short(approval.approval_id)} was not traced",
            "its caller sent no trace, or sampling left it out",
            tries=(f"placet show {short(approval.approval_id)}",),
        )
    return approval


async def mail(
    session: Session,
    number: Annotated[int | None, typer.Argument(metavar="N", min=1, help="Print this mail.")] = None,
    latest: Annotated[bool, typer.Option("--latest", help="Print the newest mail.")] = False,
    to: Annotated[str, typer.Option(metavar="ADDRESS", help="Only mails to this address.")] = "",
    limit: Annotated[int, typer.Option(min=1, help="List at most this many.")] = SHOWN_AT_FIRST,
) -> None:
    """Show the mails that the embedded stack sent, newest first.

    None of them leaves this machine.
    """
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
        lines = [_mail_line(place, one) for place, one in reversed(chosen[-limit:])]
        session.screen.table(("no", "received", "to", "subject"), lines, MAIL_WIDTHS, grows=3)
        session.screen.aside("placet mail N prints one, placet mail --latest the newest")
        if len(chosen) > limit:
            older = f"{len(chosen) - limit:,} older ones are not listed: placet mail --limit {len(chosen)}"
            session.screen.aside(older + (f" --to {to}" if to else ""))


def _mail_line(place: int, one: Mail) -> tuple[str, ...]:
    return str(place), point_of(one.received), ", ".join(one.recipients), clean(one.subject)


def _print_mail(session: Session, one: Mail) -> None:
    session.screen.say(f"To:      {', '.join(one.recipients)}", "dim")
    session.screen.say(f"Subject: {clean(one.subject)}", "bold")
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
