"""Start of a request's workflow, from its first event or again from its folded log."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from opentelemetry import context as otel_context

from placet.event.v1 import event_pb2
from placet_approval.adapters.temporal import Workflows
from placet_approval.projection.fold import fold_path
from placet_approval.store.pending_commands import PendingCommands
from placet_approval.store.policies import PolicyStore
from placet_approval.store.requests import Request
from placet_domain.commands import Command
from placet_domain.events import LogEntry, Processed
from placet_mapping import from_proto
from placet_proof import VerifierKey
from placet_telemetry import context_from
from placet_workflows.activity_types import ApprovalInput


class WorkflowStarter:
    """Starts workflows of requests."""

    def __init__(
        self,
        workflows: Workflows,
        pending: PendingCommands,
        policies: PolicyStore,
        keys: Sequence[VerifierKey],
    ) -> None:
        """`keys`: those of the attestations in the log."""
        self._workflows = workflows
        self._pending = pending
        self._policies = policies
        self._keys = keys

    async def start(
        self, request: Request, path: Sequence[event_pb2.LogEntry], *, is_new: bool = False
    ) -> None:
        """Starts the workflow of an open request, unless it runs. `path`: all of its log entries.

        Its pending commands go with the start, oldest first; a new request has none. So no crash loses them,
        and no overdue timer fires before them. Raises what `Workflows.start` raises.
        """
        pending: Sequence[Command] = ()
        if not is_new:
            pending = await self._pending.of_request(request.tenant, request.approval_id)
        policy = await self._policies.by_digest(request.policy_digest)
        if policy is None:
            raise ValueError("its policy is not in this database")
        state = fold_path(path, self._keys) if len(path) > 1 else None
        processed = state.commands if state is not None else {}
        # Callers pass open requests only: Temporal forgets a closed one's workflow, and would start it again.
        with _in_trace_of(path[0].entry.event):
            await self._workflows.start(
                ApprovalInput(
                    received=from_proto(path[0], LogEntry),
                    processed=Processed.model_validate_json(request.processed),
                    policy=policy.policy,
                    state=state,
                    commands=tuple(command for command in pending if command.id not in processed),
                )
            )


@contextmanager
def _in_trace_of(received: event_pb2.Event) -> Iterator[None]:
    """Attaches the trace of the request, whichever call continues it."""
    token = otel_context.attach(context_from(received.traceparent))
    try:
        yield
    finally:
        otel_context.detach(token)
