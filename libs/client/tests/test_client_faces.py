"""Both faces of the SDK: the same methods, the same parameters; and what a fork may not do with them."""

from __future__ import annotations

import asyncio
import inspect
import subprocess
import sys
import uuid
import warnings
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc.aio
import pytest

import placet_client
from placet.approval.v1 import approval_pb2, approval_service_pb2, approval_service_pb2_grpc
from placet.audit.v1 import audit_service_pb2, audit_service_pb2_grpc, proof_pb2
from placet.event.v1 import error_reason_pb2, event_pb2
from placet_client import sync
from placet_client.messages import assignments_of, key_of
from placet_rpc.server import Endpoint, start
from placet_rpc.settings import ServerSettings
from placet_rpc.tokens.mint import MintingTokenSource, SigningKey, generate_keys
from placet_testing.servicers import partial_servicer

ID, COMMAND = "11111111-1111-5111-8111-111111111111", "22222222-2222-4222-8222-222222222222"
APPROVAL = approval_service_pb2.DESCRIPTOR.services_by_name["ApprovalService"]
AUDIT = audit_service_pb2.DESCRIPTOR.services_by_name["AuditService"]
NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
pytestmark = pytest.mark.integration
ENTERED = {"__aenter__": "__enter__", "__aexit__": "__exit__"}

_Context = grpc.aio.ServicerContext[Any, Any]


def public(kind: type) -> dict[str, Any]:
    """The public methods of a class by their names in the sync face."""
    names = [
        name for name in vars(kind) if not name.startswith("_") or name in ENTERED or name in ENTERED.values()
    ]
    return {ENTERED.get(name, name): inspect.getattr_static(kind, name) for name in names}


def parameters(method: Any) -> list[tuple[str, Any, Any]]:
    """Name, kind and default of each parameter."""
    function = method.__func__ if isinstance(method, classmethod) else method
    return [(one.name, one.kind, one.default) for one in inspect.signature(function).parameters.values()]


@pytest.mark.parametrize(
    ("asynchronous", "synchronous"),
    [
        (placet_client.PlacetClient, sync.PlacetClient),
        (placet_client.PendingApproval, sync.PendingApproval),
    ],
)
def test_both_faces_have_the_same_methods_and_parameters(asynchronous: type, synchronous: type) -> None:
    here, there = public(asynchronous), public(synchronous)
    # The generated stub is asyncio's.
    here.pop("stub", None)
    assert set(here) == set(there)
    for name, method in here.items():
        if callable(method) or isinstance(method, classmethod):
            assert parameters(method) == parameters(there[name]), name
            assert there[name].__doc__, name


