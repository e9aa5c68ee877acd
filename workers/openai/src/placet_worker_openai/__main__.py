"""Runs the worker: configuration, telemetry, channel, activities, poll."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

from placet.decision.v1.decision_service_pb2_grpc import DecisionServiceStub
from placet_rpc.client import channel
from placet_rpc.tokens.sources import FileTokenSource
from placet_telemetry import setup
from placet_temporal import TemporalSettings, WorkerSettings, connect, run_worker
from placet_worker_openai.activities import OpenAiActivities
from placet_worker_openai.config import Settings
from placet_workflows.names import TaskQueue


async def main() -> None:
    """Runs until SIGTERM."""
    settings = Settings()
    closing = AsyncExitStack()
    closing.callback(setup("worker-openai").shutdown)
    decision = await closing.enter_async_context(
        channel(settings.decision_address, FileTokenSource(settings.token_file), tls=settings.tls())
    )
    activities = OpenAiActivities(DecisionServiceStub(decision))
    await run_worker(
        await connect(TemporalSettings(), "worker-openai"),
        WorkerSettings(),
        TaskQueue.OPENAI,
        activities=[activities.assess_risk, activities.decide],
        closing=closing,
    )


if __name__ == "__main__":
    asyncio.run(main())
