"""Client of Temporal: starts a request's workflow, and signals commands to it."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta

from temporalio.api.errordetails.v1 import NamespaceNotFoundFailure
from temporalio.client import Client
from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from placet_domain.commands import BaseCommand
from placet_rpc import deadlines
from placet_rpc.errors import Internal, PlacetError, Unavailable
from placet_workflows.activity_types import ApprovalInput
from placet_workflows.names import APPROVAL_WORKFLOW, COMMAND_SIGNAL, TaskQueue

_LOG = logging.getLogger(__name__)

# Timeout of a call to Temporal's frontend, which answers in milliseconds or is down. The SDK would retry
# for 10 s, which is longer than most callers wait.
RPC_TIMEOUT = 3.0
# Time after which a worker killed in mid-task is noticed; the default is 10 s.
TASK_TIMEOUT = timedelta(seconds=2)
# Error text of a client that could not connect yet; any other RuntimeError is a programming error.
CANNOT_CONNECT = "Failed client connect"
# Statuses of errors that a retry of the same call does not resolve.
_PERMANENT_CODES = frozenset(
    {
        RPCStatusCode.INVALID_ARGUMENT,
        RPCStatusCode.NOT_FOUND,
        RPCStatusCode.ALREADY_EXISTS,
        RPCStatusCode.PERMISSION_DENIED,
        RPCStatusCode.FAILED_PRECONDITION,
        RPCStatusCode.OUT_OF_RANGE,
        RPCStatusCode.UNIMPLEMENTED,
        RPCStatusCode.DATA_LOSS,
        RPCStatusCode.UNAUTHENTICATED,
    }
)
# RESOURCE_EXHAUSTED means rate-limited to Temporal, and to gRPC that a message is too large.
_TOO_LARGE = "message larger than max"


class NoSuchWorkflow(Exception):
    """The workflow has completed, or was never started."""


class Workflows:
    """The calls. They raise Unavailable while Temporal does not answer: a retry converges.

    They raise Internal (DEPENDENCY_REFUSED) when Temporal refuses permanently: a retry does not help.
    """

    def __init__(self, client: Client) -> None:
        self._client = client

    async def start(self, start: ApprovalInput) -> None:
        """Starts a request's workflow, unless it runs or has completed.

        A workflow that was terminated, or that Temporal lost, is started again.
        """
        async with _typed_errors():
            try:
                await self._client.start_workflow(
                    APPROVAL_WORKFLOW,
                    start,
                    id=start.received.entry.approval_id,
                    task_queue=TaskQueue.DEFAULT,
                    id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE_FAILED_ONLY,
                    task_timeout=TASK_TIMEOUT,
                    rpc_timeout=timedelta(seconds=RPC_TIMEOUT),
                )
            except WorkflowAlreadyStartedError:
                return

    async def command(self, approval_id: str, command: BaseCommand) -> None:
        """Signals a command to a request's workflow; durable once this returns. Raises NoSuchWorkflow."""
        async with _typed_errors():
            try:
                handle = self._client.get_workflow_handle(approval_id)
                await handle.signal(COMMAND_SIGNAL, command, rpc_timeout=timedelta(seconds=RPC_TIMEOUT))
            except RPCError as error:
                # A completed workflow answers NOT_FOUND too: "workflow execution already completed".
                if error.status is not RPCStatusCode.NOT_FOUND or _is_about_namespace(error):
                    raise
                raise NoSuchWorkflow(approval_id) from error

    async def running(self, approval_ids: Sequence[str]) -> set[str]:
        """The requests among these whose workflow runs. Temporal lists it a moment after its start."""
        if not approval_ids:
            return set()
        ids = ", ".join(f"'{approval_id}'" for approval_id in approval_ids)
        query = f"WorkflowId IN ({ids}) AND ExecutionStatus = 'Running'"
        async with _typed_errors():
            listed = self._client.list_workflows(query, rpc_timeout=timedelta(seconds=RPC_TIMEOUT))
            return {workflow.id async for workflow in listed}


@asynccontextmanager
async def _typed_errors() -> AsyncIterator[None]:
    """Maps Temporal's errors and timeouts to typed errors, within the caller's deadline."""
    try:
        async with asyncio.timeout(deadlines.outgoing_timeout(RPC_TIMEOUT)):
            yield
    except (RPCError, TimeoutError) as error:
        raise _to_error(error) from error
    except RuntimeError as error:
        if not str(error).startswith(CANNOT_CONNECT):
            raise
        raise _to_error(error) from error


def _to_error(error: RPCError | TimeoutError | RuntimeError) -> PlacetError:
    """The error for the caller; Temporal's own text goes to the service's log only."""
    if isinstance(error, RPCError) and _is_permanent(error):
        reference = uuid.uuid4().hex[:12]
        _LOG.error("Temporal refuses permanently (reference %s): %s: %s", reference, error.status.name, error)
        return Internal(
            f"Temporal refuses this call, and a retry does not help; ask an operator to look up reference"
            f" {reference} in the service's log",
            reason="DEPENDENCY_REFUSED",
            metadata={"dependency": "temporal", "reference": reference},
        )
    _LOG.warning("Temporal does not answer: %s", str(error) or type(error).__name__)
    return Unavailable(
        "Temporal does not answer; send the same call again",
        reason="DEPENDENCY_UNAVAILABLE",
        metadata={"dependency": "temporal"},
    )


def _is_permanent(error: RPCError) -> bool:
    too_large = error.status is RPCStatusCode.RESOURCE_EXHAUSTED and _TOO_LARGE in error.message
    return too_large or error.status in _PERMANENT_CODES


def _is_about_namespace(error: RPCError) -> bool:
    """Tells whether the namespace was not found, rather than the workflow in it."""
    return any(detail.Is(NamespaceNotFoundFailure.DESCRIPTOR) for detail in error.grpc_status.details)
