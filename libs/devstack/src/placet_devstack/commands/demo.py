"""`placet demo`: the whole of Placet in a minute."""

from __future__ import annotations

import asyncio
import dataclasses
import time
import uuid
from datetime import timedelta
from typing import Annotated

import typer

from placet.approval.v1 import approval_pb2
from placet.event.v1 import event_pb2
from placet_cli.commands.options import command
from placet_cli.formatting import clock_note, state_name
from placet_cli.home import Home, Ports
from placet_cli.identity import OWNER, person
from placet_cli.problems import INTERRUPTED, Problem
from placet_cli.screen import Screen, in_columns, short
from placet_cli.session import Session
from placet_cli.telemetry import exported
from placet_cli.times import span
from placet_client import PlacetClient
from placet_devstack.child import ProcessSpec, StackEvent
from placet_devstack.demo.player import KILLED, Player, as_expected
from placet_devstack.demo.scenarios import CLOCK_SCALE, REQUESTER, SCENARIOS, Scenario
from placet_devstack.lifecycle import Interrupts, running_stack
from placet_devstack.plan import StackOptions, stack
from placet_devstack.spans import Span, load_trace, render
from placet_devstack.supervisor import Supervisor
from placet_text import one_line

# Longer than any machine needs; what is not closed by then is a failure.
STORY_SECONDS = 180.0
SPAN_SECONDS = 8.0
# The killed worker is down for longer than a decision waits for its result.
DOWN_SECONDS = 2.0
# The trace with two people, two silences and an AI in it.
TRACED_SCENARIO = 5
TRACE_LINES = 22
# The same in every terminal, as the README shows them.
TABLE_HEAD = ("#", "request", "outcome", "who", "why", "wait")
TABLE_WIDTHS = (2, 19, 9, 17, 24, 4)


def register(app: typer.Typer) -> None:
    """Adds the command."""
    command(app, "demo", json=None)(demo)


async def demo(
    session: Session,
    ends: Annotated[
        bool,
        typer.Option("--exit", help="End by itself; status 0 only if every outcome is right."),
    ] = False,
) -> None:
    """Watch six requests find their answers.

    People, silence, an AI, and a worker that is killed.
    """
    interrupts = Interrupts()
    options = StackOptions(fast=True, clock_scale=CLOCK_SCALE, embedded_ai=True)
    listener = _Listener(session.screen)
    with interrupts.caught():
        session.screen.say("Starting Temporal, four services and three workers …", "dim")
        begun = time.monotonic()
        async with running_stack(
            session.home, session.ports, options, report=listener, interrupts=interrupts, plan=_unhurried
        ) as supervisor:
            if interrupts.stop.is_set():
                return
            session.screen.say(f"Ready in {span(timedelta(seconds=time.monotonic() - begun))}.", "dim")
            show = _Show(session, supervisor, listener)
            await interrupts.or_stop(asyncio.create_task(show.run(your_turn=not ends)))
            if not ends:
                await interrupts.stop.wait()
            session.screen.say("Stopping …", "dim")
    if show.good is None and ends:
        raise typer.Exit(INTERRUPTED)
    if show.good is False:
        raise Problem("not every outcome is as it should be", tries=(f"ls {session.home.path / 'logs'}",))
    if ends:
        session.screen.say("Next, run the stack and look at what the demo left:", "bold")
        session.screen.step(f"placet up --detach{session.options}")
        session.screen.step(f"placet list{session.options}")


def _unhurried(home: Home, ports: Ports, options: StackOptions) -> list[ProcessSpec]:
    """The stack, whose killed worker stays down long enough to be missed."""
    return [
        dataclasses.replace(spec, restart_pause=DOWN_SECONDS) if spec.name == KILLED else spec
        for spec in stack(home, ports, options)
    ]


