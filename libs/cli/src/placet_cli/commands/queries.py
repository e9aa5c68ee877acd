"""Commands that read requests: list, show, watch."""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated

import typer

from placet.approval.v1 import approval_pb2, approval_service_pb2
from placet.event.v1 import event_pb2
from placet_cli import completion
from placet_cli.commands.options import Id, Output, OutputOption, command
from placet_cli.commands.policies import check_policy
from placet_cli.event_rows import ERASED, RowReader, rows
from placet_cli.formatting import (
    clock_note,
    clock_scale,
    due,
    erasure_sentence,
    facts_sentence,
    fault_sentence,
    named,
    sentence,
    state_name,
    tier_sentences,
    unread,
)
from placet_cli.option_parsers import address_of, labels_of, past_of
from placet_cli.screen import Screen, short, since
from placet_cli.session import Session
from placet_cli.times import age, point
from placet_client import PlacetClient
from placet_client.messages import Selection
from placet_text import one_line

LIST_HEAD = ("id", "state", "policy", "title", "age", "due", "who")
LIST_WIDTHS = (8, 9, 11, 16, 6, 7, 17)


class State(StrEnum):
    """Values of `--state`."""

    PENDING = "pending"
    APPROVED = "approved"
    REJECTED = "rejected"
    CANCELLED = "cancelled"
    ANSWERED = "answered"


def register(app: typer.Typer) -> None:
    """Adds these commands."""
    command(app, "list")(list_requests)
    command(app, "show")(show)
    command(app, "watch", json="each change as proto3 JSON, one a line")(watch)


