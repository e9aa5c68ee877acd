"""`placet token`: a token of the embedded stack, for programs that call it in any language."""

from __future__ import annotations

from typing import Annotated

import typer

from placet_cli.commands.options import command
from placet_cli.identity import OWNER_ROLES, PERSON_ROLES, TENANT, signing_key
from placet_cli.problems import WrongInput
from placet_cli.session import Session

TTL = 3600
LONGEST_TTL = 30 * 24 * 3600


def register(app: typer.Typer) -> None:
    """Adds the command."""
    command(app, "token", json=None)(token)


async def token(
    session: Session,
    roles: Annotated[
        str, typer.Option(metavar="ROLE,…", help=f"Among {', '.join(sorted(OWNER_ROLES))}.")
    ] = ",".join(sorted(PERSON_ROLES)),
    ttl: Annotated[
        int, typer.Option(metavar="SECONDS", min=1, max=LONGEST_TTL, help="Until it expires.")
    ] = TTL,
) -> None:
    """Print a token for a program that calls the embedded stack.

    It is sent as metadata, `authorization: Bearer TOKEN`. Whoever holds it acts as the person of --as until
    it expires.
    """
    wanted = [role.strip() for role in roles.split(",") if role.strip()]
    others = [role for role in wanted if role not in OWNER_ROLES]
    if others or not wanted:
        raise WrongInput(
            f"--roles: {' or '.join(others) or roles} is no role of people",
            f"people's roles are {', '.join(sorted(OWNER_ROLES))}",
            tries=(session.again("placet token --roles requester,approver"),),
        )
    from placet_rpc.tokens.mint import mint

    session.screen.raw(mint(signing_key(session.own_home), session.who, TENANT, wanted, ttl=ttl))
