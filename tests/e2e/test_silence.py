"""People are silent on the real stack: one alarm begins, whatever is killed, and ends when they respond."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from placet.audit.v1 import audit_service_pb2
from placet.event.v1 import event_pb2
from placet_devstack.alarms import reported_alarms
from placet_devstack.child import StackEvent
from placet_devstack.doctor import Finding, diagnose
from placet_devstack.mail_sink import read_mails
from placet_testing.conditions import EVENTUALLY, SOON, until
from placet_testing.stack import ALICE, Stack, running_test_stack

pytestmark = pytest.mark.integration

# 2 h → 2.4 s, 4 h → 4.8 s; the alarm's window → 10 min.
CLOCK_SCALE = 3000
SETTINGS = {"PLACET_APPROVAL_FALLBACK_ALARM_DECISIONS": "3", "PLACET_APPROVAL_FALLBACK_ALARM_HOURS": "500"}


@pytest.fixture
async def stack(tmp_path: Path) -> AsyncIterator[Stack]:
    entered = running_test_stack(tmp_path, clock_scale=CLOCK_SCALE, environment=os.environ | SETTINGS)
    async with entered as running:
        yield running


@pytest.fixture
async def told(stack: Stack) -> AsyncIterator[list[StackEvent]]:
    """The alarms that are reported where the stack runs."""
    events: list[StackEvent] = []
    async with reported_alarms(stack.home, stack.ports, events.append):
        yield events


async def alarms(stack: Stack) -> list[bool]:
    """The alarms that the log holds: True for one that begins."""
    listing = audit_service_pb2.ListEventsRequest(page_size=1000)
    entries = (await (await stack.audit()).ListEvents(listing)).entries
    events = [one.entry.event for one in entries]
    return [event.fallback_alarm.raised for event in events if event.HasField("fallback_alarm")]


def subjects(stack: Stack) -> list[str]:
    return [mail.subject for mail in read_mails(stack.home.mails) if "you@localhost" in mail.recipients]


async def silence(stack: Stack, number: int) -> None:
    """Requests that nobody decides, until the AI does."""
    asked = await asyncio.gather(*(stack.request("escalating") for _ in range(number)))
    outcomes = await asyncio.gather(*(stack.outcome(one) for one in asked))
    assert {outcome.source for outcome in outcomes} == {event_pb2.SOURCE_AI_FALLBACK}


async def people(stack: Stack) -> list[Finding]:
    return [one for one in await diagnose(stack.home, stack.ports) if one.what == "people"]


async def test_people_who_are_silent_raise_one_alarm_and_people_who_respond_end_it(
    stack: Stack, told: list[StackEvent]
) -> None:
    await silence(stack, 3)

    async def has(number: int) -> bool:
        return len(subjects(stack)) == number and len(told) == number

    await until(lambda: has(1), "the alarm was told", EVENTUALLY)
    assert subjects(stack) == ["Placet: People do not respond: policy escalating"]
    assert (told[0].what, told[0].bad) == ("ALARM", True)
    (found,) = await people(stack)
    assert (found.ok, found.advice) == (False, "placet stats")

    for name in ("approval", "notification"):
        stack.kill(name)
    await silence(stack, 1)
    assert await alarms(stack) == [True]

    waiting = await asyncio.gather(*(stack.request("simple") for _ in range(2)))
    for approval_id in waiting:
        await stack.waiting(approval_id)
        await stack.decide(approval_id, ALICE)
    # Another policy's people end no alarm.
    assert await alarms(stack) == [True]
    shown = await stats(stack)
    assert "escalating" in shown
    assert "ALARM: people do not respond, policy escalating" in shown

    for _ in range(10):
        approval_id = await stack.request("escalating")
        await stack.waiting(approval_id, SOON)
        await stack.decide(approval_id, ALICE)
    await until(lambda: has(2), "the end was told", EVENTUALLY)

    assert await alarms(stack) == [True, False]
    assert "Placet: People respond again: policy escalating" in subjects(stack)
    assert told[1].what == "alarm over"
    (found,) = await people(stack)
    assert found.ok


async def stats(stack: Stack) -> str:
    """Output of `placet stats`."""
    placet = Path(sys.executable).parent / "placet"
    process = await asyncio.create_subprocess_exec(
        str(placet), "stats", "--home", str(stack.home.path), stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    assert process.returncode == 0
    return output.decode()
