"""`placet audit tail`: the log, entry by entry, as it grows."""

from __future__ import annotations

import asyncio
import json
from typing import Annotated

import typer

from placet.audit.v1 import audit_service_pb2, audit_service_pb2_grpc
from placet.event.v1 import event_pb2
from placet_cli import completion
from placet_cli.commands.options import command
from placet_cli.event_rows import RowReader
from placet_cli.export_file import entry_json
from placet_cli.screen import short
from placet_cli.session import Session
from placet_client.retry import pauses
from placet_rpc.errors import PlacetError, ends_stream_only

SHOWN_AT_FIRST = 20


def register(app: typer.Typer) -> None:
    """Adds the command."""
    command(app, "tail", json="each entry as proto3 JSON, one a line")(tail)


async def tail(
    session: Session,
    from_index: Annotated[
        int | None,
        typer.Option("--from", min=0, help="From this index on. [default: the last 20]"),
    ] = None,
    request: Annotated[
        str,
        typer.Option(
            "--about",
            metavar="ID",
            help="Only what is about this request, refused calls too.",
            autocompletion=completion.request_ids,
        ),
    ] = "",
    follow: Annotated[bool, typer.Option(help="Go on with what comes, until Ctrl-C.")] = True,
) -> None:
    """Print the log in its order, then each entry as it comes."""
    only = None
    if request:
        async with session.client() as client:
            approval = await client.get(await session.resolve(client, request))
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
    """Tails, and begins again where it ended when the service was away, however long, or the token ended."""
    following, waits, tokens = start, pauses(), printer.session.tokens()
    while True:
        token = tokens.token()
        try:
            async for some in stub.TailEvents(audit_service_pb2.TailEventsRequest(from_log_index=following)):
                waits = pauses()
                for entry in some.entries:
                    printer.entry(entry)
                following = some.next_log_index
                if printer.session.screen.unread:
                    return
        except PlacetError as error:
            if not ends_stream_only(error, fresh_token=tokens.token() != token):
                raise
            # It was there when the tail began, so it comes back.
        await asyncio.sleep(next(waits))


class _Printer:
    """Prints entries: index, time, request, who, event, why. In a terminal times are local, and
    the date is a line of its own."""

    def __init__(self, session: Session, only: str | None) -> None:
        self.session = session
        self._only = only
        self._reader = RowReader()
        self._day = ""

    def entry(self, entry: event_pb2.LogEntry) -> None:
        """One entry, if it is about what was asked for."""
        event, about = entry.entry.event, entry.entry.approval_id
        # Refusals of authority and erasures stand in the tenant's own part of the log, and name the request.
        about = about or event.access_refused.approval_id or event.erased.approval_id
        if self._only not in (None, about):
            return
        screen = self.session.screen
        if self.session.json:
            screen.raw(json.dumps(entry_json(entry)))
            return
        shown = self._reader.row(entry)
        local = shown.time.astimezone()
        day = f"{local:%Y-%m-%d}, times in {local:%Z}"
        if screen.cuts and day != self._day:
            self._day = day
            screen.say(day, "dim")
        when = f"{local:%H:%M:%S}" if screen.cuts else f"{shown.time:%Y-%m-%dT%H:%M:%SZ}"
        screen.logged(entry.index, when, short(about) or "tenant", shown)