class _Listener:
    """Prints the stack's events: only bad ones while it starts and stops, all of them during the story."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self.player: Player | None = None

    def __call__(self, event: StackEvent) -> None:
        if self.player is not None:
            self.player.on_stack_event(event)
        elif event.bad:
            self._screen.say(f"{event.name} {event.what}: {event.detail}", "red")


class _Show:
    """The story, and what is printed after it."""

    def __init__(self, session: Session, supervisor: Supervisor, listener: _Listener) -> None:
        self._session = session
        self._screen = session.screen
        self._supervisor = supervisor
        self._listener = listener
        # None until the story has come to its end.
        self.good: bool | None = None

    async def run(self, *, your_turn: bool) -> None:
        """All of it. Raises Problem if the story does not come to its end."""
        self._print_scenarios()
        player = Player(self._session, self._supervisor, SCENARIOS)
        self._listener.player = player
        try:
            with exported(self._session):
                async with asyncio.timeout(STORY_SECONDS):
                    approvals = await player.play()
        except TimeoutError:
            raise Problem(
                f"the story did not end within {STORY_SECONDS:.0f} s", tries=("placet list", "placet doctor")
            ) from None
        finally:
            self._listener.player = None
        self.good = self._print_outcomes(approvals)
        await self._print_trace(approvals[TRACED_SCENARIO - 1])
        if your_turn:
            await self._print_your_turn()

    def _print_scenarios(self) -> None:
        self._screen.say()
        self._screen.say(f"Six requests, all at once. {clock_note(CLOCK_SCALE)}.", "bold")
        for scenario in SCENARIOS:
            self._screen.say(f"  #{scenario.number} {scenario.caption}")
        self._screen.say()

    def _print_outcomes(self, approvals: list[approval_pb2.Approval]) -> bool:
        self._screen.say()
        self._screen.say(in_columns(TABLE_HEAD, TABLE_WIDTHS), "dim")
        for scenario, one in zip(SCENARIOS, approvals, strict=True):
            self._screen.say(in_columns(_outcome_line(scenario, one), TABLE_WIDTHS))
        played = zip(SCENARIOS, approvals, strict=True)
        wrong = [scenario for scenario, one in played if not as_expected(scenario, one)]
        for scenario in wrong:
            self._screen.say(f"✗ #{scenario.number} should have been {scenario.expected}", "bold red")
        if not wrong:
            self._screen.say("✓ Every outcome is as it should be. Nothing was lost to the kill.", "green")
        return not wrong

    async def _print_trace(self, approval: approval_pb2.Approval) -> None:
        self._screen.say()
        self._screen.say(f"One trace, #{TRACED_SCENARIO} from its caller to its outcome:", "bold")
        spans = await self._spans_of(approval.trace_id)
        self._screen.say(render(spans, most=TRACE_LINES))

    async def _spans_of(self, trace_id: str) -> list[Span]:
        """The trace's spans, once no more arrive: they come a second late."""
        spans: list[Span] = []
        deadline = time.monotonic() + SPAN_SECONDS
        while time.monotonic() < deadline:
            await asyncio.sleep(1.2)
            before, spans = len(spans), load_trace(self._session.home.database("spans"), trace_id)
            if spans and len(spans) == before:
                break
        return spans

    async def _print_your_turn(self) -> None:
        tokens = person(self._session.home, REQUESTER)
        async with PlacetClient.connect(self._session.address("approval"), tokens) as client:
            asked = await client.request_approval(
                title="May the demo end here?",
                content="You have seen six requests find their answers. This one waits for yours.\n",
                policy="simple",
                required_approver=OWNER,
                request_id=uuid.uuid4(),
            )
            self._invite(asked.id)
            outcome = await asked.outcome()
        self._screen.say(f"{outcome.sentence} That was you; thank you.", "bold green")
        self._screen.say()
        self._screen.say("The stack stays up, for whatever you want to try; Ctrl-C ends the demo.", "bold")
        self._screen.step(f"placet trace {short(asked.id)}{self._session.options}")
        self._screen.step("placet --help")

    def _invite(self, approval_id: str) -> None:
        options, screen = self._session.options, self._screen
        screen.say()
        screen.say("Your turn. This one waits for you, without limit. In another terminal:", "bold")
        screen.step(f"placet decide {short(approval_id)} approve{options}")
        screen.step(f"placet show {short(approval_id)}{options}")
        screen.step(f"placet mail --latest{options}")
        ports = self._session.ports
        screen.say(
            f"Callers reach {ports.address('approval')}, Temporal is at http://{ports.address('temporal-ui')}"
        )
        screen.say("Ctrl-C ends the demo; what waits goes on with the next `placet up`.", "dim")


def _outcome_line(scenario: Scenario, approval: approval_pb2.Approval) -> tuple[str, ...]:
    outcome = approval.outcome
    match outcome.source:
        case event_pb2.SOURCE_AI_PRESCREEN:
            why = f"risk {approval.pre_screen.risk:.2f}, rule {outcome.rule}"
        case event_pb2.SOURCE_AI_FALLBACK:
            why = f"two silences; {outcome.confidence:.0%} sure"
        case _:
            why = one_line(outcome.reasoning)
    state = state_name(outcome.state).upper()
    waited = f"{outcome.waited.ToTimedelta().total_seconds():.0f} s"
    return str(scenario.number), scenario.title, state, outcome.approver, why, waited
