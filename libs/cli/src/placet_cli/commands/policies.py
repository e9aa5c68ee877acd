"""`placet policies`: what a request may name with --policy."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from placet_cli.commands.options import command
from placet_cli.problems import Problem
from placet_cli.screen import Screen
from placet_cli.session import Session
from placet_domain.durations import format_duration
from placet_domain.policy import ByPriority, Policy, Tier
from placet_domain.policy_files import BadPolicy, load

_FOLDER = "PLACET_APPROVAL_POLICY_FOLDER"


def register(app: typer.Typer) -> None:
    """Adds the command."""
    command(app, "policies")(policies)


async def policies(
    session: Session,
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="Only this one, with its words.")] = None,
) -> None:
    """List the policies: who is asked, how long, and what then.

    They are those that `placet up` uses here: the built-in ones, and the operator's own in the folder that
    PLACET_APPROVAL_POLICY_FOLDER names.
    """
    known = _known()
    if name is not None and name not in known:
        raise Problem(
            f"there is no policy {name}", f"there are {', '.join(known)}", tries=("placet policies",)
        )
    chosen = list(known.values()) if name is None else [known[name]]
    if session.json:
        bodies = [one.model_dump(mode="json") for one in chosen]
        session.screen.raw(json.dumps(bodies if name is None else bodies[0], indent=2))
        return
    for policy in chosen:
        _tell(session.screen, policy)
        if name is not None:
            _tell_words(session.screen, policy)
        session.screen.say()
    if name is None:
        session.screen.aside("placet policies NAME shows one with its words")


def _known() -> Mapping[str, Policy]:
    folder = os.environ.get(_FOLDER)
    try:
        found = load(Path(folder) if folder else None)
    except BadPolicy as error:
        raise Problem("the policies cannot be read", str(error), tries=(f"ls {folder}",)) from error
    return dict(sorted(found.items()))


def _tell(screen: Screen, policy: Policy) -> None:
    screen.say(policy.name, "bold")
    screen.say(f"  {policy.description}")
    screened = policy.pre_screen
    if screened is not None:
        to = f"a risk below {screened.approve_below} is approved" if screened.approve_below else "to inform"
        screen.say(f"  first   an AI looks at the risk: {to}")
    for tier in policy.tiers:
        option = "--approver" if tier.approver == "required" else "--manager"
        screen.say(f"  asks    the {tier.name} ({option}): {_time_of(tier)}")
    by = "the AI decides" if policy.fallback.by == "ai" else "it is rejected"
    endless = policy.tiers[-1].timeout == "without limit"
    screen.say(f"  {'at the deadline of the request, if it has one,' if endless else 'then   '} {by}")


def _time_of(tier: Tier) -> str:
    timeout = tier.timeout
    if isinstance(timeout, ByPriority):
        times = {
            name: format_duration(getattr(timeout, name)) for name in ("urgent", "high", "normal", "low")
        }
        return ", ".join(f"{name} {time}" for name, time in times.items())
    return timeout if isinstance(timeout, str) else format_duration(timeout)


def _tell_words(screen: Screen, policy: Policy) -> None:
    screen.say(f"  version {policy.version}, SHA-256 {policy.digest()}", "dim")
    for tier in policy.tiers:
        screen.say(f"  the {tier.name} is told: “{tier.asks}”")
    screen.say(f"  the log says of the end: “{policy.fallback.reason}”")
    screen.say(f"  a rejection there says: “{policy.fallback.rejection}”")
