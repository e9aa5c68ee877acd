"""The SDK against a real server with a scripted ApprovalService behind it."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc.aio
import pytest

import placet_client
from placet.approval.v1 import approval_pb2, approval_service_pb2, approval_service_pb2_grpc
from placet.event.v1 import event_pb2
from placet_client import PlacetClient, StillPending
from placet_client import sync as placet_sync
from placet_rpc.errors import (
    DataLoss,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    Unauthenticated,
    Unavailable,
)
from placet_rpc.server import Endpoint, RunningServer, start
from placet_rpc.settings import ServerSettings
from placet_rpc.tokens.mint import MintingTokenSource, SigningKey, generate_keys
from placet_testing.servicers import partial_servicer

pytestmark = pytest.mark.integration

ID = "11111111-1111-5111-8111-111111111111"
APPROVAL = approval_service_pb2.DESCRIPTOR.services_by_name["ApprovalService"]
CONTENT = b"EUR 950"
DIGEST, POLICY_DIGEST = hashlib.sha256(CONTENT).digest(), bytes(range(32, 64))
ROLES = ("requester", "approver", "operator")

_Context = grpc.aio.ServicerContext[Any, Any]


def approval(*, closed: bool = False) -> approval_pb2.Approval:
    message = approval_pb2.Approval(
        approval_id=ID,
        state=event_pb2.STATE_PENDING,
        content_digest=DIGEST,
        policy_digest=POLICY_DIGEST,
        rendering="text/1",
    )
    if closed:
        message.state = event_pb2.STATE_APPROVED
        message.outcome.state = event_pb2.STATE_APPROVED
        message.outcome.source = event_pb2.SOURCE_HUMAN
        message.outcome.decision_type = event_pb2.DECISION_TYPE_MANAGER
        message.outcome.approver = "bob@example.com"
        message.outcome.tier = 2
        message.outcome.decide_time.FromDatetime(datetime(2026, 1, 2, tzinfo=UTC))
        message.outcome.waited.FromTimedelta(timedelta(hours=3))
    return message


@partial_servicer(APPROVAL)
class Scripted(approval_service_pb2_grpc.ApprovalServiceServicer):
    """Keeps what it was asked; fails with each of `failures` first."""

    def __init__(self) -> None:
        self.content = CONTENT
        self.failures: list[Exception] = []
        self.asked: list[Any] = []
        self.closed = asyncio.Event()
        self.polls = 0
        self.polled_twice = asyncio.Event()
        self.watched: list[list[approval_service_pb2.WatchApprovalsResponse | Exception]] = []

    def _next(self, request: Any) -> None:
        self.asked.append(request)
        if self.failures:
            raise self.failures.pop(0)

    async def RequestApproval(
        self, request: approval_service_pb2.RequestApprovalRequest, context: _Context
    ) -> approval_service_pb2.RequestApprovalResponse:
        self._next(request)
        return approval_service_pb2.RequestApprovalResponse(
            approval_id=ID, content_digest=DIGEST, log_index=7
        )

    async def GetApproval(
        self, request: approval_service_pb2.GetApprovalRequest, context: _Context
    ) -> approval_service_pb2.GetApprovalResponse:
        self._next(request)
        return approval_service_pb2.GetApprovalResponse(approval=approval())

    async def ListApprovals(
        self, request: approval_service_pb2.ListApprovalsRequest, context: _Context
    ) -> approval_service_pb2.ListApprovalsResponse:
        self._next(request)
        first = int(request.page_token or 0)
        count = min(request.page_size, 3)
        return approval_service_pb2.ListApprovalsResponse(
            approvals=[approval() for _ in range(count)], next_page_token=str(first + count)
        )

    async def AwaitOutcome(
        self, request: approval_service_pb2.AwaitOutcomeRequest, context: _Context
    ) -> approval_service_pb2.AwaitOutcomeResponse:
        self._next(request)
        self.polls += 1
        if self.polls == 2:
            self.polled_twice.set()
        try:
            async with asyncio.timeout(0.3):
                await self.closed.wait()
        except TimeoutError:
            return approval_service_pb2.AwaitOutcomeResponse(approval=approval())
        return approval_service_pb2.AwaitOutcomeResponse(approval=approval(closed=True))

    async def WatchApprovals(
        self, request: approval_service_pb2.WatchApprovalsRequest, context: _Context
    ) -> AsyncIterator[approval_service_pb2.WatchApprovalsResponse]:
        self.asked.append(request)
        for answer in self.watched.pop(0):
            if isinstance(answer, Exception):
                raise answer
            yield answer

    async def SubmitDecision(
        self, request: approval_service_pb2.SubmitDecisionRequest, context: _Context
    ) -> approval_service_pb2.SubmitDecisionResponse:
        self._next(request)
        result = approval_pb2.CommandResult(
            status=approval_pb2.COMMAND_STATUS_EFFECTIVE, log_index=9, state=event_pb2.STATE_APPROVED
        )
        return approval_service_pb2.SubmitDecisionResponse(result=result)

    async def CancelApproval(
        self, request: approval_service_pb2.CancelApprovalRequest, context: _Context
    ) -> approval_service_pb2.CancelApprovalResponse:
        self._next(request)
        result = approval_pb2.CommandResult(status=approval_pb2.COMMAND_STATUS_ACCEPTED)
        return approval_service_pb2.CancelApprovalResponse(result=result)

    async def EraseApproval(
        self, request: approval_service_pb2.EraseApprovalRequest, context: _Context
    ) -> approval_service_pb2.EraseApprovalResponse:
        self._next(request)
        return approval_service_pb2.EraseApprovalResponse(log_index=12, values=9)

    async def GetContent(
        self, request: approval_service_pb2.GetContentRequest, context: _Context
    ) -> approval_service_pb2.GetContentResponse:
        assert request.content_digest == DIGEST
        content = approval_pb2.Content(body=self.content, media_type="text/plain")
        return approval_service_pb2.GetContentResponse(content=content, text="EUR 950")


@pytest.fixture
def tokens(tmp_path: Path) -> MintingTokenSource:
    files = generate_keys(tmp_path / "keys")
    return MintingTokenSource(SigningKey.load(files.private_key), "ci@example.com", "default", ROLES)


@pytest.fixture
def service() -> Scripted:
    return Scripted()


Serve = Callable[[str], Awaitable[RunningServer]]


@pytest.fixture
async def serve(service: Scripted, tokens: MintingTokenSource, tmp_path: Path) -> AsyncIterator[Serve]:
    running: list[RunningServer] = []

    async def begin(listen: str) -> RunningServer:
        endpoint = Endpoint(
            APPROVAL,
            approval_service_pb2_grpc.add_ApprovalServiceServicer_to_server,
            service,
        )
        settings = ServerSettings(listen=listen, jwks_file=tmp_path / "keys" / "jwks.json", grace=0)
        running.append(await start(settings, [endpoint]))
        return running[-1]

    yield begin
    for server in running:
        await server.stop(0)


@pytest.fixture
async def client(serve: Serve, tokens: MintingTokenSource) -> AsyncIterator[PlacetClient]:
    server = await serve("127.0.0.1:0")
    async with PlacetClient.connect(f"127.0.0.1:{server.port}", tokens, patience=5) as client:
        yield client


async def ask(client: PlacetClient) -> placet_client.PendingApproval:
    return await client.request_approval(
        title="Pay 4711", content="EUR 1", policy="simple", required_approver="alice@example.com"
    )


async def test_a_request_that_ended_unknown_is_sent_again_with_the_same_id(
    client: PlacetClient, service: Scripted
) -> None:
    service.failures = [Unavailable("restarting"), Unavailable("still restarting")]
    accepted = await ask(client)
    assert (accepted.id, accepted.content_digest, accepted.log_index) == (ID, DIGEST, 7)
    assert len(service.asked) == 3
    assert len({request.request_id for request in service.asked}) == 1


async def test_a_request_is_not_sent_again_when_the_answer_is_no(
    client: PlacetClient, service: Scripted
) -> None:
    service.failures = [FailedPrecondition("closed", reason="CLOSED")]
    with pytest.raises(FailedPrecondition) as caught:
        await ask(client)
    assert caught.value.reason == "CLOSED"
    assert len(service.asked) == 1


async def test_patience_ends(serve: Serve, service: Scripted, tokens: MintingTokenSource) -> None:
    server = await serve("127.0.0.1:0")
    service.failures = [Unavailable("away")] * 100
    async with PlacetClient.connect(f"127.0.0.1:{server.port}", tokens, patience=0.3) as client:
        with pytest.raises(Unavailable):
            await ask(client)


async def test_an_outcome_is_waited_for_over_several_polls(client: PlacetClient, service: Scripted) -> None:
    accepted = await ask(client)
    waiting = asyncio.create_task(accepted.outcome(timeout=30))
    async with asyncio.timeout(10):
        await service.polled_twice.wait()
    service.closed.set()
    outcome = await waiting
    assert outcome.approved
    assert (outcome.approver, outcome.decision_type, outcome.source, outcome.tier) == (
        "bob@example.com",
        "MANAGER",
        "HUMAN",
        2,
    )
    assert outcome.waited == timedelta(hours=3)
    assert outcome.decided_at == datetime(2026, 1, 2, tzinfo=UTC)


async def test_an_outcome_survives_a_restart_of_the_service(
    serve: Serve, service: Scripted, tokens: MintingTokenSource
) -> None:
    server = await serve("127.0.0.1:0")
    async with PlacetClient.connect(f"127.0.0.1:{server.port}", tokens) as client:
        waiting = asyncio.create_task(client.outcome(ID, timeout=30))
        await server.stop(0)
        await serve(f"127.0.0.1:{server.port}")
        service.closed.set()
        assert (await waiting).approved


async def test_an_outcome_that_is_not_there_in_time_is_said_to_be_pending(client: PlacetClient) -> None:
    with pytest.raises(StillPending):
        await client.outcome(ID, timeout=0.2)


async def test_an_outcome_of_an_unknown_request_is_an_error_at_once(
    client: PlacetClient, service: Scripted
) -> None:
    service.failures = [NotFound("no such request", reason="UNKNOWN_APPROVAL")]
    with pytest.raises(NotFound):
        await client.outcome(ID, timeout=30)


def bound(decision: approval_service_pb2.SubmitDecisionRequest) -> tuple[bytes, bytes, str]:
    return decision.content_digest, decision.policy_digest, decision.rendering


async def test_a_decision_that_says_of_nothing_shown_names_the_content_alone(
    client: PlacetClient, service: Scripted
) -> None:
    answer = await client.decide(ID, "approve")
    assert answer.status == approval_pb2.COMMAND_STATUS_EFFECTIVE
    assert bound(service.asked[-1]) == (DIGEST, b"", "")
    await client.decide(ID, "reject", reason="no", content_digest=bytes(32))
    assert bound(service.asked[-1]) == (bytes(32), b"", "")
    assert service.asked[-1].approval.verdict == event_pb2.VERDICT_REJECT


async def test_a_decision_binds_the_request_as_it_was_shown_and_reads_no_other(
    client: PlacetClient, service: Scripted
) -> None:
    shown = approval_pb2.Approval(
        approval_id=ID, content_digest=b"c" * 32, policy_digest=b"p" * 32, rendering="text/0"
    )
    await client.decide(ID, "approve", shown=shown)
    (decision,) = service.asked
    assert bound(decision) == (b"c" * 32, b"p" * 32, "text/0")
    await client.decide(ID, "approve", shown=shown, content_digest=bytes(32))
    assert bound(service.asked[-1]) == (bytes(32), b"p" * 32, "text/0")


async def test_content_is_read_by_the_digest_that_was_accepted(client: PlacetClient) -> None:
    accepted = await ask(client)
    assert (await accepted.content()).content.body == b"EUR 950"
    assert (await client.get_content(accepted.id)).text == "EUR 950"


async def test_content_that_is_not_what_was_asked_about_is_never_given(
    client: PlacetClient, service: Scripted
) -> None:
    service.content = b"EUR 9999"
    with pytest.raises(DataLoss) as caught:
        await client.get_content(ID)
    assert caught.value.reason == "CONTENT_MISMATCH"


async def test_a_cancellation_keeps_its_id_when_sent_again(client: PlacetClient, service: Scripted) -> None:
    service.failures = [Unavailable("restarting")]
    await client.cancel(ID, reason="changed my mind")
    assert len({request.command_id for request in service.asked}) == 1


async def test_an_erasure_that_ended_unknown_is_sent_again(client: PlacetClient, service: Scripted) -> None:
    service.failures = [Unavailable("restarting")]
    assert (await client.erase(ID, reason="she asked for it")).values == 9
    first, again = service.asked
    assert (first, first.before_retention) == (again, False)
    await client.erase(ID, reason="she asked for it", before_retention=True)
    assert service.asked[-1].before_retention


@pytest.mark.parametrize(
    "end",
    [Unavailable("restarting"), Unauthenticated("expired", reason="TOKEN_EXPIRED", domain="rpc.placet")],
)
async def test_a_watch_is_resumed_after_the_last_index_seen(
    client: PlacetClient, service: Scripted, end: Exception
) -> None:
    def change(index: int) -> approval_service_pb2.WatchApprovalsResponse:
        entry = event_pb2.LogEntry(index=index)
        return approval_service_pb2.WatchApprovalsResponse(entry=entry, next_log_index=index + 1)

    sign_of_life = approval_service_pb2.WatchApprovalsResponse(next_log_index=12)
    service.watched = [[change(10), sign_of_life, end], [change(12)], [change(13)]]
    seen = []
    async for one in client.watch(states=["pending"]):
        seen.append(one.entry.index)
        if len(seen) == 3:
            break
    assert seen == [10, 12, 13]
    assert [request.from_log_index for request in service.asked] == [0, 12, 13]
    assert not service.asked[0].HasField("from_log_index")


async def test_a_list_gathers_pages_up_to_its_limit(client: PlacetClient, service: Scripted) -> None:
    found = await client.list(limit=7)
    assert len(found.approvals) == 7
    assert found.next_page_token == "7"
    assert [request.page_size for request in service.asked] == [7, 4, 1]


async def test_a_word_that_the_contract_does_not_know_is_refused_before_anything_is_sent(
    client: PlacetClient, service: Scripted
) -> None:
    with pytest.raises(InvalidArgument, match="URGENT, HIGH, NORMAL, LOW"):
        await client.request_approval(title="t", content="c", policy="simple", priority="soon")
    naive = datetime(2030, 1, 1)  # noqa: DTZ001 (that is the mistake)
    with pytest.raises(InvalidArgument, match="time zone"):
        await client.request_approval(title="t", content="c", policy="simple", deadline=naive)
    assert service.asked == []


async def test_the_sync_face_gives_the_same(
    serve: Serve, service: Scripted, tokens: MintingTokenSource
) -> None:
    server = await serve("127.0.0.1:0")
    service.closed.set()

    def program() -> tuple[str, bool, int]:
        with placet_sync.PlacetClient.connect(f"127.0.0.1:{server.port}", tokens) as client:
            accepted = client.request_approval(title="t", content="c", policy="simple")
            outcome = accepted.outcome(timeout=30)
            client.decide(accepted.id, "approve", shown=client.get(accepted.id))
            return accepted.id, outcome.approved, len(client.list(limit=2).approvals)

    assert await asyncio.to_thread(program) == (ID, True, 2)
    (decision,) = [
        one for one in service.asked if isinstance(one, approval_service_pb2.SubmitDecisionRequest)
    ]
    assert bound(decision) == (DIGEST, POLICY_DIGEST, "text/1")


def test_who_says_neither_where_nor_who_is_told_how(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PLACET_APPROVAL_ADDRESS", raising=False)
    monkeypatch.delenv("PLACET_TOKEN_FILE", raising=False)
    with pytest.raises(ValueError, match="PLACET_TOKEN_FILE"):
        PlacetClient.connect()
