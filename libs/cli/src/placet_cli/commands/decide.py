"""Commands that change a request: decide it, withdraw it, comment on it."""

from __future__ import annotations

import shlex
import sys
import uuid
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from enum import StrEnum
from functools import partial
from typing import Annotated

import typer

from placet.approval.v1 import approval_pb2, approval_service_pb2
from placet_cli.commands.options import OpenId, command
from placet_cli.content_output import print_content
from placet_cli.formatting import named, sentence, unread, vote_sentence, warnings
from placet_cli.identity import OWNER
from placet_cli.option_parsers import is_address
from placet_cli.problems import Problem
from placet_cli.screen import Screen, short
from placet_cli.session import Session
from placet_cli.telemetry import traced
from placet_client import PlacetClient
from placet_rpc.errors import FailedPrecondition, PermissionDenied, PlacetError
from placet_text import one_line, says_nothing

# Exit status of a command that is durable but not processed yet.
NOT_PROCESSED_YET = 3
# People that a refusal proposes to act as.
MOST_PEOPLE = 3
# Digits of a digest that distinguish two contents at a glance.
DIGITS = 12
_STATUSES = (
    "Exit status: 0 when it took effect, 1 when it was refused, 2 on wrong usage, 3 when it is received and "
    "durable but not processed yet: the same command again, with the id that is printed, shows its result."
)

CommandId = Annotated[str | None, typer.Option(metavar="UUID", help="Idempotency key. [default: a new one]")]


class Verdict(StrEnum):
    """Verdicts that `decide` takes."""

    APPROVE = "approve"
    REJECT = "reject"


def _id_or_new(given: str | None) -> str:
    """An idempotency key as it was given, an empty one too: the service refuses it."""
    return str(uuid.uuid4()) if given is None else given


def register(app: typer.Typer) -> None:
    """Adds these commands."""
    command(app, "decide", epilog=_STATUSES)(decide)
    command(app, "cancel", epilog=_STATUSES)(cancel)
    command(app, "comment", epilog=_STATUSES)(comment)


async def decide(
    session: Session,
    request: OpenId,
    verdict: Annotated[
        Verdict | None,
        typer.Argument(metavar="VERDICT", help="approve or reject. [default: show the content and ask]"),
    ] = None,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why; needed to reject.")] = "",
    command_id: CommandId = None,
    yes: Annotated[
        bool,
        typer.Option("--yes", help="Do not ask again, though not all was read, or it may deceive."),
    ] = False,
) -> None:
    """Decide a request that you were asked to decide."""
    chosen_id = _id_or_new(command_id)
    async with session.client() as client:
        approval_id = await session.resolve(client, request)
        # As whoever runs the stack: somebody who was not asked gets that refusal.
        approval, content = await session.look(client, approval_id)
        if verdict is None:
            chosen = _ask(session, approval, content, reason)
            if chosen is None:
                session.screen.aside("Nothing was decided.")
                return
            verdict, reason = chosen
            shown = approval
        else:
            _check(session, approval, content, yes=yes)
            shown = _unrendered(approval)
        try:
            with traced(session, "placet decide"):
                answer = await client.decide(
                    approval_id, verdict.value, reason=reason, shown=shown, command_id=chosen_id
                )
        except (PermissionDenied, FailedPrecondition) as error:
            raise _refused(session, error, approval, f"decide ID {verdict.value}") from error
        again = ["decide", approval_id, verdict.value, "--command-id", chosen_id]
        words = partial(vote_sentence, yes=verdict is Verdict.APPROVE)
        await _print_effect(session, client, approval_id, answer, _with_reason(again, reason), words)


def _check(
    session: Session,
    approval: approval_pb2.Approval,
    content: approval_service_pb2.GetContentResponse | None,
    *,
    yes: bool,
) -> None:
    """Names what is decided, and asks once more where not all was read, or it may deceive. Raises Problem."""
    if session.screen.cuts and not session.json:
        digest = approval.content_digest.hex()[:DIGITS]
        session.screen.aside(f"To decide: {one_line(approval.title)} (content {digest}…)")
    if content is not None:
        careful = [*unread(content.coverage), *warnings(content)]
        session.screen.warn(careful)
        if careful and not yes:
            _confirm(session.screen)


def _ask(
    session: Session,
    approval: approval_pb2.Approval,
    content: approval_service_pb2.GetContentResponse | None,
    reason: str,
) -> tuple[Verdict, str] | None:
    """Shows the content, and asks for verdict and reason; None to skip. Raises Problem without a terminal."""
    which = short(approval.approval_id)
    if content is None:
        raise Problem(sentence(approval), tries=(f"placet show {which}",))
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise Problem(
            "there is no terminal to ask on, so say approve or reject",
            tries=(f"placet decide {which} approve", f'placet decide {which} reject --reason "…"'),
        )
    session.screen.say(named(approval.title), "bold")
    session.screen.say(f"policy {approval.policy}, asked by {named(approval.requester)}", "dim")
    session.screen.paragraph(sentence(approval))
    session.screen.say()
    print_content(session, approval, content, "")
    session.screen.say()
    while True:
        said = session.screen.prompt("Approve, reject or skip?", default="skip").strip().lower()
        # A first letter will do.
        verdict = next((one for one in Verdict if said and one.value.startswith(said)), None)
        if verdict is not None:
            break
        if "skip".startswith(said):
            return None
    if reason:
        return verdict, reason
    if verdict is Verdict.APPROVE:
        return verdict, session.screen.prompt("Reason", default="", show_default=False).strip()
    while says_nothing(reason):
        reason = session.screen.prompt("Reason, which a rejection needs").strip()
    return verdict, reason


