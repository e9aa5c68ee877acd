"""Each crash between two durable facts leaves one outcome, each command processed once, and nobody waiting.

The letters are those of the crashes that the design names: (a) and (b) a worker killed between an append and
its workflow task's completion, (c) Temporal killed with it, (d) a command during the closing append, (e)
AuditService away, (f) no worker, (g) a command that cannot be read.
"""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter

import pytest
from temporalio.common import RawValue

from placet.approval.v1 import approval_pb2, approval_service_pb2
from placet.event.v1 import error_reason_pb2, event_pb2
from placet_domain.commands import CancelCommand
from placet_domain.events import Actor, ActorKind
from placet_rpc.errors import FailedPrecondition, PlacetError
from placet_testing.conditions import EVENTUALLY, SOON, until
from placet_testing.failpoint_worker import KILL, SLOW
from placet_testing.stack import ALICE, CALLER, Stack
from placet_workflows.names import COMMAND_SIGNAL

pytestmark = pytest.mark.integration

# The long run (`make chaos`) kills at random, 200 times.
TIMES = 4
# A worker runs 100 workflow tasks at a time.
MORE_THAN_A_WORKERS_TASKS = 110
ENDING = ["voted", "decided", "closed"]


def kinds(path: list[event_pb2.Event]) -> list[str]:
    """The path by the names of its events."""
    return [str(event.WhichOneof("body")) for event in path]


def refusals(path: list[event_pb2.Event]) -> dict[str, str]:
    """Reason of each refused command, by its id."""
    name = error_reason_pb2.ErrorReason.Name
    return {one.cause_id: name(one.refused.reason) for one in path if one.WhichOneof("body") == "refused"}


async def told(stack: Stack, approval_id: str) -> None:
    """Waits until the workflow has told the requester and ended."""
    async with asyncio.timeout(EVENTUALLY):
        await (await stack.temporal()).get_workflow_handle(approval_id).result()


async def decide_whatever_it_takes(stack: Stack, approval_id: str, person: str, command_id: str) -> str:
    """Sends one decision until it is answered EFFECTIVE or refused: what it came to."""

    async def attempt() -> str | None:
        try:
            response = await stack.decide(approval_id, person, command_id=command_id)
        except FailedPrecondition as refused:
            return refused.reason
        except PlacetError:
            return None
        if response.status == approval_pb2.COMMAND_STATUS_ACCEPTED:
            return None
        return "EFFECTIVE"

    return await until(attempt, f"decision {command_id} is processed", EVENTUALLY)


async def cancel(stack: Stack, approval_id: str, command_id: str) -> str:
    """The requester withdraws it: what that came to."""
    request = approval_service_pb2.CancelApprovalRequest(approval_id=approval_id, command_id=command_id)

    async def attempt() -> str | None:
        try:
            response = await (await stack.as_(CALLER)).CancelApproval(request, timeout=SOON)
        except FailedPrecondition as refused:
            return refused.reason
        except PlacetError:
            return None
        return None if response.result.status == approval_pb2.COMMAND_STATUS_ACCEPTED else "EFFECTIVE"

    return await until(attempt, f"cancel {command_id} is processed", EVENTUALLY)


@pytest.mark.timeout(400)
async def test_a_a_worker_killed_after_the_append_of_a_vote_leaves_one_vote(stack: Stack) -> None:
    for _ in range(TIMES):
        approval_id = await stack.request()
        await stack.waiting(approval_id)
        stack.arm(KILL, approval_id, "voted")
        assert await decide_whatever_it_takes(stack, approval_id, ALICE, str(uuid.uuid4())) == "EFFECTIVE"
        await told(stack, approval_id)
        assert not stack.armed(KILL)
        counted = Counter(kinds(await stack.path(approval_id)))
        assert {kind: counted[kind] for kind in ENDING} == dict.fromkeys(ENDING, 1)
        assert not counted["refused"]


@pytest.mark.timeout(400)
async def test_b_a_command_that_comes_while_the_worker_is_dead_is_processed_after_the_vote(
    stack: Stack,
) -> None:
    for _ in range(TIMES):
        approval_id = await stack.request()
        await stack.waiting(approval_id)
        stack.arm(KILL, approval_id, "voted")
        decision = asyncio.create_task(decide_whatever_it_takes(stack, approval_id, ALICE, str(uuid.uuid4())))
        await until(lambda: fired(stack, KILL), "the worker is killed")
        assert await cancel(stack, approval_id, str(uuid.uuid4())) == "CLOSED"
        assert await decision == "EFFECTIVE"
        await told(stack, approval_id)
        path = await stack.path(approval_id)
        assert Counter(kinds(path))["voted"] == Counter(kinds(path))["closed"] == 1
        assert (await stack.get(approval_id)).state == event_pb2.STATE_APPROVED


async def fired(stack: Stack, failpoint: str) -> bool:
    """True once the failpoint has fired."""
    return not stack.armed(failpoint)


