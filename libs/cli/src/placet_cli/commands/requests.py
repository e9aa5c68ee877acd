"""Commands about requests: ask, look, watch."""

from __future__ import annotations

import asyncio
import math
import shlex
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated

import typer

from placet.approval.v1 import approval_pb2, approval_service_pb2
from placet.event.v1 import event_pb2
from placet_cli.commands.options import Id, command
from placet_cli.contents import tell_content
from placet_cli.documents import read_document
from placet_cli.formatting import (
    ERASED,
    age,
    clean,
    clock_note,
    clock_scale,
    erasure_sentence,
    named,
    point,
    row,
    rows,
    sentence,
    state_name,
)
from placet_cli.option_parsers import deadline_of, labels_of
from placet_cli.screen import Screen, short, since
from placet_cli.session import Session
from placet_cli.telemetry import traced
from placet_client import PlacetClient

# Exit status of `request --wait` when the answer is no.
DECLINED = 3
_AGREED = (event_pb2.STATE_APPROVED, event_pb2.STATE_ANSWERED)
_STATUSES = (
    "Exit status: 0 when it was asked; with --wait, 0 only when it was approved or answered, and 3 when it "
    "was rejected or cancelled. 1 when it was refused or nobody could be asked."
)
LIST_WIDTHS = (8, 9, 11, 24, 6, 17)

# After asking, until somebody is asked: milliseconds, unless a model reads the content first.
SETTLE_SECONDS = 2.0


class Priority(StrEnum):
    """What `--priority` takes."""

    URGENT = "urgent"
    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"


class State(StrEnum):
    """What `--state` takes."""

    PENDING = "pending"
    APPROVED = "approved"
    REJECTED = "rejected"
    CANCELLED = "cancelled"
    ANSWERED = "answered"


def register(app: typer.Typer) -> None:
    """Adds these commands."""
    command(app, "request", epilog=_STATUSES)(request)
    command(app, "list")(list_requests)
    command(app, "show")(show)
    command(app, "watch")(watch)


async def request(
    session: Session,
    file: Annotated[str, typer.Argument(metavar="FILE", help="What is to be decided; -: stdin.")],
    policy: Annotated[str, typer.Option(help="simple, ai-fallback, escalating, document, …")] = "simple",
    approver: Annotated[str, typer.Option(metavar="ADDRESS", help="Who is asked first.")] = "",
    manager: Annotated[str, typer.Option(metavar="ADDRESS", help="Who is asked when they are silent.")] = "",
    priority: Annotated[Priority, typer.Option(help="How urgent it is.")] = Priority.NORMAL,
    title: Annotated[str, typer.Option(help="One line. [default: the file's heading or name]")] = "",
    subject: Annotated[str, typer.Option(help="Your own id of the thing.")] = "",
    label: Annotated[list[str] | None, typer.Option(metavar="KEY=VALUE", help="Your own marks.")] = None,
    deadline: Annotated[
        str, typer.Option(metavar="WHEN", help="Ends all waiting: '90 min', '2 days', or 2030-01-31T12:00.")
    ] = "",
    request_id: Annotated[str, typer.Option(help="Idempotency key, a UUID. [default: a new one]")] = "",
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait for the outcome, and exit with 3 when it is no.")
    ] = False,
) -> None:
    """Ask for a decision about a text, a diff, JSON or a PDF."""
    if manager and manager.lower() == approver.lower():
        session.screen.aside(f"Careful: {approver} is both approver and manager, so nobody else is asked")
    document = read_document(file)
    asking = {
        "title": title or document.title,
        "content": document.body,
        "media_type": document.media_type,
        "policy": policy,
        "required_approver": approver,
        "manager_approver": manager,
        "priority": priority.value,
        "subject_id": subject,
    }
    async with session.client() as client:
        with traced(session, "placet request"):
            accepted = await client.request_approval(
                **asking,  # type: ignore[arg-type]  # all of them are text, and content may be
                labels=labels_of(label or []),
                deadline=deadline_of(deadline),
                request_id=request_id or None,
            )
        if wait:
            session.screen.aside(f"{accepted.id} waits for its outcome; it goes on waiting after Ctrl-C.")
            await client.outcome(accepted.id)
        approval = await _settled(client, accepted.id, accepted.log_index)
    if session.json and wait:
        session.screen.json(approval)
    elif session.json:
        answer = approval_service_pb2.RequestApprovalResponse(
            approval_id=accepted.id, content_digest=accepted.content_digest, log_index=accepted.log_index
        )
        session.screen.json(answer)
    elif wait:
        tell(session.screen, approval)
    else:
        _tell_accepted(session, approval)
    if wait and approval.state not in _AGREED:
        raise typer.Exit(DECLINED)


