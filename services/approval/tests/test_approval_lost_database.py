"""ApprovalService's database lost, or restored from an older copy, beside an intact log: SCENARIO 28."""

from __future__ import annotations

import asyncio
import hashlib
import sqlite3
from contextlib import closing
from typing import Any

import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from placet.approval.v1 import approval_service_pb2
from placet.approval.v1.approval_service_pb2 import (
    GetContentRequest,
    GetContentResponse,
    RequestApprovalRequest,
)
from placet.approval.v1.approval_service_pb2_grpc import ApprovalServiceStub
from placet_approval.__main__ import assembled
from placet_rpc.errors import AlreadyExists, DataLoss, NotFound, PlacetError, Unavailable
from placet_rpc.server import start

# Any: the tests' own platform, see conftest.
Platform = Any
pytestmark = pytest.mark.integration

CALLER, OPERATOR = "ci@example.com", "op@example.com"
FULL_LOSS = ("request", "content", "command")


def forget(platform: Platform, *, view: bool) -> None:
    """Deletes what ApprovalService owns from its database, and the view too where the whole file was lost."""
    path = platform.database_url.removeprefix("sqlite:///")
    with closing(sqlite3.connect(path)) as database, database:
        tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        derived = [name for name in tables if name.startswith("view")] + ["log_cursor", "log_skipped"]
        gone = [*FULL_LOSS, *(derived if view else [])]
        for name in gone:
            if name in tables:
                database.execute(f"DELETE FROM {name}")


async def lost(platform: Platform, *, view: bool, **fields: Any) -> RequestApprovalRequest:
    """A request that was accepted before the loss; a new replica serves now."""
    replica = await platform.serve()
    message: RequestApprovalRequest = platform.asking(**fields)
    accepted = await (await platform.as_(CALLER)).RequestApproval(message)
    await platform.until(lambda: waits(platform, accepted.approval_id))
    await replica.aclose()
    forget(platform, view=view)
    await platform.serve()
    return message


async def waits(platform: Platform, approval_id: str) -> bool:
    return bool((await platform.get(approval_id)).waiting_for_approval)


def changed(
    message: RequestApprovalRequest,
) -> RequestApprovalRequest:
    """The same request_id with another payload."""
    other = RequestApprovalRequest()
    other.CopyFrom(message)
    other.title = "Something else"
    other.content.body = b"Pay 1,000,000 EUR to Eve.\n"
    return other


async def content(platform: Platform, approval_id: str, digest: bytes) -> GetContentResponse:
    request = GetContentRequest(approval_id=approval_id, content_digest=digest)
    stub: ApprovalServiceStub = await platform.as_(CALLER)
    return await stub.GetContent(request)


@pytest.mark.parametrize("view", [True, False], ids=["whole file", "owned tables"])
async def test_a_resend_with_another_payload_is_refused_by_the_log(
    bare_platform: Platform, view: bool
) -> None:
    platform = bare_platform
    message = await lost(platform, view=view)
    caller = await platform.as_(CALLER)

    for _ in range(2):
        with pytest.raises(AlreadyExists) as refused:
            await caller.RequestApproval(changed(message))
        assert refused.value.reason == "ID_REUSED"

    listing = await caller.ListApprovals(approval_service_pb2.ListApprovalsRequest())
    assert [one.title for one in listing.approvals] == [message.title]


@pytest.mark.parametrize("view", [True, False], ids=["whole file", "owned tables"])
@pytest.mark.parametrize("after_another", [True, False])
async def test_the_same_call_restores_the_content(
    bare_platform: Platform, view: bool, after_another: bool
) -> None:
    platform = bare_platform
    message = await lost(platform, view=view)
    caller = await platform.as_(CALLER)
    if after_another:
        with pytest.raises(AlreadyExists):
            await caller.RequestApproval(changed(message))

    again = await caller.RequestApproval(message)

    answer = await content(platform, again.approval_id, again.content_digest)
    assert (answer.content, answer.title) == (message.content, message.title)
    assert await platform.decide(again.approval_id)


