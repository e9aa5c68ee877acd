"""Temporal's silence and errors become Unavailable in good time; what was done already stays done."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest
from google.protobuf.message import Message
from temporalio.api.common.v1 import GrpcStatus
from temporalio.api.errordetails.v1 import NamespaceNotFoundFailure
from temporalio.client import Client
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from placet_approval.adapters import temporal
from placet_approval.adapters.temporal import NoSuchWorkflow, Workflows
from placet_domain.commands import CancelCommand
from placet_domain.events import Actor, ActorKind, Entry, Event, LogEntry, Processed, Received
from placet_domain.policy_files import load
from placet_rpc.errors import Internal, Unavailable
from placet_workflows.activity_types import ApprovalInput

ID = "0d5ad5c6-7a4e-5c53-8b1f-1f6bd0d2a001"
COMMAND = CancelCommand(id="c", actor=Actor(kind=ActorKind.PERSON, name="ci@example.com"))
START = ApprovalInput(
    received=LogEntry(
        entry=Entry(
            tenant="home", approval_id=ID, number=1, event=Event(time=datetime.now(UTC), body=Received())
        )
    ),
    processed=Processed(),
    policy=load(None)["simple"],
)


class FakeClient(Client):
    """Answers every call with one error, or not at all."""

    def __init__(self, error: BaseException | None) -> None:
        self._error = error
        self.ids: list[str] = []

    async def start_workflow(self, *args: Any, **options: Any) -> Any:
        """See Client. Any: its own types are generic over workflows."""
        self.ids.append(options["id"])
        await self._answer()

    def get_workflow_handle(self, workflow_id: str, **_: Any) -> Any:
        """See Client."""
        self.ids.append(workflow_id)
        return self

    async def list_workflows(self, *args: Any, **options: Any) -> Any:
        """As an iterator that asks when it is read."""
        await self._answer()
        yield

    async def signal(self, *args: Any, **options: Any) -> None:
        """As a handle's."""
        await self._answer()

    async def _answer(self) -> None:
        if self._error is None:
            await asyncio.Event().wait()
        else:
            raise self._error


def rpc_error(status: RPCStatusCode, message: str = "told by the server", *details: Message) -> RPCError:
    said = GrpcStatus(code=status, message=message)
    for detail in details:
        said.details.add().Pack(detail)
    return RPCError(message, status, said.SerializeToString())


AWAY = [
    rpc_error(RPCStatusCode.UNAVAILABLE),
    rpc_error(RPCStatusCode.DEADLINE_EXCEEDED),
    rpc_error(RPCStatusCode.RESOURCE_EXHAUSTED, "namespace rate limit exceeded"),
    rpc_error(RPCStatusCode.UNKNOWN),
    RuntimeError("Failed client connect: Server connection error"),
]
REFUSED = [
    rpc_error(RPCStatusCode.INVALID_ARGUMENT, "Blob data size exceeds limit."),
    rpc_error(RPCStatusCode.RESOURCE_EXHAUSTED, "grpc: received message larger than max (5 vs. 4)"),
    rpc_error(RPCStatusCode.PERMISSION_DENIED, "Request unauthorized."),
    rpc_error(RPCStatusCode.UNAUTHENTICATED),
    rpc_error(RPCStatusCode.UNIMPLEMENTED),
    rpc_error(RPCStatusCode.NOT_FOUND, "Namespace placet is not found.", NamespaceNotFoundFailure()),
]


@pytest.mark.parametrize("error", AWAY, ids=str)
async def test_an_error_of_temporals_is_unavailable_and_tells_nothing_of_it(error: Exception) -> None:
    workflows = Workflows(FakeClient(error))

    for call in (workflows.start(START), workflows.command(ID, COMMAND), workflows.running([ID])):
        with pytest.raises(Unavailable) as raised:
            await call
        assert raised.value.reason == "DEPENDENCY_UNAVAILABLE"
        assert raised.value.metadata == {"dependency": "temporal"}
        assert str(error) not in raised.value.message


@pytest.mark.parametrize("error", REFUSED, ids=str)
async def test_a_permanent_refusal_by_temporal_is_internal_and_logged_under_its_reference(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    workflows = Workflows(FakeClient(error))

    for call in (workflows.start(START), workflows.command(ID, COMMAND), workflows.running([ID])):
        caplog.clear()
        with pytest.raises(Internal) as raised:
            await call
        assert raised.value.reason == "DEPENDENCY_REFUSED"
        assert str(error) not in raised.value.message
        (record,) = caplog.records
        assert raised.value.metadata["reference"] in record.getMessage()
        assert str(error) in record.getMessage()


async def test_a_programming_error_is_not_reported_as_unavailable() -> None:
    mistake = RuntimeError("cannot encode")

    with pytest.raises(RuntimeError) as raised:
        await Workflows(FakeClient(mistake)).start(START)

    assert raised.value is mistake


async def test_a_temporal_that_hangs_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(temporal, "RPC_TIMEOUT", 0.1)
    workflows = Workflows(FakeClient(None))

    for call in (workflows.start(START), workflows.command(ID, COMMAND), workflows.running([ID])):
        with pytest.raises(Unavailable):
            await call


async def test_a_workflow_that_was_started_before_is_started() -> None:
    client = FakeClient(WorkflowAlreadyStartedError(ID, "ApprovalWorkflow"))

    await Workflows(client).start(START)

    assert client.ids == [ID]


async def test_a_workflow_that_is_over_takes_no_command() -> None:
    with pytest.raises(NoSuchWorkflow):
        await Workflows(FakeClient(rpc_error(RPCStatusCode.NOT_FOUND))).command(ID, COMMAND)


async def test_nobody_asks_temporal_about_no_workflows() -> None:
    assert await Workflows(FakeClient(AWAY[0])).running([]) == set()
