"""Automatic decisions are judged where they are appended: by switches, and by limits in time."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from placet.audit.v1 import audit_service_pb2
from placet.event.v1 import event_pb2
from placet_audit.automation import AutomationGate
from placet_audit.automation_store import AutomationStore
from placet_audit.domain import Append, Placed
from placet_audit.leaf import seal
from placet_audit.log_keys import LogKeys
from placet_audit.store import Store
from placet_domain.events import AutomaticLimits, Received
from placet_domain.stimuli import PreScreenDone
from placet_proof.automation import AutomaticDecision, Scope, Switches
from placet_rpc.errors import PermissionDenied
from placet_rpc.identity import acting_for
from placet_storage import Database
from placet_testing.grammar_paths import messages
from placet_testing.simulation import Play, screened
from placet_testing.workflow_environment import shipped_policy

NOW = datetime(2026, 1, 5, 9, tzinfo=UTC)
BY_MODEL = AutomaticDecision("document", "model-1", approves=True)


@pytest.mark.parametrize(
    ("off", "decision", "refused"),
    [
        ({}, BY_MODEL, False),
        ({("", ""): 3}, BY_MODEL, True),
        ({("", ""): 3}, replace(BY_MODEL, approves=False), True),
        ({("document", ""): 3}, BY_MODEL, True),
        ({("simple", ""): 3}, BY_MODEL, False),
        ({("", "model-1"): 3}, BY_MODEL, True),
        ({("", "model-2"): 3}, BY_MODEL, False),
        ({("", "model-1"): 3}, replace(BY_MODEL, model=""), False),
    ],
)
def test_a_switch_withholds_the_decisions_of_its_scope(
    off: dict[Scope, int], decision: AutomaticDecision, refused: bool
) -> None:
    withheld = AutomationGate(read_switches=lambda _: Switches(off)).judge("red", decision)
    assert (withheld is not None) is refused
    assert withheld is None or withheld.switched_off_index == 3


@pytest.mark.parametrize(
    ("hour", "day", "minutes", "allowed"),
    [
        (0, 0, [1] * 50, 3),
        (2, 0, [70, 70], 2),
        (2, 0, [70, 30], 1),
        (2, 0, [30, 10], 0),
        (0, 3, [70, 30], 1),
        (0, 3, [1500, 70, 30], 1),
    ],
)
def test_a_limit_counts_the_approvals_before_and_those_of_the_same_commit(
    hour: int, day: int, minutes: Sequence[int], allowed: int
) -> None:
    before = [NOW - timedelta(minutes=one) for one in minutes]
    gate = AutomationGate(NOW, count=lambda _tenant, _policy, since: sum(one > since for one in before))
    decision = replace(BY_MODEL, most_an_hour=hour, most_a_day=day)
    assert [gate.judge("red", decision) for _ in range(3)].count(None) == allowed
    assert gate.judge("red", replace(decision, approves=False)) is None


def approved_at_once(limits: AutomaticLimits | None = None) -> list[event_pb2.Event]:
    """A request that the pre-screen approves."""
    play = Play(shipped_policy("document"))
    play.on(PreScreenDone(screened(0.1)))
    received = play.events[0].body
    assert isinstance(received, Received)
    if limits is not None:
        body = received.model_copy(update={"automatic_limits": limits})
        play.events[0] = play.events[0].model_copy(update={"body": body})
    return messages(play.events)


async def request_approved(store: Store, limits: AutomaticLimits | None = None) -> Placed:
    """Appends a request and its approval; answers what became of that."""
    approval_id, placed = str(uuid.uuid4()), None
    first, *others = approved_at_once(limits)
    for number, events in ((1, [first]), (2, others)):
        drafts = []
        for position, event in enumerate(events, number):
            entry = event_pb2.Entry(tenant="default", approval_id=approval_id, number=position, event=event)
            drafts.append(seal(entry))
        (placed,) = await store.append([Append("default", approval_id, number, tuple(drafts))])
    assert isinstance(placed, Placed)
    return placed


def switching(*, off: bool) -> Callable[[str], Any]:
    def announce(cause: str) -> Any:
        event = event_pb2.Event(cause_id=cause)
        event.time.GetCurrentTime()
        event.automation_switched.off = off
        return seal(event_pb2.Entry(tenant="default", event=event))

    return announce


async def test_two_replicas_agree_from_the_log_and_count_together(
    database: Database, store: Store, log_keys: LogKeys
) -> None:
    other, automation = Store(database, log_keys), AutomationStore(database, log_keys)
    limits = AutomaticLimits(most_an_hour=2)
    assert (await request_approved(store, limits)).new
    assert (await request_approved(other, limits)).new
    for replica in (store, other):
        capped = await request_approved(replica, limits)
        assert capped.new == ()
        assert capped.withheld is not None
        assert capped.withheld.reason == "the policy's limit of 2 automatic approvals an hour is reached"
    for off in (True, False, True):
        switched = await automation.switch("default", ("", ""), switching(off=off), off=off)
        assert switched is not None
        for replica in (store, other):
            withheld = (await request_approved(replica)).withheld
            assert (None if withheld is None else withheld.switched_off_index) == (
                switched.entry.index if off else None
            )


@pytest.mark.integration
async def test_an_operator_alone_switches_and_a_second_time_changes_nothing(sqlite_service: Any) -> None:
    operator = sqlite_service.stub("operator", subject="ops@example.com", tenant="red")
    off = audit_service_pb2.SwitchAutomationRequest(off=True, reason="it approves nonsense")
    on = audit_service_pb2.SwitchAutomationRequest(reason="mended")
    for roles in (["auditor"], ["approver", "requester"]):
        with pytest.raises(PermissionDenied):
            await sqlite_service.stub(*roles, tenant="red").SwitchAutomation(off)
    with acting_for("red"), pytest.raises(PermissionDenied):
        await sqlite_service.program("worker-default").SwitchAutomation(off)

    assert not (await operator.SwitchAutomation(on)).HasField("entry")
    first = (await operator.SwitchAutomation(off)).entry
    assert first.entry.event.actor.name.value == "ops@example.com"
    assert (await operator.SwitchAutomation(off)).entry == first
    status = audit_service_pb2.GetAutomationRequest()
    assert list((await operator.GetAutomation(status)).off) == [first]

    approval_id, (received, *others) = str(uuid.uuid4()), approved_at_once()
    with acting_for("red"):
        for number, (program, events) in enumerate([("approval", [received]), ("worker-default", others)], 1):
            append = audit_service_pb2.AppendEventsRequest(
                approval_id=approval_id, expected_next=number, events=events
            )
            answer = await sqlite_service.program(program).AppendEvents(append)
        assert not answer.appended
        assert not answer.entries
        assert answer.withheld.switched_off_index == first.index
        assert (await operator.SwitchAutomation(on)).entry.index > first.index
        assert list((await operator.GetAutomation(status)).off) == []
        assert (await sqlite_service.program("worker-default").AppendEvents(append)).appended
