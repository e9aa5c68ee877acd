"""Decisions that race the end of the wait, on the real stack: one outcome each; the loser learns it."""

from __future__ import annotations

import asyncio
import os
import re
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from functools import partial
from pathlib import Path

from placet.approval.v1 import approval_pb2
from placet.event.v1 import event_pb2
from placet_rpc.errors import InvalidArgument, PlacetError
from placet_testing.conditions import EVENTUALLY, until
from placet_testing.model import FakeModel, serving_model, verdict
from placet_testing.stack import ALICE, DecisionResult, Stack, running_test_stack

# 2 h → 0.72 s, 4 h → 1.44 s: silence at both tiers lasts two seconds.
CLOCK_SCALE = 10_000
# Races at a time at most. Of few there are fewer, so that later ones learn from earlier ones.
AT_ONCE, ROUNDS = 40, 6
# Between asking and the aligned moment, in seconds; longer when that was too short to be ready for it.
LEAD = 5.0
LONGEST_LEAD = 60.0
# Between the question to the AI and its answer, in seconds.
COUNTDOWN = 1.0
# Timeout of a call to the AI, in seconds: where a machine is so busy that Temporal loses an activity
# on its way to the worker, it is asked again only after the silence of an attempt that never began.
ASKED_WITHIN = 120.0
# Step by which the next person decides later or earlier after one has won or lost, in seconds.
STEP = 0.02
# Largest distance of a decision from the aligned moment, in seconds.
EARLIEST, LATEST = -0.2, 2.0
# A poll's pause: many wait at once, and whoever asks all the time slows the race itself.
PAUSE = 0.25

# A tier whose own timer ends the request; those that ship ask the AI then.
TIMEOUT_POLICY = """
name = "race-timeout"
version = 1
description = "A person has a while; then the policy rejects."

[[tiers]]
name = "approver"
asks = ["required_approver"]
decision_type = "human"
timeout = "12 h"

[fallback]
by = "reject"
reason = "{required_approver} did not respond"
rejection = "Nobody responded in time"
"""


class Rival(StrEnum):
    """Opponent of the person: the tier's timer, the request's deadline, or the AI's answer."""

    TIMEOUT = "timeout"
    DEADLINE = "deadline"
    AI = "AI"


@dataclass
class Races:
    """Result of the races: `faults` names each broken promise, and is empty."""

    rival: Rival
    won_by_person: int = 0
    won_by_rival: int = 0
    faults: list[str] = field(default_factory=list)

    @property
    def run(self) -> int:
        """Number of races that are over."""
        return self.won_by_person + self.won_by_rival


@dataclass
class PunctualModel(FakeModel):
    """Rejects whatever it is asked about, and says when it will: a moment after it was asked."""

    # By the name in the content: when (in Unix time) it answers about it, once that is known.
    moments: dict[str, asyncio.Future[float]] = field(default_factory=dict)

    def expect(self, name: str) -> asyncio.Future[float]:
        """The time at which it will answer about `name`, known once it is asked about it."""
        self.moments[name] = asyncio.get_running_loop().create_future()
        return self.moments[name]

    async def _answer(self, writer: asyncio.StreamWriter) -> None:
        named = re.search(r"order (\S{36})", self.user())
        moment = self.moments.get(named[1]) if named else None
        if moment is not None:
            if not moment.done():
                moment.set_result(time.time() + COUNTDOWN)
            await _sleep_until(moment.result())
        self.says(verdict("reject"))
        await super()._answer(writer)


@dataclass(frozen=True)
class RaceStack:
    """The stack on which the races run."""

    stack: Stack
    model: PunctualModel


@asynccontextmanager
async def race_stack(folder: Path) -> AsyncIterator[RaceStack]:
    """A stack with fast clocks, whose AI answers on request."""
    policies = folder / "policies"
    policies.mkdir()
    (policies / "race-timeout.toml").write_text(TIMEOUT_POLICY)
    model = PunctualModel()
    async with serving_model(model):
        environment = {
            **os.environ,
            "PLACET_APPROVAL_POLICY_FOLDER": str(policies),
            "PLACET_OPENAI_BASE_URL": model.base_url,
            "PLACET_OPENAI_MODEL": "punctual",
        }
        stack = running_test_stack(folder, clock_scale=CLOCK_SCALE, failpoints=False, environment=environment)
        async with stack as running:
            yield RaceStack(running, model)