@pytest.mark.timeout(400)
async def test_c_the_same_with_temporal_killed_too(stack: Stack) -> None:
    for _ in range(TIMES // 2):
        approval_id = await stack.request()
        await stack.waiting(approval_id)
        stack.arm(KILL, approval_id, "voted")
        command_id = str(uuid.uuid4())
        decision = asyncio.create_task(decide_whatever_it_takes(stack, approval_id, ALICE, command_id))
        await until(lambda: fired(stack, KILL), "the worker is killed")
        stack.kill("temporal")
        assert await decision == "EFFECTIVE"
        await until(lambda: alive(stack), "temporal answers again", EVENTUALLY)
        await told(stack, approval_id)
        counted = Counter(kinds(await stack.path(approval_id)))
        assert {kind: counted[kind] for kind in ENDING} == dict.fromkeys(ENDING, 1)


async def alive(stack: Stack) -> bool:
    """True once the whole stack is ready."""
    return all(stack.supervisor.ready(name) for name in ("temporal", "worker-default", "approval"))


@pytest.mark.timeout(400)
async def test_d_a_command_during_the_closing_append_is_refused_and_recorded(stack: Stack) -> None:
    temporal = await stack.temporal()
    for _ in range(TIMES):
        approval_id = await stack.request("escalating")
        await stack.waiting(approval_id)
        stack.arm(SLOW, approval_id, "voted")
        command_id = str(uuid.uuid4())
        decision = asyncio.create_task(decide_whatever_it_takes(stack, approval_id, ALICE, command_id))
        await until(lambda: fired(stack, SLOW), "the append is durable, and not yet answered")
        command_id = str(uuid.uuid4())
        # Straight to the workflow: the door would refuse it, for the view already shows the outcome.
        cancel = CancelCommand(id=command_id, actor=Actor(kind=ActorKind.PERSON, name=CALLER))
        late = stack.attested(approval_id, cancel)
        await temporal.get_workflow_handle(approval_id).signal(COMMAND_SIGNAL, late)
        assert await decision == "EFFECTIVE"
        await told(stack, approval_id)
        path = await stack.path(approval_id)
        assert refusals(path) == {command_id: "ERROR_REASON_CLOSED"}
        assert Counter(kinds(path))["closed"] == 1


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("way", "number"), [("killed", 20), ("stalled", MORE_THAN_A_WORKERS_TASKS)])
async def test_e_with_the_log_away_decisions_are_accepted_and_take_effect_when_it_is_back(
    stack: Stack, way: str, number: int
) -> None:
    ids = await stack.all_waiting(number)
    digests = {approval_id: (await stack.get(approval_id)).content_digest for approval_id in ids}
    decisions = {approval_id: str(uuid.uuid4()) for approval_id in ids}
    with stack.down("audit") if way == "killed" else stack.stopped("audit"):
        answers = await asyncio.gather(
            *(stack.decide(one, ALICE, command_id=decisions[one], content_digest=digests[one]) for one in ids)
        )
        assert {answer.status for answer in answers} == {approval_pb2.COMMAND_STATUS_ACCEPTED}
        read = await asyncio.gather(*(stack.get(one) for one in ids))
        assert {approval.state for approval in read} == {event_pb2.STATE_PENDING}
    outcomes = await asyncio.gather(*(stack.outcome(approval_id) for approval_id in ids))
    for approval_id, outcome in zip(ids, outcomes, strict=True):
        assert (outcome.state, outcome.approver) == (event_pb2.STATE_APPROVED, ALICE)
        assert Counter(kinds(await stack.path(approval_id)))["voted"] == 1


@pytest.mark.timeout(400)
async def test_f_decisions_without_any_worker_are_each_processed_once_when_it_returns(stack: Stack) -> None:
    ids = await stack.all_waiting(20)
    decisions = {approval_id: str(uuid.uuid4()) for approval_id in ids}
    with stack.down("worker-default"):
        # The impatient send it again.
        for impatient in (ids, ids[:5]):
            answers = await asyncio.gather(
                *(stack.decide(one, ALICE, command_id=decisions[one]) for one in impatient)
            )
            assert {answer.status for answer in answers} == {approval_pb2.COMMAND_STATUS_ACCEPTED}
    await asyncio.gather(*(stack.outcome(approval_id) for approval_id in ids))
    for approval_id in ids:
        path = await stack.path(approval_id)
        assert Counter(kinds(path))["voted"] == 1
        assert not refusals(path)


@pytest.mark.timeout(120)
async def test_g_a_command_that_cannot_be_decoded_becomes_a_refusal(stack: Stack) -> None:
    approval_id = await stack.request()
    await stack.waiting(approval_id)
    temporal = await stack.temporal()
    handle = temporal.get_workflow_handle(approval_id)
    converter = temporal.data_converter.payload_converter
    for garbage in ("no command", {"type": "decision"}, 7):
        await handle.signal(COMMAND_SIGNAL, RawValue(converter.to_payload(garbage)))

    async def refused() -> bool:
        return len(refusals(await stack.path(approval_id))) == 3

    await until(refused, "the garbage is refused")
    assert set(refusals(await stack.path(approval_id)).values()) == {"ERROR_REASON_UNDECODABLE"}
    assert (await stack.decide(approval_id, ALICE)).status == approval_pb2.COMMAND_STATUS_EFFECTIVE


async def test_the_same_decision_id_with_another_verdict_is_refused(stack: Stack) -> None:
    approval_id = await stack.request()
    await stack.waiting(approval_id)
    command_id = str(uuid.uuid4())
    first = await stack.decide(approval_id, ALICE, command_id=command_id)
    again = await stack.decide(approval_id, ALICE, command_id=command_id)
    assert again.status == first.status == approval_pb2.COMMAND_STATUS_EFFECTIVE
    with pytest.raises(PlacetError) as refusal:
        await stack.decide(approval_id, ALICE, event_pb2.VERDICT_REJECT, command_id=command_id)
    assert refusal.value.reason == "ID_REUSED"
