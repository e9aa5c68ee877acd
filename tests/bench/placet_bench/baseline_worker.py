"""The baseline's one worker: `python -m placet_bench.baseline_worker TEMPORAL BENCH`, two addresses.

Asking somebody is one line to the bench: the id of the workflow that waits now.
"""

from __future__ import annotations

import asyncio
import sys

from temporalio import activity
from temporalio.client import Client
from temporalio.worker import Worker

from placet_bench.baseline_workflow import TASK_QUEUE, Baseline


class Activities:
    """They do nothing, so that what is measured is Temporal."""

    def __init__(self, bench: asyncio.StreamWriter) -> None:
        self._bench = bench

    @activity.defn
    async def read(self, content: str) -> str:
        """The text of the content."""
        return content

    @activity.defn
    async def ask(self, workflow_id: str) -> None:
        """Tells the person who decides."""
        self._bench.write(f"{workflow_id}\n".encode())

    @activity.defn
    async def finish(self, outcome: str) -> str:
        """Writes the outcome."""
        return outcome


async def main() -> None:
    """Until the bench goes away."""
    temporal, bench = sys.argv[1:]
    host, _, port = bench.rpartition(":")
    gone, to_bench = await asyncio.open_connection(host, int(port))
    activities = Activities(to_bench)
    worker = Worker(
        await Client.connect(temporal),
        task_queue=TASK_QUEUE,
        workflows=[Baseline],
        activities=[activities.read, activities.ask, activities.finish],
    )
    async with worker:
        to_bench.write(b"ready\n")
        await gone.read()


if __name__ == "__main__":
    asyncio.run(main())