async def races(
    stack_of_races: RaceStack,
    rival: Rival,
    count: int,
    progress: Callable[[Races], None] = lambda _races: None,
) -> Races:
    """Runs so many races, and compares answers, log and view after each.

    A race that never ends is a fault, and the others go on.

    Where a person decides a moment too early or too late for a race, the next one follows what happened:
    a step later after a person has won, a step earlier after one has lost. So each side wins about half,
    however fast the machine is.
    """
    held, aim, turns = Races(rival), _Aim(), iter(range(count))
    at_once = min(AT_ONCE, max(1, count // ROUNDS))

    async def in_turn(place: int) -> None:
        # Spread out: races that end together would wait for each other, and not for their rivals.
        await asyncio.sleep(place * LEAD / at_once)
        for _ in turns:
            try:
                while not await _race(stack_of_races, held, aim):
                    aim.lengthen()
            except (AssertionError, PlacetError) as error:
                held.faults.append(f"{type(error).__name__}: {error}")
            progress(held)

    async with asyncio.TaskGroup() as tasks:
        for place in range(at_once):
            tasks.create_task(in_turn(place))
    return held


@dataclass
class _Aim:
    """The time of a race (`lead`, in seconds after it was asked), and of a person's decision in it (`offset`,
    in seconds after the aligned moment)."""

    lead: float = LEAD
    offset: float = 0.0

    def lengthen(self) -> None:
        """The machine was too slow. Raises AssertionError when it is so for ever."""
        self.lead += 1
        assert self.lead <= LONGEST_LEAD, "the machine is too slow to align a race"

    def follow(self, *, person_won: bool) -> None:
        wanted = self.offset + (STEP if person_won else -STEP)
        self.offset = min(max(wanted, EARLIEST), LATEST)


async def _race(stack_of_races: RaceStack, held: Races, aim: _Aim) -> bool:
    """One race; whether there was one, because its person was asked before it was over."""
    stack = stack_of_races.stack
    asked = await _asked(stack_of_races, held.rival, aim.lead)
    if asked is None:
        return False
    approval_id, moment = asked
    digest = (await stack.get(approval_id)).content_digest
    await _sleep_until(moment + EARLIEST)
    await _sleep_until(moment + aim.offset)
    decide = partial(stack.processed, approval_id, ALICE, str(uuid.uuid4()), digest)
    answer = await until(decide, f"the decision about {approval_id} is processed", EVENTUALLY)
    aim.follow(person_won=answer.refusal is None)
    if answer.refusal is None:
        held.won_by_person += 1
    else:
        held.won_by_rival += 1
    path = await stack.path(approval_id)
    outcome = await stack.outcome(approval_id)
    held.faults += [f"{approval_id}: {fault}" for fault in _faults(held.rival, answer, path, outcome)]
    return True


async def _asked(stack_of_races: RaceStack, rival: Rival, lead: float) -> tuple[str, float] | None:
    """Asks; the request's id, and when (in Unix time) its wait ends unless a person is faster. None when it
    ended before anybody was asked."""
    stack = stack_of_races.stack
    if rival is Rival.AI:
        return await _asked_of_the_ai(stack_of_races)
    deadline = time.time() + lead
    if rival is Rival.TIMEOUT:
        approval_id = await stack.request("race-timeout")
    else:
        try:
            approval_id = await stack.request("simple", deadline_time=datetime.fromtimestamp(deadline, UTC))
        except InvalidArgument:
            # Sent again for so long that its deadline has passed: this one was never accepted.
            return None
    begun = partial(_begun, stack, approval_id)
    path = await until(begun, f"somebody is asked about {approval_id}", EVENTUALLY, pause=PAUSE)
    opened = [event.tier_opened for event in path if event.WhichOneof("body") == "tier_opened"]
    if not opened:
        return None
    due = opened[0].due_time.ToDatetime(tzinfo=UTC).timestamp()
    return approval_id, due if rival is Rival.TIMEOUT else deadline


async def _asked_of_the_ai(stack_of_races: RaceStack) -> tuple[str, float]:
    order = str(uuid.uuid4())
    moment = stack_of_races.model.expect(order)
    content = approval_pb2.Content(body=f"Please refund order {order}".encode(), media_type="text/plain")
    approval_id = await stack_of_races.stack.request("escalating", content=content)
    try:
        async with asyncio.timeout(ASKED_WITHIN):
            return approval_id, await moment
    except TimeoutError:
        raise AssertionError(f"the AI was not asked about {approval_id} in {ASKED_WITHIN:.0f} s") from None


async def _begun(stack: Stack, approval_id: str) -> list[event_pb2.Event] | None:
    path = await stack.path(approval_id)
    kinds = {event.WhichOneof("body") for event in path}
    return path if kinds & {"asked", "closed"} else None


async def _sleep_until(moment: float) -> None:
    await asyncio.sleep(max(moment - time.time(), 0))


def _faults(
    rival: Rival, answer: DecisionResult, path: list[event_pb2.Event], outcome: approval_pb2.Outcome
) -> list[str]:
    """Broken promises of a race that is over."""
    counted = Counter(str(event.WhichOneof("body")) for event in path)
    won = answer.refusal is None
    source = event_pb2.SOURCE_AI_FALLBACK if rival is Rival.AI else event_pb2.SOURCE_POLICY
    state = event_pb2.STATE_APPROVED if won else event_pb2.STATE_REJECTED
    checks = {
        f"logged {dict(counted)}": counted["decided"] == counted["closed"] == 1
        and counted["voted"] == (1 if won else 0),
        f"the outcome is {outcome}": outcome.state == state
        and outcome.source == (event_pb2.SOURCE_HUMAN if won else source),
        f"the loser was told {answer.refusal!r}": answer.refusal is None or _names(answer.refusal, outcome),
    }
    return [fault for fault, holds in checks.items() if not holds]


def _names(refusal: PlacetError, outcome: approval_pb2.Outcome) -> bool:
    """True if a refusal names the outcome that won, to programs and to people."""
    state = event_pb2.State.Name(outcome.state).removeprefix("STATE_")
    told = {"state": state, "approver": outcome.approver}
    in_words = f"{state.lower()} by {outcome.approver}"
    return (
        refusal.reason == "CLOSED" and told.items() <= refusal.metadata.items() and in_words in str(refusal)
    )
