"""Commands that switch automatic decisions off and on, and say how they stand."""

from __future__ import annotations

from typing import Annotated

import typer

from placet.audit.v1 import audit_service_pb2, audit_service_pb2_grpc
from placet_cli import completion
from placet_cli.commands.options import command
from placet_cli.commands.policies import check_policy
from placet_cli.formatting import scope_words, switched_off_sentence
from placet_cli.session import Session
from placet_rpc.errors import Unavailable
from placet_text import one_line

_Policy = Annotated[
    str,
    typer.Option(
        metavar="NAME", help="Only decisions under this policy.", autocompletion=completion.policy_names
    ),
]
_Model = Annotated[
    str, typer.Option(metavar="NAME", help="Only decisions of this model, as the log names it.")
]
_Reason = Annotated[str, typer.Option(metavar="TEXT", help="Why; it is kept.")]


def register(app: typer.Typer) -> None:
    """Adds these commands."""
    command(app, "off")(off)
    command(app, "on")(on)
    command(app, "status")(status)


async def off(session: Session, reason: _Reason, policy: _Policy = "", model: _Model = "") -> None:
    """Switch automatic decisions off: all, those under one policy, or those of one model.

    It holds at once, also for answers that were given and not recorded yet. People decide as ever. Where they
    do not, the policy rejects; no AI decides.
    """
    if policy:
        await _check(session, policy)
    await _switch(session, is_off=True, reason=reason, policy=policy, model=model)


async def on(session: Session, reason: _Reason, policy: _Policy = "", model: _Model = "") -> None:
    """Switch automatic decisions on again: all, those under one policy, or those of one model.

    What was switched off by itself, a policy or a model, is switched on by itself too.
    """
    await _switch(session, is_off=False, reason=reason, policy=policy, model=model)


async def status(session: Session) -> None:
    """Say which automatic decisions are switched off, since when, and why."""
    found = await switched_off(session)
    if session.json:
        session.screen.json(found)
        return
    print_switched_off(session, found)
    if not found.off:
        session.screen.say("Automatic decisions are on, within the caps of each policy.")


async def _switch(session: Session, *, is_off: bool, reason: str, policy: str, model: str) -> None:
    if policy and model:
        raise typer.BadParameter("give --policy or --model: each is switched by itself")
    request = audit_service_pb2.SwitchAutomationRequest(off=is_off, policy=policy, model=model, reason=reason)
    async with session.channel("audit") as channel:
        answer = await audit_service_pb2_grpc.AuditServiceStub(channel).SwitchAutomation(request)
    if session.json:
        session.screen.json(answer)
        return
    scope = scope_words(policy, model)
    if not is_off:
        session.screen.say(f"{scope} are on, from now on.")
        print_switched_off(session, await switched_off(session))
        return
    session.screen.paragraph(switched_off_sentence(answer.entry), "bold")
    again = f" --policy {policy}" if policy else f" --model {model}" if model else ""
    session.screen.say(f"  {session.again(f'placet automation on{again} --reason …')}", "cyan")


async def _check(session: Session, policy: str) -> None:
    """Raises Problem for a policy that there is not: nothing would be switched off, and somebody think so."""
    try:
        async with session.client(patience=0) as client:
            await check_policy(client, policy)
    except Unavailable:
        session.screen.aside(f"Whether there is a policy {one_line(policy)} was not checked.")


async def switched_off(session: Session) -> audit_service_pb2.GetAutomationResponse:
    """The switches that are off."""
    async with session.channel("audit") as channel:
        stub = audit_service_pb2_grpc.AuditServiceStub(channel)
        return await stub.GetAutomation(audit_service_pb2.GetAutomationRequest())


def print_switched_off(session: Session, found: audit_service_pb2.GetAutomationResponse) -> None:
    """Prints a line for each switch that is off."""
    for entry in found.off:
        session.screen.say(switched_off_sentence(entry), "bold red")
