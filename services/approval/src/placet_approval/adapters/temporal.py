"""Temporal as this service uses it: to start a request's workflow, and to bring it commands."""

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

_LOG = logging.getLogger("placet.approval.temporal")

# Of a call to Temporal's frontend, which answers in milliseconds or is down. The SDK would try again for
# 10 s, which is longer than most callers wait.
SECONDS = 3.0
# A worker killed in mid-task is noticed after this; the default of 10 s would be waited for in full.
TASK_TIMEOUT = timedelta(seconds=2)
# What a client raises that could not connect yet; any other RuntimeError is a mistake of ours.
CANNOT_CONNECT = "Failed client connect"
# These say that the same call will not do again either, until somebody mends what is wrong.
_FOR_GOOD = frozenset(
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
# RESOURCE_EXHAUSTED is Temporal's word for "slower, please", and gRPC's for a message that is too large.
_TOO_LARGE = "message larger than max"


class NoSuchWorkflow(Exception):
    """The workflow has completed, or was never started."""


class Workflows:
    """Raises Unavailable while Temporal does not answer: the same call again converges. Raises Internal
    (DEPENDENCY_REFUSED) when Temporal refuses for good: the same call again will not do."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def start(self, start: ApprovalInput) -> None:
        """Starts a request's workflow, unless it runs or has completed. One that was terminated, or that
        Temporal does not have any more, is started again."""
        async with _answering():
            try:
                await self._client.start_workflow(
                    APPROVAL_WORKFLOW,
                    start,
                    id=start.received.entry.approval_id,
                    task_queue=TaskQueue.DEFAULT,
                    id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE_FAILED_ONLY,
                    task_timeout=TASK_TIMEOUT,
                    rpc_timeout=timedelta(seconds=SECONDS),
                )
            except WorkflowAlreadyStartedError:
                return

    async def command(self, approval_id: str, command: BaseCommand) -> None:
        """Brings a command to a request's workflow; durable once this returns. Raises NoSuchWorkflow."""
        async with _answering():
            try:
                handle = self._client.get_workflow_handle(approval_id)
                await handle.signal(COMMAND_SIGNAL, command, rpc_timeout=timedelta(seconds=SECONDS))
            except RPCError as error:
                # A completed workflow answers NOT_FOUND too: "workflow execution already completed".
                if error.status is not RPCStatusCode.NOT_FOUND or _is_about_namespace(error):
                    raise
                raise NoSuchWorkflow(approval_id) from error

    async def running(self, approval_ids: Sequence[str]) -> set[str]:
        """Those of these requests whose workflow runs. Temporal lists a workflow a moment after it begins."""
        if not approval_ids:
            return set()
        ids = ", ".join(f"'{approval_id}'" for approval_id in approval_ids)
        query = f"WorkflowId IN ({ids}) AND ExecutionStatus = 'Running'"
        async with _answering():
            listed = self._client.list_workflows(query, rpc_timeout=timedelta(seconds=SECONDS))
            return {workflow.id async for workflow in listed}


@asynccontextmanager
async def _answering() -> AsyncIterator[None]:
    """Turns Temporal's silence and errors into errors of ours, in less than the caller's time."""
    try:
        async with asyncio.timeout(deadlines.outgoing_timeout(SECONDS)):
            yield
    except (RPCError, TimeoutError) as error:
        raise _told(error) from error
    except RuntimeError as error:
        if not str(error).startswith(CANNOT_CONNECT):
            raise
        raise _told(error) from error


def _told(error: RPCError | TimeoutError | RuntimeError) -> PlacetError:
    """What a caller is told of Temporal's error, whose own text stays in the log."""
    if isinstance(error, RPCError) and _is_for_good(error):
        reference = uuid.uuid4().hex[:12]
        _LOG.error("Temporal refuses for good (reference %s): %s: %s", reference, error.status.name, error)
        return Internal(
            f"Temporal refuses this, and will again until it is mended; the service's log has the cause under"
            f" reference {reference}",
            reason="DEPENDENCY_REFUSED",
            metadata={"dependency": "temporal", "reference": reference},
        )
    _LOG.warning("Temporal does not answer: %s", str(error) or type(error).__name__)
    return Unavailable(
        "Temporal does not answer; send the same call again",
        reason="DEPENDENCY_UNAVAILABLE",
        metadata={"dependency": "temporal"},
    )


def _is_for_good(error: RPCError) -> bool:
    too_large = error.status is RPCStatusCode.RESOURCE_EXHAUSTED and _TOO_LARGE in error.message
    return too_large or error.status in _FOR_GOOD


def _is_about_namespace(error: RPCError) -> bool:
    """Whether it is Temporal's namespace that is not found, not the workflow in it."""
    return any(detail.Is(NamespaceNotFoundFailure.DESCRIPTOR) for detail in error.grpc_status.details)
