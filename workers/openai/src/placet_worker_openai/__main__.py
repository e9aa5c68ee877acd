"""Worker on queue placet-openai: asks DecisionService for analyses and decisions of a language model."""

from __future__ import annotations

import sys
from contextlib import AsyncExitStack
from functools import partial

from placet.decision.v1.decision_service_pb2_grpc import DecisionServiceStub
from placet_rpc.client import channel
from placet_rpc.program import run_program
from placet_rpc.tokens.sources import FileTokenSource
from placet_telemetry import setup
from placet_temporal import TemporalSettings, WorkerSettings, connect, run_worker
from placet_worker_openai.activities import OpenAiActivities
from placet_worker_openai.config import Settings
from placet_workflows.names import TaskQueue


async def work(settings: Settings) -> None:
    """Polls until SIGTERM."""
    async with AsyncExitStack() as stack:
        decision = await stack.enter_async_context(
            channel(settings.decision_address, FileTokenSource(settings.token_file), tls=settings.tls())
        )
        activities = OpenAiActivities(DecisionServiceStub(decision))
        await run_worker(
            await connect(TemporalSettings(), "worker-openai"),
            WorkerSettings(),
            TaskQueue.OPENAI,
            activities=[activities.assess_risk, activities.decide],
        )


def main() -> int:
    """The exit status; see `run_program`."""
    return run_program(
        "worker-openai",
        Settings,
        work,
        telemetry=partial(setup, "worker-openai"),
        about=__doc__,
        also=(TemporalSettings, WorkerSettings),
    )


if __name__ == "__main__":
    sys.exit(main())
