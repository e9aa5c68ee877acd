"""Starts a request's workflow where its log stands: at the beginning, or again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from opentelemetry import context as otel_context

from placet.audit.v1 import event_pb2
from placet_approval.folding import folded
from placet_approval.requests import Request
from placet_approval.temporal import Workflows
from placet_events import from_proto
from placet_telemetry import context_from
from placet_workflows.events import LogEntry, Processed
from placet_workflows.policy import Policy
from placet_workflows.steps import ApprovalInput


class Starter:
    """Starts workflows."""

    def __init__(self, workflows: Workflows) -> None:
        self._workflows = workflows

    async def start(self, request: Request, path: Sequence[event_pb2.LogEntry]) -> None:
        """Starts the workflow of an open request, unless it runs. `path`: all that the log has of it.

        Raises what `Workflows.start` raises.
        """
        # Temporal forgets a workflow after its retention, and must not be asked to start a closed request's.
        with _in_trace_of(path[0].entry.event):
            await self._workflows.start(
                ApprovalInput(
                    received=from_proto(path[0], LogEntry),
                    processed=Processed.model_validate_json(request.processed),
                    policy=Policy.model_validate_json(request.policy),
                    state=folded(path) if len(path) > 1 else None,
                )
            )


@contextmanager
def _in_trace_of(received: event_pb2.Event) -> Iterator[None]:
    """In the trace that began with the request, whoever goes on with it now."""
    token = otel_context.attach(context_from(received.traceparent))
    try:
        yield
    finally:
        otel_context.detach(token)
