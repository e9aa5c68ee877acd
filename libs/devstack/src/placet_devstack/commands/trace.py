"""`placet trace`: the spans of a request that the embedded stack stored."""

from __future__ import annotations

import dataclasses
import json
import re
import sqlite3
import time
from collections.abc import Sequence
from typing import Annotated

import typer

from placet.approval.v1 import approval_pb2
from placet_cli import completion
from placet_cli.commands.options import command
from placet_cli.formatting import named
from placet_cli.problems import Problem
from placet_cli.screen import short
from placet_cli.session import Session
from placet_devstack.spans import Span, load_trace, render
from placet_text import one_line


def register(app: typer.Typer) -> None:
    """Adds the command."""
    command(app, "trace", json="the spans as JSON")(trace)


async def trace(
    session: Session,
    request: Annotated[
        str,
        typer.Argument(
            metavar="ID", help="A request's or a trace's id.", autocompletion=completion.request_ids
        ),
    ],
    most: Annotated[int, typer.Option(min=1, help="About how many lines.")] = 60,
) -> None:
    """Draw a request's trace: every hop from caller to outcome."""
    is_trace = re.fullmatch(r"[0-9a-fA-F]{32}", request) is not None
    approval = None if is_trace else await _traced_request(session, request)
    trace_id = request.lower() if approval is None else approval.trace_id
    try:
        spans = load_trace(session.own_home.database("spans"), trace_id)
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
    """The labels of a request's decision traces, by trace id."""
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
        name=f"waiting for {' or '.join(one_line(one) for one in approval.asked)}, so far",
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
