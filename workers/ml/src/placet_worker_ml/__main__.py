"""Worker on queue placet-ml: evaluates risk scores."""

from __future__ import annotations

import sys
from contextlib import AsyncExitStack
from functools import partial

from placet.audit.v1.audit_service_pb2_grpc import AuditServiceStub
from placet_rpc.client import channel
from placet_rpc.program import run_program
from placet_rpc.tokens.sources import FileTokenSource
from placet_telemetry import setup
from placet_temporal import TemporalSettings, WorkerSettings, connect, run_worker
from placet_worker_ml.activities import MlActivities
from placet_worker_ml.config import Settings
from placet_workflows.evaluation import EvaluationWorkflow
from placet_workflows.names import TaskQueue


async def work(settings: Settings) -> None:
    """Polls until SIGTERM."""
    async with AsyncExitStack() as stack:
        audit = await stack.enter_async_context(
            channel(settings.audit_address, FileTokenSource(settings.token_file), tls=settings.tls())
        )
        activities = MlActivities(AuditServiceStub(audit))
        await run_worker(
            await connect(TemporalSettings(), "worker-ml"),
            WorkerSettings(),
            TaskQueue.ML,
            activities=[activities.evaluate_model],
            workflows=[EvaluationWorkflow],
        )


def main() -> int:
    """The exit status; see `run_program`."""
    return run_program(
        "worker-ml",
        Settings,
        work,
        telemetry=partial(setup, "worker-ml"),
        about=__doc__,
        also=(TemporalSettings, WorkerSettings),
    )


if __name__ == "__main__":
    sys.exit(main())
