"""Commands of who asks: ask for a decision, wait for it."""

from __future__ import annotations

import asyncio
import shlex
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from enum import StrEnum
from typing import Annotated

import typer

from placet.approval.v1 import approval_pb2, approval_service_pb2
from placet.event.v1 import event_pb2
from placet_cli import completion
from placet_cli.commands.options import OpenId, Output, OutputOption, command
from placet_cli.commands.queries import print_approval
from placet_cli.formatting import sentence
from placet_cli.input_files import read_document
from placet_cli.option_parsers import (
    assignments_of,
    deadline_of,
    facts_of,
    labels_of,
    option_of_slot,
)
from placet_cli.screen import short
from placet_cli.session import Session
from placet_cli.telemetry import traced
from placet_client import PlacetClient
from placet_rpc.errors import InvalidArgument
from placet_text import one_line

# Exit status when the answer is no.
DECLINED = 3
_AGREED = (event_pb2.STATE_APPROVED, event_pb2.STATE_ANSWERED)
_OUTCOMES = "0 when it was approved or answered, 3 when it was rejected or cancelled"
_REQUEST_STATUSES = (
    f"Exit status: 0 when it was asked; with --wait, {_OUTCOMES}. "
    "1 when it was refused or nobody could be asked, 2 on wrong usage."
)
_WAIT_STATUSES = (
    f"Exit status: {_OUTCOMES}, 1 when there is no such request or nobody to ask for it, 2 on wrong usage."
)

# After asking, until somebody is asked: milliseconds, unless a model reads the content first.
SETTLE_SECONDS = 2.0


class Priority(StrEnum):
    """Values of `--priority`."""

    URGENT = "urgent"
    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"


def register(app: typer.Typer) -> None:
    """Adds these commands."""
    command(app, "request", epilog=_REQUEST_STATUSES)(request)
    command(app, "wait", epilog=_WAIT_STATUSES)(wait_for)


async def request(
    session: Session,
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE", help="What is to be decided; -: stdin.", autocompletion=completion.files
        ),
    ],
    policy: Annotated[
        str,
        typer.Option(
            help="simple, ai-fallback, escalating, document, …", autocompletion=completion.policy_names
        ),
    ] = "simple",
    approver: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ADDRESS",
            help="Who is asked first: the slot required_approver; several by a comma, or given again.",
        ),
    ] = None,
    manager: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ADDRESS", help="Who is asked when they are silent: manager_approver; several as above."
        ),
    ] = None,
    assign: Annotated[
        list[str] | None,
        typer.Option(metavar="SLOT=WHO", help="Who fills any other slot of the policy; several as above."),
    ] = None,
    priority: Annotated[Priority, typer.Option(help="How urgent it is.")] = Priority.NORMAL,
    title: Annotated[
        str, typer.Option(help="One line, at most 200 characters. [default: the file's heading or name]")
    ] = "",
    subject: Annotated[str, typer.Option(help="Your own id of the thing, up to 200 characters.")] = "",
    label: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="Your own marks; may be given up to 20 times."),
    ] = None,
    fact: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE",
            help="What the action is: kind=payment, amount='120 EUR', counterparty=…, target=…, "
            "environment=…, and others of its kind; may be given again.",
        ),
    ] = None,
    deadline: Annotated[
        str, typer.Option(metavar="WHEN", help="Ends all waiting: '90 min', '2 days', or 2030-01-31T12:00.")
    ] = "",
    request_id: Annotated[
        str | None, typer.Option(metavar="UUID", help="Idempotency key. [default: a new one]")
    ] = None,
    wait: Annotated[
        bool, typer.Option("--wait", help="Then wait for the outcome, as `placet wait ID` does.")
    ] = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Ask for a decision about a text, a diff, JSON or a PDF."""
    assignments = assignments_of(approver or [], manager or [], assign or [])
    labels, ends = labels_of(label or []), deadline_of(deadline)
    facts = facts_of(fact or [])
    document = read_document(file)
    async with session.client() as client:
        with traced(session, "placet request"), _as_given(assignments), _warnings_shown(session):
            accepted = await client.request_approval(
                title=title or document.title,
                content=document.body,
                media_type=document.media_type,
                policy=policy,
                assignments=assignments,
                priority=priority.value,
                subject_id=subject,
                labels=labels,
                facts=facts,
                deadline=ends,
                request_id=request_id,
            )
        if session.json and not wait:
            answer = approval_service_pb2.RequestApprovalResponse(
                approval_id=accepted.id, content_digest=accepted.content_digest, log_index=accepted.log_index
            )
            session.screen.json(answer)
        elif output is Output.ID and not session.json:
            session.screen.raw(accepted.id)
        elif not session.json:
            _print_accepted(session, await _settled(client, accepted.id, accepted.log_index))
        if wait:
            await _wait(session, client, accepted.id, output)


@contextmanager
def _warnings_shown(session: Session) -> Iterator[None]:
    """Shows the client's warnings of what is asked."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        yield
    for one in caught:
        session.screen.aside(f"Careful: {one.message}")


@contextmanager
def _as_given(assignments: Mapping[str, Sequence[str]]) -> Iterator[None]:
    """Inside, a person whom the service refuses is named with the option, as it was given."""
    try:
        yield
    except InvalidArgument as error:
        given = {
            f"assignments[{place}].people[{number}]": f"{option_of_slot(slot)}{person}"
            for place, (slot, people) in enumerate(assignments.items())
            for number, person in enumerate(people)
        }
        error.violations = tuple(
            replace(one, field=given.get(one.field, one.field)) for one in error.violations
        )
        raise


async def wait_for(session: Session, request: OpenId, output: OutputOption = Output.TABLE) -> None:
    """Wait until a request is decided, for however long.

    A restart of the stack does not end the wait. Ctrl-C does, and the request goes on: the same command waits
    again.
    """
    async with session.client() as client:
        approval_id = await session.resolve(client, request)
        # A stack that is not there is said at once; one that goes away meanwhile is waited for.
        await client.get(approval_id)
        await _wait(session, client, approval_id, output)


async def _wait(session: Session, client: PlacetClient, approval_id: str, output: Output) -> None:
    """Waits for the outcome and prints it. Raises typer.Exit when it is no."""
    again = session.again(f"placet wait {short(approval_id)}")
    session.screen.aside(
        f"Waiting for the outcome. Ctrl-C ends the wait, not the request; to wait again: {again}"
    )
    await client.outcome(approval_id)
    approval = await client.get(approval_id)
    if session.json:
        session.screen.json(approval)
    elif output is Output.TABLE:
        session.screen.say()
        print_approval(session.screen, approval)
    if approval.state not in _AGREED:
        raise typer.Exit(DECLINED)


async def _settled(client: PlacetClient, approval_id: str, log_index: int) -> approval_pb2.Approval:
    """The request once somebody was asked or it is closed, or as it stands after a moment."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while True:
        approval = await client.get(approval_id, min_log_index=log_index)
        if approval.asked or approval.HasField("outcome") or time.monotonic() > deadline:
            return approval
        await asyncio.sleep(0.1)


def _print_accepted(session: Session, approval: approval_pb2.Approval) -> None:
    screen, which = session.screen, short(approval.approval_id)
    screen.say(f"Asked: {one_line(approval.title)}", "bold")
    screen.say(approval.approval_id)
    screen.paragraph(sentence(approval))
    screen.say()
    for person in approval.asked:
        screen.say(f"  placet decide {which} approve --as {shlex.quote(person)}{session.options}", "cyan")
    screen.say(f"  {session.again(f'placet show {which}')}", "cyan")