async def _settled(client: PlacetClient, approval_id: str, log_index: int) -> approval_pb2.Approval:
    """The request once somebody was asked or it is closed, or as it stands after a moment."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while True:
        approval = await client.get(approval_id, min_log_index=log_index)
        if approval.asked or approval.HasField("outcome") or time.monotonic() > deadline:
            return approval
        await asyncio.sleep(0.1)


def _tell_accepted(session: Session, approval: approval_pb2.Approval) -> None:
    screen, which = session.screen, short(approval.approval_id)
    screen.say(f"Asked: {clean(approval.title)}", "bold")
    screen.say(approval.approval_id)
    screen.paragraph(sentence(approval))
    screen.say()
    for person in approval.asked:
        screen.say(f"  placet decide {which} approve --as {shlex.quote(person)}{session.options}", "cyan")
    screen.say(f"  {session.again(f'placet show {which}')}", "cyan")


async def list_requests(
    session: Session,
    state: Annotated[list[State] | None, typer.Option(help="Only in this state; may be given again.")] = None,
    policy: Annotated[str, typer.Option(help="Only with this policy.")] = "",
    subject: Annotated[str, typer.Option(help="Only about this subject.")] = "",
    mine: Annotated[bool, typer.Option("--mine", help="Only those that wait for your own decision.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="At most this many.")] = 50,
) -> None:
    """List requests, newest first."""
    async with session.client() as client:
        found = await client.list(
            states=[one.value for one in state or []],
            policy=policy,
            subject_id=subject,
            waiting_for_me=mine,
            limit=limit,
        )
    if session.json:
        session.screen.json(found)
        return
    if not found.approvals:
        session.screen.say("No requests.")
        return
    now = datetime.now(UTC)
    lines = [_list_line(one, now) for one in found.approvals]
    session.screen.table(("id", "state", "policy", "title", "age", "who"), lines, LIST_WIDTHS, grows=3)
    if found.next_page_token:
        chosen = [f"--state {one.value}" for one in state or []]
        chosen += [f"--policy {shlex.quote(policy)}"] if policy else []
        chosen += [f"--subject {shlex.quote(subject)}"] if subject else []
        chosen += ["--mine"] if mine else []
        more = session.again(" ".join(["placet list", *chosen, f"--limit {limit * 10}"]))
        session.screen.aside(f"There are older ones: {more}")


def _list_line(approval: approval_pb2.Approval, now: datetime) -> tuple[str, ...]:
    who = approval.outcome.approver if approval.HasField("outcome") else " ".join(approval.asked[-1:])
    return (
        short(approval.approval_id),
        state_name(approval.state),
        approval.policy,
        named(approval.title),
        age(now - approval.create_time.ToDatetime(tzinfo=UTC)),
        clean(who) or (ERASED if approval.HasField("erasure") else ""),
    )


async def show(
    session: Session,
    request: Id,
    content: Annotated[bool, typer.Option("--content", help="Print what is to be decided.")] = False,
    output: Annotated[
        str, typer.Option("-o", "--output", metavar="FILE", help="Write its bytes to FILE; -: to stdout.")
    ] = "",
) -> None:
    """Show a request: how it stands in a sentence, and its path.

    Calls that were refused at the door are not on the path: placet audit tail --about ID has them too.
    """
    async with session.client() as client:
        approval = await client.get(await session.resolve(client, request))
        if content or output:
            tell_content(
                session,
                approval,
                await client.get_content(approval.approval_id, approval.content_digest),
                output,
            )
        elif session.json:
            session.screen.json(approval)
        else:
            tell(session.screen, approval)


def tell(screen: Screen, approval: approval_pb2.Approval) -> None:
    """A request as `placet show` tells it."""
    screen.say(named(approval.title), "bold")
    priority = event_pb2.Priority.Name(approval.priority).removeprefix("PRIORITY_").lower()
    facts = [approval.approval_id, f"policy {approval.policy}", priority]
    screen.say(" · ".join([*facts, *([clean(approval.subject_id)] if approval.subject_id else [])]), "dim")
    screen.say(f"asked {point(approval.create_time)} by {named(approval.requester)}", "dim")
    if approval.labels:
        marks = [clean(f"{key}={value}") for key, value in sorted(approval.labels.items())]
        screen.paragraph(f"labels {' '.join(marks)}", "dim")
    note = clock_note(clock_scale(approval))
    if note:
        screen.say(note, "dim")
    screen.say()
    screen.paragraph(sentence(approval), "bold")
    if approval.HasField("outcome") and approval.outcome.reasoning:
        screen.paragraph(f"“{clean(approval.outcome.reasoning)}”")
    screen.paragraph(erasure_sentence(approval))
    screen.say()
    tell_path(screen, approval.path)


def tell_path(screen: Screen, path: Iterable[event_pb2.LogEntry]) -> None:
    """The events of one request, aligned: elapsed, actor, event, reason."""
    told = rows(path)
    for one in told:
        screen.event(since(told[0].time, one.time), one, whole=True)


async def watch(
    session: Session,
    request: Annotated[str | None, typer.Argument(metavar="ID", help="Only this request.")] = None,
    from_index: Annotated[
        int | None, typer.Option("--from", min=0, help="From this index of the log on. [default: now]")
    ] = None,
) -> None:
    """Watch what happens, to one request or to all.

    Each event is printed as it becomes durable; one request's until it is closed. A restart of the stack does
    not end the watch; Ctrl-C does.
    """
    async with session.client() as client:
        only = await session.resolve(client, request) if request else None
        if only is None:
            # A stack that is not there is said at once; one that goes away meanwhile is waited for.
            await client.list(limit=1)
        elif from_index is None:
            approval = await client.get(only)
            from_index = approval.path[0].index if approval.path else 0
    async with session.client(patience=math.inf) as client:
        async for change in client.watch(from_log_index=from_index):
            if only is not None and change.approval.approval_id != only:
                continue
            _tell_change(session, change, alone=only is not None)
            if session.screen.unread:
                return
            if only is not None and change.entry.entry.event.WhichOneof("body") == "closed":
                return


def _tell_change(
    session: Session, change: approval_service_pb2.WatchApprovalsResponse, *, alone: bool
) -> None:
    if session.json:
        session.screen.json(change, one_line=True)
        return
    approval = change.approval
    told = row(change.entry, approval.deadline_time if approval.HasField("deadline_time") else None)
    elapsed = since(approval.create_time.ToDatetime(tzinfo=UTC), told.time) if alone else None
    session.screen.event(elapsed, told, label=short(approval.approval_id))
