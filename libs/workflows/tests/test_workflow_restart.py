"""A workflow that begins where its request stands: wherever that is, it ends the same."""

from __future__ import annotations

import uuid
from datetime import timedelta

import pytest

from placet_domain.commands import Command
from placet_domain.events import Event, Notified, Source
from placet_domain.state import ApprovalState
from placet_testing.simulation import ALICE, REQUESTER, TENANT, decision
from placet_testing.workflow_environment import ApprovalEnvironment, Request, attested_for
from placet_workflows.activity_types import ApprovalInput, NotifyInput
from placet_workflows.names import APPROVAL_WORKFLOW, TaskQueue

pytestmark = pytest.mark.integration

# After which event of its log a path is cut off; appends are atomic, so these are all that a log can hold.
CUTS = {"received": 1, "asked": 4, "asked the manager": 9, "fell back": 12, "closed": 15}


async def lived(environment: ApprovalEnvironment) -> list[Event]:
    """A request that went through all its tiers to the AI's outcome."""
    request = await environment.request("escalating")
    await request.outcome()
    return request.events


async def restarted(environment: ApprovalEnvironment, events: list[Event], *accepted: Command) -> Request:
    """A workflow that begins in the state that these events leave, with commands that wait."""
    approval_id = str(uuid.uuid4())
    log = environment.services.log
    state = ApprovalState()
    first = None
    for event in events:
        stored = log.begin(TENANT, approval_id, event)
        first = first or stored
        state.fold(stored)
    assert first is not None
    template = (await environment.requests[0].handle.fetch_history()).events[0]
    (payload,) = template.workflow_execution_started_event_attributes.input.payloads
    start = environment.client.data_converter.payload_converter.from_payload(payload, ApprovalInput)
    commands = tuple(attested_for(command, approval_id) for command in accepted)
    handle = await environment.client.start_workflow(
        APPROVAL_WORKFLOW,
        start.model_copy(update={"received": first, "state": state, "commands": commands}),
        id=approval_id,
        task_queue=TaskQueue.DEFAULT,
    )
    request = Request(approval_id, environment, handle)
    environment.requests.append(request)
    return request


def kinds(events: list[Event]) -> list[str]:
    return [event.body.type for event in events if not isinstance(event.body, Notified)]


def told(environment: ApprovalEnvironment, request: Request) -> list[NotifyInput]:
    return [notice for notice in environment.services.delivered if notice.approval_id == request.id]


@pytest.mark.parametrize("number", CUTS.values(), ids=CUTS.keys())
async def test_a_workflow_that_begins_anywhere_ends_as_it_would_have(
    environment: ApprovalEnvironment, number: int
) -> None:
    whole = await lived(environment)
    request = await restarted(environment, whole[:number])
    outcome = await request.outcome()
    assert outcome.source is Source.AI_FALLBACK
    # A tier whose time is over by now waits longer if the log does not say that somebody was told.
    assert [kind for kind in kinds(request.events) if kind != "paused"] == kinds(whole)
    assert {notice.recipient for notice in told(environment, request)} >= {REQUESTER}


async def test_who_was_asked_and_perhaps_not_told_is_told_the_same_again(
    environment: ApprovalEnvironment,
) -> None:
    whole = await lived(environment)
    first = next(notice for notice in environment.services.delivered if notice.tier == 1)
    asked = next(number for number, event in enumerate(whole, 1) if event.body.type == "asked")
    request = await restarted(environment, whole[:asked])
    await request.reaches("notified")
    await request.send(decision(ALICE))
    await request.outcome()
    again = next(notice for notice in told(environment, request) if notice.tier == 1)
    key = first.idempotency_key.replace(first.approval_id, request.id)
    assert again == first.model_copy(update={"approval_id": request.id, "idempotency_key": key})


async def test_a_deadline_that_passed_meanwhile_is_noticed(environment: ApprovalEnvironment) -> None:
    whole = await lived(environment)
    request = await restarted(environment, whole[:4])
    assert (await request.outcome()).source is Source.AI_FALLBACK
    assert request.waited(1) >= timedelta(hours=2)


async def test_a_decision_that_was_accepted_goes_before_a_timer_that_is_overdue(
    environment: ApprovalEnvironment,
) -> None:
    whole = await lived(environment)
    request = await restarted(environment, whole[:4], decision(ALICE))
    assert (await request.outcome()).source is Source.HUMAN
    assert "timed_out" not in kinds(request.events)