async def test_a_row_of_a_call_that_died_before_the_log_refused_it_is_never_shown(
    bare_platform: Platform,
) -> None:
    """A process that dies between the insert and the append leaves the wrong row."""
    platform = bare_platform
    message = await lost(platform, view=False)
    wrong = changed(message)
    wrong.content.body = message.content.body
    caller = await platform.as_(CALLER)
    await platform.audit.stop()
    with pytest.raises(Unavailable):
        await caller.RequestApproval(wrong)
    await platform.audit.start()

    approval = (await caller.ListApprovals(approval_service_pb2.ListApprovalsRequest())).approvals[0]
    with pytest.raises(DataLoss):
        await content(platform, approval.approval_id, hashlib.sha256(message.content.body).digest())
    again = await caller.RequestApproval(message)
    assert (await content(platform, again.approval_id, again.content_digest)).title == message.title


async def test_lost_content_has_a_reason_of_its_own(bare_platform: Platform) -> None:
    platform = bare_platform
    await lost(platform, view=True)
    caller = await platform.as_(CALLER)
    (approval,) = (await caller.ListApprovals(approval_service_pb2.ListApprovalsRequest())).approvals

    with pytest.raises(DataLoss) as error:
        await content(platform, approval.approval_id, approval.content_digest)

    assert error.value.reason == "CONTENT_LOST"
    assert "the same request_id" in error.value.message
    with pytest.raises(NotFound):
        await content(platform, approval.approval_id, b"x" * 32)
    stranger = await platform.as_("mallory@example.com", "approver")
    with pytest.raises(NotFound):
        await stranger.GetContent(
            GetContentRequest(approval_id=approval.approval_id, content_digest=approval.content_digest)
        )


async def test_an_operator_is_told_how_many_requests_are_lost(bare_platform: Platform) -> None:
    platform = bare_platform
    message = await lost(platform, view=False)
    operator = await platform.as_(OPERATOR, "operator")
    ask = approval_service_pb2.GetLogConsumersRequest()

    assert (await operator.GetLogConsumers(ask)).lost_requests == 1
    await (await platform.as_(CALLER)).RequestApproval(message)
    assert (await operator.GetLogConsumers(ask)).lost_requests == 0


async def test_reads_wait_for_the_view_after_a_start(bare_platform: Platform) -> None:
    """Nothing is NOT_FOUND, and no list is short, because the log was not read yet."""
    platform = bare_platform
    replica = await platform.serve()
    approval_id = await platform.request()
    await replica.aclose()
    forget(platform, view=True)
    await platform.audit.stop()
    await platform.serve()
    caller = await platform.as_(CALLER)
    get = approval_service_pb2.GetApprovalRequest(approval_id=approval_id)
    calls = (
        caller.GetApproval(get, timeout=3),
        caller.ListApprovals(approval_service_pb2.ListApprovalsRequest(), timeout=3),
        caller.AwaitOutcome(approval_service_pb2.AwaitOutcomeRequest(approval_id=approval_id), timeout=3),
        caller.CancelApproval(platform.cancelling(approval_id), timeout=3),
    )

    answers = await asyncio.gather(*calls, return_exceptions=True)

    reasons = [answer.reason for answer in answers if isinstance(answer, PlacetError)]
    assert reasons == ["NOT_YET_READ"] * len(calls)

    await platform.audit.start()
    await platform.until(lambda: waits(platform, approval_id))


async def test_health_is_not_serving_before_the_view_has_caught_up(bare_platform: Platform) -> None:
    platform = bare_platform
    replica = await platform.serve()
    await platform.request()
    await replica.aclose()
    await platform.audit.stop()
    settings = platform.settings()
    status = health_pb2.HealthCheckResponse
    async with assembled(settings, platform.workflows) as service:
        server = await start(settings.server(), [service.endpoint], until_ready=service.until_ready)
        async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as opened:
            watch = health_pb2_grpc.HealthStub(opened).Watch(health_pb2.HealthCheckRequest())
            async with asyncio.timeout(15):
                assert (await watch.read()).status == status.NOT_SERVING
                await platform.audit.start()
                assert (await watch.read()).status == status.SERVING
                stopping = asyncio.create_task(server.stop(0))
                assert (await watch.read()).status == status.NOT_SERVING
                await stopping
