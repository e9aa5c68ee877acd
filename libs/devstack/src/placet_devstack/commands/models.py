"""Commands about models."""

from __future__ import annotations

from typing import Annotated

import typer

from placet_cli import completion
from placet_cli.commands.options import command
from placet_cli.session import Session


def register(app: typer.Typer) -> None:
    """Adds these commands."""
    models = typer.Typer(help="The models that assess risk.", no_args_is_help=True)
    command(models, "evaluate", json="the report as JSON")(evaluate)
    app.add_typer(models, name="models")


async def evaluate(
    session: Session,
    policy: Annotated[
        str, typer.Option(help="Only requests of this policy.", autocompletion=completion.policy_names)
    ] = "",
    wait: Annotated[bool, typer.Option(help="Wait for the report.")] = True,
) -> None:
    """Evaluate how well risk scores predict decisions.

    The reference is people: what they approved, and what they rejected.

    The job runs in the ml worker and survives its death; asking again joins the one that runs.
    """
    # Imported late: Temporal's client costs every other command a third of a second.
    from placet_devstack import evaluation as evaluating

    await evaluating.evaluate(session, policy, wait=wait)
