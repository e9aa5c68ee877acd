"""Worker on queue placet-default: runs the workflows, appends to the log, asks for decisions and notices."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from typing import Any

from placet.audit.v1.audit_service_pb2_grpc import AuditServiceStub
from placet.decision.v1.decision_service_pb2_grpc import DecisionServiceStub
from placet.notification.v1.notification_service_pb2_grpc import NotificationServiceStub
from placet_rpc.client import channel
from placet_rpc.tokens.sources import FileTokenSource
from placet_temporal import run_worker_program
from placet_worker_default.activities import DefaultActivities
from placet_worker_default.config import Settings
from placet_workflows.approval import ApprovalWorkflow
from placet_workflows.names import TaskQueue


async def activities(settings: Settings, stack: AsyncExitStack) -> Sequence[Callable[..., Any]]:
    """The activities, with channels that the stack closes. Any: each takes and gives its own type."""
    tokens = FileTokenSource(settings.token_file)
    audit, decision, notification = [
        await stack.enter_async_context(channel(address, tokens, tls=settings.tls()))
        for address in (settings.audit_address, settings.decision_address, settings.notification_address)
    ]
    bound = DefaultActivities(
        AuditServiceStub(audit), DecisionServiceStub(decision), NotificationServiceStub(notification)
    )
    return [bound.append_events, bound.assess_risk, bound.notify]


def main() -> int:
    """The exit status; see `run_worker_program`."""
    return run_worker_program(
        "worker-default", TaskQueue.DEFAULT, Settings, activities, about=__doc__, workflows=[ApprovalWorkflow]
    )


if __name__ == "__main__":
    sys.exit(main())
