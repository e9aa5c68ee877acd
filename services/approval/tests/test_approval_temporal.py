"""Temporal's silence and errors become Unavailable in good time; what was done already stays done."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import Any

import pytest
from temporalio.client import Client
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from placet_approval import temporal
from placet_approval.policies import load
from placet_approval.temporal import NoSuchWorkflow, Workflows
from placet_rpc.errors import Unavailable
from placet_workflows.commands import Command
from placet_workflows.events import Actor, ActorKind, Entry, Event, LogEntry, Processed, Received
from placet_workflows.steps import ApprovalInput

ID = "0d5ad5c6-7a4e-5c53-8b1f-1f6bd0d2a001"
COMMAND = Command(type="cancel", id="c", actor=Actor(kind=ActorKind.PERSON, name="ci@example.com"))
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

    async def signal(self, *args: Any, **options: Any) -> None:
        """As a handle's."""
        await self._answer()

    async def _answer(self) -> None:
        if self._error is None:
            await asyncio.Event().wait()
        else:
            raise self._error


def rpc_error(status: RPCStatusCode) -> RPCError:
    return RPCError("told by the server", status, b"")


AWAY = [
    rpc_error(RPCStatusCode.UNAVAILABLE),
    rpc_error(RPCStatusCode.DEADLINE_EXCEEDED),
    rpc_error(RPCStatusCode.RESOURCE_EXHAUSTED),
    RuntimeError("Failed client connect"),
]


@pytest.mark.parametrize("error", AWAY, ids=str)
async def test_an_error_of_temporals_is_unavailable_and_tells_nothing_of_it(error: Exception) -> None:
    workflows = Workflows(FakeClient(error))

    for call in (workflows.start(START), workflows.command(ID, COMMAND)):
        with pytest.raises(Unavailable) as raised:
            await call
        assert raised.value.reason == "DEPENDENCY_UNAVAILABLE"
        assert raised.value.metadata == {"dependency": "temporal"}
        assert str(error) not in raised.value.message


async def test_a_temporal_that_hangs_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(temporal, "SECONDS", 0.1)
    workflows = Workflows(FakeClient(None))

    for call in (workflows.start(START), workflows.command(ID, COMMAND)):
        began = time.monotonic()
        with pytest.raises(Unavailable):
            await call
        assert time.monotonic() - began < 2


async def test_a_workflow_that_was_started_before_is_started() -> None:
    client = FakeClient(WorkflowAlreadyStartedError(ID, "ApprovalWorkflow"))

    await Workflows(client).start(START)

    assert client.ids == [ID]


async def test_a_workflow_that_is_over_takes_no_command() -> None:
    with pytest.raises(NoSuchWorkflow):
        await Workflows(FakeClient(rpc_error(RPCStatusCode.NOT_FOUND))).command(ID, COMMAND)
