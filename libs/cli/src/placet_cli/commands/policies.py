"""`placet policies`: what a request may name with --policy."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Annotated

import typer

from placet.approval.v1 import approval_pb2, approval_service_pb2
from placet_cli import completion
from placet_cli.commands.options import command
from placet_cli.problems import Problem
from placet_cli.screen import Screen
from placet_cli.session import Session
from placet_client import PlacetClient
from placet_rpc.errors import NotFound


def register(app: typer.Typer) -> None:
    """Adds the command."""
    command(app, "policies")(policies)


async def policies(
    session: Session,
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME", help="Only this one, with its whole text.", autocompletion=completion.policy_names
        ),
    ] = None,
    version: Annotated[
        int, typer.Option(metavar="N", min=0, help="Version of the policy NAME. [default: the current one]")
    ] = 0,
    all_versions: Annotated[
        bool, typer.Option("--all", help="Also versions that only older requests keep.")
    ] = False,
) -> None:
    """List the policies: who is asked, how long, and what then."""
    async with session.client() as client:
        if name is None:
            chosen = await client.policies(all_versions=all_versions)
        else:
            try:
                chosen = [await client.policy(name, version)]
            except NotFound as error:
                raise _unknown(error.message, await client.policies()) from error
    if session.json:
        if name is None:
            session.screen.json(approval_service_pb2.ListPoliciesResponse(policies=chosen))
        else:
            session.screen.json(approval_service_pb2.GetPolicyResponse(policy=chosen[0]))
        return
    for policy in chosen:
        _print(session.screen, policy)
        session.screen.say()
    if name is None:
        session.screen.aside("placet policies NAME shows one with its whole text")


async def check_policy(client: PlacetClient, name: str) -> None:
    """Raises Problem where no request can have a policy of this name: there is and was none."""
    known = await client.policies(all_versions=True)
    if name not in {one.name for one in known}:
        raise _unknown(f"there is no policy {name!r}", known)


def _unknown(what: str, known: Iterable[approval_pb2.Policy]) -> Problem:
    names = dict.fromkeys(one.name for one in known)
    return Problem(what, f"there are {', '.join(names)}", tries=("placet policies",))


def _print(screen: Screen, policy: approval_pb2.Policy) -> None:
    screen.say(policy.name if policy.is_current else f"{policy.name} (version {policy.version})", "bold")
    screen.say(f"  {policy.description}")
    for number, step in enumerate(policy.steps, 1):
        screen.say(f"  {number}. {step}")
    for cap in policy.caps:
        screen.say(f"  - {cap}")
    if policy.body:
        screen.say(f"  version {policy.version}, SHA-256 {policy.policy_digest.hex()}", "dim")
        screen.raw(json.dumps(json.loads(policy.body), indent=2))