@partial_servicer(APPROVAL)
class Scripted(approval_service_pb2_grpc.ApprovalServiceServicer):
    """Keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[Any] = []

    async def AddComment(
        self, request: approval_service_pb2.AddCommentRequest, context: _Context
    ) -> approval_service_pb2.AddCommentResponse:
        self.asked.append(request)
        result = approval_pb2.CommandResult(status=approval_pb2.COMMAND_STATUS_EFFECTIVE, log_index=9)
        return approval_service_pb2.AddCommentResponse(result=result)

    async def GetCommand(
        self, request: approval_service_pb2.GetCommandRequest, context: _Context
    ) -> approval_service_pb2.GetCommandResponse:
        self.asked.append(request)
        result = approval_pb2.CommandResult(
            status=approval_pb2.COMMAND_STATUS_REFUSED, refusal=error_reason_pb2.ERROR_REASON_CLOSED
        )
        return approval_service_pb2.GetCommandResponse(result=result)

    async def RequestApproval(
        self, request: approval_service_pb2.RequestApprovalRequest, context: _Context
    ) -> approval_service_pb2.RequestApprovalResponse:
        self.asked.append(request)
        return approval_service_pb2.RequestApprovalResponse(approval_id=ID, log_index=7)

    async def ListApprovals(
        self, request: approval_service_pb2.ListApprovalsRequest, context: _Context
    ) -> approval_service_pb2.ListApprovalsResponse:
        self.asked.append(request)
        return approval_service_pb2.ListApprovalsResponse(
            approvals=[approval_pb2.Approval(approval_id=ID)],
            next_page_token="" if request.page_token else "more",
        )

    async def WatchApprovals(
        self, request: approval_service_pb2.WatchApprovalsRequest, context: _Context
    ) -> AsyncIterator[approval_service_pb2.WatchApprovalsResponse]:
        self.asked.append(request)
        for index in (4, 5, 6):
            yield approval_service_pb2.WatchApprovalsResponse(
                entry=event_pb2.LogEntry(index=index), next_log_index=index + 1
            )

    async def ListPolicies(
        self, request: approval_service_pb2.ListPoliciesRequest, context: _Context
    ) -> approval_service_pb2.ListPoliciesResponse:
        return approval_service_pb2.ListPoliciesResponse(policies=[approval_pb2.Policy(name="simple")])

    async def GetPolicy(
        self, request: approval_service_pb2.GetPolicyRequest, context: _Context
    ) -> approval_service_pb2.GetPolicyResponse:
        return approval_service_pb2.GetPolicyResponse(
            policy=approval_pb2.Policy(name=request.name, version=request.version)
        )


@partial_servicer(AUDIT)
class Log(audit_service_pb2_grpc.AuditServiceServicer):
    """Gives one receipt."""

    async def GetReceipt(
        self, request: audit_service_pb2.GetReceiptRequest, context: _Context
    ) -> audit_service_pb2.GetReceiptResponse:
        return audit_service_pb2.GetReceiptResponse(
            receipt=proof_pb2.Receipt(approval_id=request.approval_id)
        )


@pytest.fixture
def service() -> Scripted:
    return Scripted()


@pytest.fixture
async def connect(service: Scripted, tmp_path: Path) -> AsyncIterator[Callable[[], sync.PlacetClient]]:
    """Makes sync clients of a server that plays both services."""
    files = generate_keys(tmp_path / "keys")
    roles = ("requester", "approver", "auditor")
    tokens = MintingTokenSource(SigningKey.load(files.private_key), "ci@example.com", "default", roles)
    settings = ServerSettings(listen="127.0.0.1:0", jwks_file=tmp_path / "keys" / "jwks.json", grace=0)
    server = await start(
        settings,
        [
            Endpoint(APPROVAL, approval_service_pb2_grpc.add_ApprovalServiceServicer_to_server, service),
            Endpoint(AUDIT, audit_service_pb2_grpc.add_AuditServiceServicer_to_server, Log()),
        ],
    )
    address = f"127.0.0.1:{server.port}"
    yield lambda: sync.PlacetClient.connect(address, tokens, audit_address=address)
    await server.stop(0)


async def test_the_sync_face_comments_reads_commands_policies_and_receipts(
    connect: Callable[[], sync.PlacetClient], service: Scripted
) -> None:
    def program() -> None:
        with connect() as client:
            assert client.comment(ID, "who is ACME?", command_id=COMMAND).log_index == 9
            refused = client.get_command(ID, COMMAND)
            assert refused.refusal == error_reason_pb2.ERROR_REASON_CLOSED
            assert [one.name for one in client.policies()] == ["simple"]
            assert client.policy("simple", 2).version == 2
            assert client.receipt(ID).approval_id == ID

    await asyncio.to_thread(program)
    comment, asked = service.asked
    assert (comment.text, comment.command_id, asked.command_id) == ("who is ACME?", COMMAND, COMMAND)


async def test_slots_filters_and_page_tokens_reach_the_service(
    connect: Callable[[], sync.PlacetClient], service: Scripted
) -> None:
    def program() -> None:
        with connect() as client:
            client.request_approval(
                title="t",
                content="c",
                policy="two-people",
                required_approver="alice@example.com",
                assignments={"legal": ["bob@example.com", "carol@example.com"]},
            )
            first = client.list(
                requester="ci@example.com",
                approver="alice@example.com",
                labels={"team": "payments"},
                from_create_time=NOON,
                limit=1,
            )
            rest = client.list(page_token=first.next_page_token, limit=1)
            assert rest.next_page_token == ""

    await asyncio.to_thread(program)
    request, first, rest = service.asked
    assert {one.slot: list(one.people) for one in request.assignments} == {
        "required_approver": ["alice@example.com"],
        "legal": ["bob@example.com", "carol@example.com"],
    }
    assert (first.filter.requester, first.filter.approver) == ("ci@example.com", "alice@example.com")
    assert dict(first.filter.labels) == {"team": "payments"}
    assert first.filter.from_create_time.ToDatetime(tzinfo=UTC) == NOON
    assert not first.filter.HasField("until_create_time")
    assert rest.page_token == "more"


async def test_the_sync_face_watches_and_stops_when_its_reader_does(
    connect: Callable[[], sync.PlacetClient], service: Scripted
) -> None:
    def program() -> list[int]:
        seen = []
        with connect() as client:
            for change in client.watch(from_log_index=4, states=["pending"]):
                seen.append(change.entry.index)
                if len(seen) == 2:
                    break
        return seen

    assert await asyncio.to_thread(program) == [4, 5]
    assert service.asked[0].from_log_index == 4
    assert list(service.asked[0].filter.states) == [event_pb2.STATE_PENDING]


def test_a_receipt_needs_the_address_of_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PLACET_AUDIT_ADDRESS", raising=False)
    opened = sync.PlacetClient.connect("127.0.0.1:1", "no-token", patience=0)
    with opened as client, pytest.raises(ValueError, match="PLACET_AUDIT_ADDRESS"):
        client.receipt(ID)


PROGRAM = """
import asyncio, os, sys
import placet_client
from placet.approval.v1 import approval_service_pb2
from placet_client import sync
from placet_rpc.client import UsedInFork

