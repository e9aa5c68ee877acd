"""Worker on queue placet-default: runs the workflows, appends to the log, asks for decisions and notices."""

from __future__ import annotations

import sys
from contextlib import AsyncExitStack
from functools import partial

from placet.audit.v1.audit_service_pb2_grpc import AuditServiceStub
from placet.decision.v1.decision_service_pb2_grpc import DecisionServiceStub
from placet.notification.v1.notification_service_pb2_grpc import NotificationServiceStub
from placet_rpc.client import channel
from placet_rpc.program import run_program
from placet_rpc.tokens.sources import FileTokenSource
from placet_telemetry import setup
from placet_temporal import TemporalSettings, WorkerSettings, connect, run_worker
from placet_worker_default.activities import DefaultActivities
from placet_worker_default.config import Settings
from placet_workflows.approval import ApprovalWorkflow
from placet_workflows.names import TaskQueue


async def work(settings: Settings) -> None:
    """Polls until SIGTERM."""
    async with AsyncExitStack() as stack:
        tokens = FileTokenSource(settings.token_file)
        audit, decision, notification = [
            await stack.enter_async_context(channel(address, tokens, tls=settings.tls()))
            for address in (settings.audit_address, settings.decision_address, settings.notification_address)
        ]
        activities = DefaultActivities(
            AuditServiceStub(audit), DecisionServiceStub(decision), NotificationServiceStub(notification)
        )
        await run_worker(
            await connect(TemporalSettings(), "worker-default"),
            WorkerSettings(),
            TaskQueue.DEFAULT,
            activities=[activities.append_events, activities.assess_risk, activities.notify],
            workflows=[ApprovalWorkflow],
        )


def main() -> int:
    """The exit status; see `run_program`."""
    return run_program(
        "worker-default",
        Settings,
        work,
        telemetry=partial(setup, "worker-default"),
        about=__doc__,
        also=(TemporalSettings, WorkerSettings),
    )


if __name__ == "__main__":
    sys.exit(main())