def _confirm(screen: Screen) -> None:
    """Asks whether it is meant, where somebody can be asked. Raises Problem if it is not."""
    if sys.stdin.isatty() and sys.stderr.isatty() and not screen.confirm("Decide all the same?"):
        raise Problem("nothing was decided", tries=("the same command with --yes",))


def _unrendered(approval: approval_pb2.Approval) -> approval_pb2.Approval:
    """The request as a decision may name it when no content was shown: without rendering."""
    return approval_pb2.Approval(content_digest=approval.content_digest, policy_digest=approval.policy_digest)


def _awaited(approval: approval_pb2.Approval) -> Iterable[str]:
    """Everyone who was asked and has not voted in the open tier."""
    voted = {one.person for one in approval.current_tier.votes}
    return [one for one in approval.asked if one not in voted]


# Refusals of who acts, and those who may do it in their place.
_OTHERS: dict[str, Callable[[approval_pb2.Approval], Iterable[str]]] = {
    **dict.fromkeys(("NOT_ASKED", "SELF_APPROVAL", "ALREADY_VOTED"), _awaited),
    "NOT_INVOLVED": lambda approval: [approval.requester, *approval.asked],
    "NOT_REQUESTER": lambda approval: [approval.requester],
}


def _refused(session: Session, error: PlacetError, approval: approval_pb2.Approval, again: str) -> Exception:
    """The refusal of who acts, with what helps in this state of the request; any other refusal itself.

    `again` is the command without `placet`, with ID for the request.
    """
    if error.reason not in _OTHERS:
        return error
    which = short(approval.approval_id)
    what = error.message.strip().rstrip(".")
    if approval.HasField("outcome"):
        # Nobody can do it any more.
        return Problem(what, f"the request is closed: {sentence(approval)}", tries=(f"placet show {which}",))
    # A program acts by its own token.
    people = [one for one in dict.fromkeys(_OTHERS[error.reason](approval)) if is_address(one)]
    command = again.replace("ID", which, 1)
    owners = [f"placet {command}  (without --as, you run the stack and may)"]
    if error.reason in ("NOT_REQUESTER", "NOT_INVOLVED"):
        people = [one for one in people if one != OWNER]
    else:
        owners = []
    others = [one for one in people if one.lower() != session.who.lower()]
    steps = [f"placet {command} --as {shlex.quote(one)}" for one in others[:MOST_PEOPLE]] + owners
    return Problem(what, tries=(*steps, f"placet show {which}"))


@asynccontextmanager
async def _explained(
    session: Session, client: PlacetClient, approval_id: str, again: str
) -> AsyncIterator[None]:
    """Inside, a refusal of who acts is raised with what helps instead, see `_refused`."""
    try:
        yield
    except PermissionDenied as error:
        try:
            async with session.overseer(client) as seeing:
                approval = await seeing.get(approval_id)
        except PlacetError:
            # Not for these eyes.
            raise error from None
        raise _refused(session, error, approval, again) from error


async def cancel(
    session: Session,
    request: OpenId,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why.")] = "",
    command_id: CommandId = None,
) -> None:
    """Withdraw a request."""
    chosen = _id_or_new(command_id)
    async with session.client() as client:
        approval_id = await session.resolve(client, request)
        async with _explained(session, client, approval_id, "cancel ID"):
            answer = await client.cancel(approval_id, reason=reason, command_id=chosen)
        again = ["cancel", approval_id, "--command-id", chosen]
        await _print_effect(session, client, approval_id, answer, _with_reason(again, reason), sentence)


async def comment(
    session: Session,
    request: OpenId,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="The comment.")],
    command_id: CommandId = None,
) -> None:
    """Add a comment to an open request.

    For who asked, who was asked, and operators. Everybody who sees the request sees it.
    """
    chosen = _id_or_new(command_id)
    async with session.client() as client:
        approval_id = await session.resolve(client, request)
        async with _explained(session, client, approval_id, f"comment ID {shlex.quote(text)}"):
            answer = await client.comment(approval_id, text, command_id=chosen)
        again = shlex.join(["placet", "comment", approval_id, text, "--command-id", chosen])
        await _print_effect(session, client, approval_id, answer, again, _commented)


def _commented(approval: approval_pb2.Approval) -> str:
    return f"The comment is recorded. {sentence(approval)}"


def _with_reason(command: list[str], reason: str) -> str:
    """A command that can be pasted: exactly the call that was made."""
    return shlex.join(["placet", *command, *(["--reason", reason] if reason else [])])


async def _print_effect(
    session: Session,
    client: PlacetClient,
    approval_id: str,
    answer: approval_pb2.CommandResult,
    again: str,
    words: Callable[[approval_pb2.Approval], str],
) -> None:
    effective = answer.status == approval_pb2.COMMAND_STATUS_EFFECTIVE
    if session.json:
        session.screen.json(answer)
    elif effective:
        approval = await client.get(approval_id, min_log_index=answer.log_index)
        session.screen.paragraph(words(approval), "bold")
    else:
        session.screen.paragraph("Received and durable, but not processed yet. Its result:")
        session.screen.say(f"  {session.again(again)}", "cyan")
        session.screen.say(f"  {session.again(f'placet show {short(approval_id)}')}", "cyan")
    if not effective:
        raise typer.Exit(NOT_PROCESSED_YET)