async def list_requests(
    session: Session,
    state: Annotated[list[State] | None, typer.Option(help="Only in this state; may be given again.")] = None,
    policy: Annotated[
        str, typer.Option(help="Only with this policy.", autocompletion=completion.policy_names)
    ] = "",
    subject: Annotated[str, typer.Option(help="Only about this subject.")] = "",
    label: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="Only with this label; may be given again.")
    ] = None,
    requester: Annotated[
        str,
        typer.Option(metavar="WHO", help="Only by this requester: an address, or a program's name."),
    ] = "",
    approver: Annotated[str, typer.Option(metavar="ADDRESS", help="Only where this person was asked.")] = "",
    begin: Annotated[
        str, typer.Option("--since", metavar="WHEN", help="Received since: '2 days', or 2030-01-31.")
    ] = "",
    end: Annotated[str, typer.Option("--until", metavar="WHEN", help="Received before.")] = "",
    mine: Annotated[bool, typer.Option("--mine", help="Only those that wait for your own decision.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="At most this many.")] = 50,
    output: OutputOption = Output.TABLE,
) -> None:
    """List requests: those that are open first, then the newest."""
    selection: Selection = {
        "policy": policy,
        "subject_id": subject,
        "labels": labels_of(label or []),
        "requester": requester,
        "approver": address_of("--approver", approver) if approver else "",
        "waiting_for_me": mine,
    }
    received = (("from_create_time", "--since", begin), ("until_create_time", "--until", end))
    for field, option, given in received:
        time = past_of(option, given)
        if time is not None:
            selection[field] = time  # type: ignore[literal-required]  # one of the two above
    async with session.client() as client:
        found, more = await _open_first(client, limit, state or list(State), selection)
        if policy and not found:
            await check_policy(client, policy)
    if session.json:
        session.screen.json(approval_service_pb2.ListApprovalsResponse(approvals=found))
    elif output is Output.ID:
        for one in found:
            session.screen.raw(one.approval_id)
    elif not found:
        session.screen.say("No requests.")
        if requester and "@" not in requester:
            session.screen.aside(
                f"{one_line(requester)} is not an address, so it was taken as a program's name"
            )
    else:
        now = datetime.now(UTC)
        session.screen.table(LIST_HEAD, [_list_line(one, now) for one in found], LIST_WIDTHS, grows=3)
    if more:
        session.screen.aside(f"There are more: the same command with --limit {limit * 10}")


async def _open_first(
    client: PlacetClient, limit: int, states: list[State], selection: Selection
) -> tuple[list[approval_pb2.Approval], bool]:
    """At most `limit` requests, open ones before the others, and whether there are more."""
    found: dict[str, approval_pb2.Approval] = {}
    more = False
    open_ones = [one for one in states if one is State.PENDING]
    for part in (open_ones, [one for one in states if one is not State.PENDING]):
        if part and not more:
            chosen: Selection = {**selection, "states": [one.value for one in part]}
            page = await client.list(limit=max(limit - len(found), 1), **chosen)
            for one in page.approvals:
                found.setdefault(one.approval_id, one)
            more = bool(page.next_page_token) or len(found) > limit
    return list(found.values())[:limit], more


def _list_line(approval: approval_pb2.Approval, now: datetime) -> tuple[str, ...]:
    asked = approval.current_tier.people or approval.asked[-1:]
    who = approval.outcome.approver if approval.HasField("outcome") else " ".join(asked)
    return (
        short(approval.approval_id),
        f"{state_name(approval.state)}{' !' * bool(approval.log_fault)}",
        approval.policy,
        named(approval.title),
        age(now - approval.create_time.ToDatetime(tzinfo=UTC)),
        due(approval, now),
        one_line(who) or (ERASED if approval.HasField("erasure") else ""),
    )


async def show(
    session: Session,
    request: Id,
    content: Annotated[bool, typer.Option("--content", help="Print what is to be decided.")] = False,
    save: Annotated[
        str,
        typer.Option(
            metavar="FILE",
            help="Write its content's bytes to FILE; -: to stdout.",
            autocompletion=completion.files,
        ),
    ] = "",
    output: OutputOption = Output.TABLE,
) -> None:
    """Show a request: how it stands, who is asked, and its path.

    Calls that were refused for lack of authority are not on the path: placet audit tail --about ID has them
    too.
    """
    async with session.client() as client:
        approval = await client.get(await session.resolve(client, request))
        if content or save:
            answer = await client.get_content(approval.approval_id, approval.content_digest)
            # Imported late: `placet list` shows no content.
            from placet_cli.content_output import print_content

            print_content(session, approval, answer, save)
        elif session.json:
            session.screen.json(approval)
        elif output is Output.ID:
            session.screen.raw(approval.approval_id)
        else:
            print_approval(session.screen, approval)


def print_approval(screen: Screen, approval: approval_pb2.Approval) -> None:
    """Prints a request as `placet show` does: first what of its content was not read."""
    if approval.HasField("coverage"):
        screen.warn(unread(approval.coverage))
    screen.say(named(approval.title), "bold")
    priority = event_pb2.Priority.Name(approval.priority).removeprefix("PRIORITY_").lower()
    facts = [approval.approval_id, f"policy {approval.policy}", priority]
    screen.say(" · ".join([*facts, *([one_line(approval.subject_id)] if approval.subject_id else [])]), "dim")
    screen.say(f"asked {point(approval.create_time)} by {named(approval.requester)}", "dim")
    if approval.labels:
        marks = [one_line(f"{key}={value}") for key, value in sorted(approval.labels.items())]
        screen.paragraph(f"labels {' '.join(marks)}", "dim")
    screen.paragraph(facts_sentence(approval), "dim")
    note = clock_note(clock_scale(approval))
    if note:
        screen.say(note, "dim")
    screen.say()
    screen.paragraph(sentence(approval), "bold")
    if approval.HasField("outcome") and approval.outcome.reasoning:
        screen.paragraph(f"“{one_line(approval.outcome.reasoning)}”")
    for line in tier_sentences(approval):
        screen.paragraph(line)
    screen.paragraph(erasure_sentence(approval))
    screen.paragraph(fault_sentence(approval), "bold red")
    screen.say()
    print_path(screen, approval.path)


def print_path(screen: Screen, path: Iterable[event_pb2.LogEntry]) -> None:
    """The events of one request, aligned: elapsed, actor, event, reason."""
    lines = rows(path)
    for one in lines:
        screen.event(since(lines[0].time, one.time), one, whole=True)


async def watch(
    session: Session,
    request: Annotated[
        str | None,
        typer.Argument(metavar="ID", help="Only this request.", autocompletion=completion.open_request_ids),
    ] = None,
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
    reader = RowReader()
    async with session.client(patience=math.inf) as client:
        async for change in client.watch(from_log_index=from_index):
            if only is not None and change.approval.approval_id != only:
                continue
            _print_change(session, change, reader, alone=only is not None)
            if session.screen.unread:
                return
            if only is not None and change.entry.entry.event.WhichOneof("body") == "closed":
                return


def _print_change(
    session: Session, change: approval_service_pb2.WatchApprovalsResponse, reader: RowReader, *, alone: bool
) -> None:
    if session.json:
        session.screen.json(change, one_line=True)
        return
    approval = change.approval
    row = reader.row(change.entry, approval.deadline_time if approval.HasField("deadline_time") else None)
    elapsed = since(approval.create_time.ToDatetime(tzinfo=UTC), row.time) if alone else None
    session.screen.event(elapsed, row, label=short(approval.approval_id))
