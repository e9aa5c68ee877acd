"""Worker on queue placet-openai: asks DecisionService for analyses and decisions of a language model."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from typing import Any

from placet.decision.v1.decision_service_pb2_grpc import DecisionServiceStub
from placet_rpc.client import channel
from placet_rpc.tokens.sources import FileTokenSource
from placet_temporal import run_worker_program
from placet_worker_openai.activities import OpenAiActivities
from placet_worker_openai.config import Settings
from placet_workflows.names import TaskQueue


async def activities(settings: Settings, stack: AsyncExitStack) -> Sequence[Callable[..., Any]]:
    """The activities, with channels that the stack closes. Any: each takes and gives its own type."""
    decision = await stack.enter_async_context(
        channel(settings.decision_address, FileTokenSource(settings.token_file), tls=settings.tls())
    )
    bound = OpenAiActivities(DecisionServiceStub(decision))
    return [bound.assess_risk, bound.decide]


def main() -> int:
    """The exit status; see `run_worker_program`."""
    return run_worker_program("worker-openai", TaskQueue.OPENAI, Settings, activities, about=__doc__)


if __name__ == "__main__":
    sys.exit(main())
