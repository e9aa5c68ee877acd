"""Temporal as this service uses it: to start a request's workflow, and to bring it commands."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from temporalio.client import Client
from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from placet_rpc import deadlines
from placet_rpc.errors import Unavailable
from placet_workflows.commands import Command
from placet_workflows.names import APPROVAL_WORKFLOW, COMMAND_SIGNAL, TaskQueue
from placet_workflows.steps import ApprovalInput

_LOG = logging.getLogger("placet.approval.temporal")

# Of a call to Temporal's frontend, which answers in milliseconds or is down. The SDK would try again for
# 10 s, which is longer than most callers wait.
SECONDS = 3.0
# A worker killed in mid-task is noticed after this; the default of 10 s would be waited for in full.
TASK_TIMEOUT = timedelta(seconds=2)


class NoSuchWorkflow(Exception):
    """The workflow has completed, or was never started."""


class Workflows:
    """Raises Unavailable while Temporal does not answer; the same call again converges."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def start(self, start: ApprovalInput) -> None:
        """Starts a request's workflow, unless it was started before."""
        async with _answering():
            try:
                await self._client.start_workflow(
                    APPROVAL_WORKFLOW,
                    start,
                    id=start.received.entry.approval_id,
                    task_queue=TaskQueue.DEFAULT,
                    id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
                    task_timeout=TASK_TIMEOUT,
                    rpc_timeout=timedelta(seconds=SECONDS),
                )
            except WorkflowAlreadyStartedError:
                return

    async def command(self, approval_id: str, command: Command) -> None:
        """Brings a command to a request's workflow; durable once this returns. Raises NoSuchWorkflow."""
        async with _answering():
            try:
                handle = self._client.get_workflow_handle(approval_id)
                await handle.signal(COMMAND_SIGNAL, command, rpc_timeout=timedelta(seconds=SECONDS))
            except RPCError as error:
                # A completed workflow answers NOT_FOUND too: "workflow execution already completed".
                if error.status is not RPCStatusCode.NOT_FOUND:
                    raise
                raise NoSuchWorkflow(approval_id) from error


@asynccontextmanager
async def _answering() -> AsyncIterator[None]:
    """Turns Temporal's silence and errors into Unavailable, in less than the caller's time."""
    try:
        async with asyncio.timeout(deadlines.outgoing_timeout(SECONDS)):
            yield
    except (RPCError, RuntimeError, TimeoutError) as error:
        # RuntimeError is what a lazy client raises when it cannot connect.
        _LOG.warning("Temporal does not answer: %s", str(error) or type(error).__name__)
        raise Unavailable(
            "Temporal does not answer; send the same call again",
            reason="DEPENDENCY_UNAVAILABLE",
            metadata={"dependency": "temporal"},
        ) from error
