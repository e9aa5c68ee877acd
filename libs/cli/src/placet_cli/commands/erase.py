"""The command that erases what a closed request says in words."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from typing import Annotated

import typer
from google.protobuf.message import Message

from placet.approval.v1 import approval_pb2
from placet.event.v1 import event_pb2
from placet_cli.commands.options import Id, command
from placet_cli.event_rows import counted
from placet_cli.formatting import erasure_sentence, named
from placet_cli.problems import Problem
from placet_cli.screen import Screen, short
from placet_cli.session import Session
from placet_cli.times import point

_REACH = (
    "Mails that were sent, and backups, are not reached; docs/operations.md says what else is not, and for"
    " how long it stays."
)
_JSON = "the answer as proto3 JSON; with --dry-run, what would go as JSON"
# Printed before the confirmation.
_STAYS = (
    "Not reached: NotificationService keeps recipients, titles and reasons, and DecisionService the AI's"
    " reasoning, until they are as old as PLACET_NOTIFICATION_KEEP_DAYS and PLACET_DECISION_KEEP_DAYS say"
    " (184 unless set). What else is not: docs/operations.md."
)


def register(app: typer.Typer) -> None:
    """Adds this command."""
    command(app, "erase", epilog=_REACH, json=_JSON)(erase)


async def erase(
    session: Session,
    request: Id,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why; it is kept.")],
    before_retention: Annotated[
        bool, typer.Option("--before-retention", help="Also before it was kept for as long as is set.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask whether it is meant.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be erased, and erase nothing.")
    ] = False,
) -> None:
    """Erase what a closed request says in words, for good.

    Its content, title, labels, reasons and the names of people go. What was decided when, under which policy,
    about content of which digest stays, and every proof holds.
    """
    async with session.client() as client:
        approval = await client.get(await session.resolve(client, request))
        if dry_run and session.json:
            session.screen.raw(json.dumps(_as_json(approval), indent=2))
            return
        _check_closed(approval)
        if not (yes and session.json):
            print_values_to_erase(session.screen, approval)
        if dry_run:
            print_retention(session.screen, approval, before_retention=before_retention)
            session.screen.aside("Nothing was erased: --dry-run.")
            return
        if not yes:
            _confirm(session.screen)
        answer = await client.erase(approval.approval_id, reason=reason, before_retention=before_retention)
        if session.json:
            session.screen.json(answer)
            return
        erased = await client.get(approval.approval_id, min_log_index=answer.log_index)
    session.screen.paragraph(erasure_sentence(erased), "bold")
    session.screen.say(f"  {session.again(f'placet show {short(approval.approval_id)}')}", "cyan")


def _check_closed(approval: approval_pb2.Approval) -> None:
    """Raises Problem before anything is asked; the service would refuse it too."""
    if not approval.HasField("outcome"):
        raise Problem(
            f"request {short(approval.approval_id)} is open, and only a closed one can be erased",
            tries=(
                f"placet cancel {short(approval.approval_id)}",
                f"placet show {short(approval.approval_id)}",
            ),
        )


def print_values_to_erase(screen: Screen, approval: approval_pb2.Approval) -> None:
    """Prints what an erasure would take, and what it leaves elsewhere."""
    values = values_in(one.entry.event for one in approval.path)
    screen.aside(f"To erase: {named(approval.title)}")
    if not values and approval.HasField("erasure"):
        screen.aside(f"Nothing of it is left. {erasure_sentence(approval)}")
    else:
        parts = [f"{counted(values, 'value')} in the log (title, names, reasons)"]
        if not approval.HasField("erasure"):
            parts.append(f"its content ({counted(approval.content_size, 'byte')} of {approval.media_type})")
        parts += [f"labels ({len(approval.labels)})"] if approval.labels else []
        screen.aside(f"{', '.join(parts)}. It cannot be undone.")
    screen.warn([_STAYS])


def print_retention(screen: Screen, approval: approval_pb2.Approval, *, before_retention: bool) -> None:
    """Says whether it may be erased already, as far as that can be known here."""
    if before_retention or approval.HasField("erasure"):
        return
    closed = point(approval.outcome.decide_time)
    screen.aside(
        f"Closed at {closed}. Whether it has been kept for as long as is set where the service runs is"
        " checked when it is erased; until then only --before-retention erases it."
    )


def _confirm(screen: Screen) -> None:
    """Raises Problem where nobody can be asked, or does not mean it."""
    if not sys.stdin.isatty():
        raise Problem(
            "erasing cannot be undone, and nobody is here who could be asked whether it is meant",
            tries=("the same command with --yes", "the same command with --dry-run"),
        )
    if not screen.confirm("Erase it for good?"):
        raise Problem("nothing was erased")


def _as_json(approval: approval_pb2.Approval) -> dict[str, object]:
    return {
        "id": approval.approval_id,
        "title": approval.title,
        "closed": approval.HasField("outcome"),
        "erased": approval.HasField("erasure"),
        "values": values_in(one.entry.event for one in approval.path),
        "contentSize": 0 if approval.HasField("erasure") else approval.content_size,
        "labels": len(approval.labels),
    }


def values_in(messages: Iterable[Message]) -> int:
    """The number of erasable values in these messages."""
    return sum(_values(message) for message in messages)


def _values(message: Message) -> int:
    if isinstance(message, event_pb2.Erasable):
        return bool(message.value)
    parts = [
        part
        for field, found in message.ListFields()
        if field.message_type is not None
        for part in (found if field.is_repeated else (found,))
    ]
    return values_in(parts)
