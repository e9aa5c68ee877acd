"""Worker on queue placet-ml: evaluates risk scores."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from typing import Any

from placet.audit.v1.audit_service_pb2_grpc import AuditServiceStub
from placet_rpc.client import channel
from placet_rpc.tokens.sources import FileTokenSource
from placet_temporal import run_worker_program
from placet_worker_ml.activities import MlActivities
from placet_worker_ml.config import Settings
from placet_workflows.evaluation import EvaluationWorkflow
from placet_workflows.names import TaskQueue


async def activities(settings: Settings, stack: AsyncExitStack) -> Sequence[Callable[..., Any]]:
    """The activities, with channels that the stack closes. Any: each takes and gives its own type."""
    audit = await stack.enter_async_context(
        channel(settings.audit_address, FileTokenSource(settings.token_file), tls=settings.tls())
    )
    return [MlActivities(AuditServiceStub(audit)).evaluate_model]


def main() -> int:
    """The exit status; see `run_worker_program`."""
    return run_worker_program(
        "worker-ml", TaskQueue.ML, Settings, activities, about=__doc__, workflows=[EvaluationWorkflow]
    )


if __name__ == "__main__":
    sys.exit(main())