def in_fork(use):
    child = os.fork()
    if child == 0:
        try:
            use()
        except UsedInFork as error:
            print(error, flush=True)
            os._exit(0)
        os._exit(1)
    assert os.waitpid(child, 0)[1] == 0

with sync.PlacetClient.connect("127.0.0.1:1", "no-token", patience=0) as client:
    in_fork(lambda: client.get("x"))
    in_fork(lambda: list(client.watch()))

async def main():
    async with placet_client.PlacetClient.connect("127.0.0.1:1", "no-token", patience=0) as client:
        in_fork(lambda: client.stub)
        stub = client.stub
        in_fork(lambda: stub.GetApproval(approval_service_pb2.GetApprovalRequest()))
        in_fork(lambda: stub.WatchApprovals(approval_service_pb2.WatchApprovalsRequest()))

asyncio.run(main())
"""


def test_a_fork_is_told_to_open_a_client_of_its_own_instead_of_hanging() -> None:
    finished = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60, check=True
    )
    describe = [line for line in finished.stdout.splitlines() if line]
    assert len(describe) == 5
    assert all(" before it forked; gRPC does not work in the fork" in line for line in describe), describe


def test_an_idempotency_key_is_made_only_where_none_is_given() -> None:
    assert key_of(None) != key_of(None)
    assert (key_of(""), key_of(COMMAND), key_of(uuid.UUID(COMMAND))) == ("", COMMAND, COMMAND)


def test_a_manager_who_is_asked_before_is_warned_of() -> None:
    with pytest.warns(UserWarning, match="bob@example.com is both approver and manager"):
        assignments_of("", "Bob@example.com", {"required_approver": ["alice@example.com", "bob@example.com"]})
    same = ["a@example.com", "b@example.com"]
    with pytest.warns(UserWarning, match="are both approver and manager"):
        assignments_of("", "", {"required_approver": same, "manager_approver": same})


def test_another_manager_needs_no_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assignments_of("alice@example.com", "bob@example.com", {"manager_approver": ["alice@example.com"]})
