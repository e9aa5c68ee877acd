"""Failures and attacks that Placet must survive, on the real stack. Numbers are those of the scenarios."""

from __future__ import annotations

import asyncio
import resource
import sqlite3
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import pytest
from temporalio.api.workflowservice.v1 import DeleteWorkflowExecutionRequest
from temporalio.service import RPCError, RPCStatusCode

from placet.event.v1 import event_pb2
from placet_rpc.errors import (
    AlreadyExists,
    DeadlineExceeded,
    PlacetError,
    Unavailable,
)
from placet_testing.conditions import EVENTUALLY, SOON, until
from placet_testing.stack import ALICE, CALLER, Stack, a_request

pytestmark = pytest.mark.integration


async def kinds(stack: Stack, approval_id: str) -> Counter[str]:
    """Count of each kind of event."""
    return Counter(str(event.WhichOneof("body")) for event in await stack.path(approval_id))


async def came_to(stack: Stack, approval_id: str, command_id: str) -> str | None:
    """Result of one decision; None if it is unknown, and the same one is sent again."""
    processed = await stack.processed(approval_id, ALICE, command_id)
    return None if processed is None else processed.word


@contextmanager
def locked(stack: Stack, database: str) -> Iterator[None]:
    """Somebody else holds the write lock of a service's SQLite file."""
    connection = sqlite3.connect(stack.home.database(database), isolation_level=None)
    try:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")
    finally:
        connection.close()


@pytest.mark.timeout(200)
async def test_5_a_locked_database_is_unavailable_and_then_there_is_one_record(stack: Stack) -> None:
    caller = await stack.as_(CALLER)
    request = a_request()
    with locked(stack, "approval"), pytest.raises((Unavailable, DeadlineExceeded)):
        await caller.RequestApproval(request, timeout=SOON)
    approval_id = (await caller.RequestApproval(request, timeout=SOON)).approval_id
    await stack.waiting(approval_id)
    command_id = str(uuid.uuid4())
    with locked(stack, "audit"):
        assert await came_to(stack, approval_id, command_id) is None
    decided = partial(came_to, stack, approval_id, command_id)
    assert await until(decided, "it is decided", EVENTUALLY) == "EFFECTIVE"
    counted = await kinds(stack, approval_id)
    assert (counted["received"], counted["voted"], counted["closed"]) == (1, 1, 1)


@contextmanager
def full_disk(stack: Stack, process: str, database: str) -> Iterator[None]:
    """A process's files cannot grow any more, as on a full disk: its log's next page does not fit."""
    pid = stack.pid(process)
    limits = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    folder = stack.home.database(database).parent
    largest = min(path.stat().st_size for path in folder.glob(f"{database}.db-wal"))
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (min(largest, 1), limits[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, limits)


@pytest.mark.timeout(200)
async def test_6_with_the_logs_disk_full_no_decision_takes_effect_and_afterwards_all_do(stack: Stack) -> None:
    ids = [await stack.request() for _ in range(10)]
    for approval_id in ids:
        await stack.waiting(approval_id)
    decisions = {approval_id: str(uuid.uuid4()) for approval_id in ids}
    with full_disk(stack, "audit", "audit"):
        for approval_id in ids:
            assert await came_to(stack, approval_id, decisions[approval_id]) is None
        assert {(await stack.get(one)).state for one in ids} == {event_pb2.STATE_PENDING}
    for approval_id in ids:
        decided = partial(came_to, stack, approval_id, decisions[approval_id])
        assert await until(decided, "it is decided", EVENTUALLY) == "EFFECTIVE"
        assert (await kinds(stack, approval_id))["voted"] == 1


async def test_11_the_same_id_with_another_body_is_refused(stack: Stack) -> None:
    caller = await stack.as_(CALLER)
    request = a_request()
    approval_id = (await caller.RequestApproval(request, timeout=SOON)).approval_id
    other = a_request()
    other.request_id = request.request_id
    other.title = "Release another payment"
    with pytest.raises(AlreadyExists) as refused:
        await caller.RequestApproval(other, timeout=SOON)
    assert refused.value.reason == "ID_REUSED"
    assert (await stack.get(approval_id)).title == request.title


@pytest.mark.timeout(200)
async def test_11_once_more_after_temporal_forgot_is_still_the_same(stack: Stack) -> None:
    caller = await stack.as_(CALLER)
    request = a_request()
    approval_id = (await caller.RequestApproval(request, timeout=SOON)).approval_id
    await stack.waiting(approval_id)
    await stack.decide(approval_id, ALICE)
    temporal = await stack.temporal()
    handle = temporal.get_workflow_handle(approval_id)
    async with asyncio.timeout(EVENTUALLY):
        await handle.result()
    forget = DeleteWorkflowExecutionRequest(namespace="default")
    forget.workflow_execution.workflow_id = approval_id
    await temporal.workflow_service.delete_workflow_execution(forget)

    async def forgotten() -> bool:
        try:
            await handle.describe()
        except RPCError as error:
            return error.status is RPCStatusCode.NOT_FOUND
        return False

    await until(forgotten, "Temporal forgot the workflow", EVENTUALLY)
    assert (await caller.RequestApproval(request, timeout=SOON)).approval_id == approval_id
    assert await forgotten()
    assert (await stack.get(approval_id)).state == event_pb2.STATE_APPROVED
    # And a late decision is told that it is closed, though the workflow is gone.
    with pytest.raises(PlacetError) as refused:
        await stack.decide(approval_id, ALICE)
    assert refused.value.reason == "CLOSED"


@pytest.mark.timeout(200)
async def test_with_temporal_down_a_request_is_unavailable_and_its_retry_gives_one(stack: Stack) -> None:
    caller = await stack.as_(CALLER)
    request = a_request()
    with stack.down("temporal"), pytest.raises(Unavailable) as refused:
        await caller.RequestApproval(request, timeout=SOON)
    assert refused.value.reason == "DEPENDENCY_UNAVAILABLE"

    approval_id = await until(partial(stack.sent, request), "it is accepted", EVENTUALLY)
    await stack.waiting(approval_id)
    assert (await kinds(stack, approval_id))["received"] == 1
