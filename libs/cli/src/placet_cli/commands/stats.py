"""`placet stats`: how much people decide, and how much they leave to the fallback."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

import typer

from placet.approval.v1 import approval_service_pb2
from placet.event.v1 import event_pb2
from placet_cli import completion
from placet_cli.commands.options import command
from placet_cli.commands.policies import check_policy
from placet_cli.commands.switches import print_switched_off, switched_off
from placet_cli.problems import WrongInput
from placet_cli.screen import Screen
from placet_cli.session import Session
from placet_cli.times import point
from placet_domain.durations import describe_duration, parse_duration
from placet_rpc.errors import Unavailable
from placet_text import one_line

PARTS = 12
_LEVELS = "▁▂▃▄▅▆▇█"
_HEAD = ("policy", "decided", "asked", "fallback", "left", "p50", "p95", "left over time")
_WIDTHS = (12, 7, 5, 8, 5, 11, 11, 14)
_SOURCES = {
    event_pb2.SOURCE_HUMAN: "people",
    event_pb2.SOURCE_AI_PRESCREEN: "pre-screen",
    event_pb2.SOURCE_AI_FALLBACK: "AI fallback",
    event_pb2.SOURCE_POLICY: "policy",
    event_pb2.SOURCE_REQUESTER: "withdrawn",
}


def register(app: typer.Typer) -> None:
    """Adds the command."""
    command(app, "stats")(stats)


async def stats(
    session: Session,
    window: Annotated[
        str, typer.Option(metavar="TIME", help='How far back, e.g. "7 d". [default: the alarm\'s window]')
    ] = "",
    policy: Annotated[
        str,
        typer.Option(metavar="NAME", help="Only this policy.", autocompletion=completion.policy_names),
    ] = "",
) -> None:
    """Show how much people decide, and how much the fallback does."""
    back = _window(window)
    async with session.client() as client:
        found = await client.decision_stats(window=back, policy=policy, parts=PARTS)
        if policy and not found.policies:
            await check_policy(client, policy)
    if session.json:
        session.screen.json(found)
        return
    print_stats(session.screen, found)
    try:
        print_switched_off(session, await switched_off(session))
    except Unavailable:
        session.screen.aside("Whether automatic decisions are switched off cannot be said: no log answers.")


def _window(given: str) -> timedelta | None:
    if not given:
        return None
    try:
        duration = parse_duration(given)
    except ValueError as error:
        raise WrongInput(f"--window {given!r}: {error}", tries=('placet stats --window "7 d"',)) from error
    if not isinstance(duration, timedelta):
        raise WrongInput(f"--window {given!r} is no length of time", tries=('placet stats --window "7 d"',))
    return duration


def print_stats(screen: Screen, found: approval_service_pb2.GetDecisionStatsResponse) -> None:
    """Prints a line for each policy, and one for each alarm that is on."""
    start, end = found.start_time.ToDatetime(), found.end_time.ToDatetime()
    screen.say(f"Decisions of the last {describe_duration(end - start)}", "bold")
    if not found.policies:
        screen.say("None.")
        return
    several = [found.total] if len(found.policies) > 1 else []
    screen.table(_HEAD, [_line(one) for one in (*found.policies, *several)], _WIDTHS, grows=0)
    by_source = ", ".join(f"{_SOURCES.get(one.source, '?')} {one.count}" for one in found.total.by_source)
    screen.say(f"By source: {by_source}")
    screen.aside(
        "left: share of fallbacks in the decisions for which a person was asked (*: while an alarm is on)"
    )
    part = describe_duration((end - start) / PARTS)
    screen.aside(f"left over time: a bar for each {part}, · where nobody was asked")
    for one in found.policies:
        if one.HasField("alarm"):
            screen.say(
                f"ALARM: people do not respond, policy {one_line(one.policy)}, since "
                f"{point(one.alarm.begin_time)} (threshold {one.alarm.event.threshold:.0%})",
                "bold red",
            )


def _line(one: approval_service_pb2.DecisionStats) -> tuple[str, ...]:
    left = f"{one.asked_fallback_ratio:.0%}" if one.HasField("asked_fallback_ratio") else "-"
    waits = [
        describe_duration(wait.ToTimedelta()) if one.HasField("time_to_decision_p50") else "-"
        for wait in (one.time_to_decision_p50, one.time_to_decision_p95)
    ]
    numbers = [str(number) for number in (one.decisions, one.asked_decisions, one.fallbacks)]
    mark = "*" if one.HasField("alarm") else ""
    return (one_line(one.policy) or "all", *numbers, left + mark, *waits, chart(one))


def chart(one: approval_service_pb2.DecisionStats) -> str:
    """The share that people left to the fallback, part by part: a bar each, a dot where nobody was asked."""
    return "".join(
        _LEVELS[round((len(_LEVELS) - 1) * part.asked_fallbacks / part.asked_decisions)]
        if part.asked_decisions
        else "·"
        for part in one.parts
    )
