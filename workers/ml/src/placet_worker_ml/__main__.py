"""Runs the worker: configuration, telemetry, channel, activities, poll."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

from placet.audit.v1.audit_service_pb2_grpc import AuditServiceStub
from placet_rpc.client import channel
from placet_rpc.tokens.sources import FileTokenSource
from placet_telemetry import setup
from placet_temporal import TemporalSettings, WorkerSettings, connect, run_worker
from placet_worker_ml.activities import MlActivities
from placet_worker_ml.config import Settings
from placet_workflows.evaluation import EvaluationWorkflow
from placet_workflows.names import TaskQueue


async def main() -> None:
    """Runs until SIGTERM."""
    settings = Settings()
    closing = AsyncExitStack()
    closing.callback(setup("worker-ml").shutdown)
    audit = await closing.enter_async_context(
        channel(settings.audit_address, FileTokenSource(settings.token_file), tls=settings.tls())
    )
    activities = MlActivities(AuditServiceStub(audit))
    await run_worker(
        await connect(TemporalSettings(), "worker-ml"),
        WorkerSettings(),
        TaskQueue.ML,
        activities=[activities.evaluate_model],
        workflows=[EvaluationWorkflow],
        closing=closing,
    )


if __name__ == "__main__":
    asyncio.run(main())
