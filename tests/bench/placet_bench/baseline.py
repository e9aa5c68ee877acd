"""The callers of the baseline: they create, are asked, decide, and wait for the outcome."""

from __future__ import annotations

import asyncio
import sys
import time
import uuid
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from temporalio.client import Client, WorkflowHandle

from placet_bench.baseline_workflow import TASK_QUEUE, Baseline
from placet_bench.cpu import Meter
from placet_bench.processes import child

HOST = "127.0.0.1"
CONTENT = "Please transfer 50,000 EUR to IBAN DE89 3704 0044 0532 0130 00 today"


class BaselineCallers:
    """Requester and approver of the baseline on one Temporal server."""

    def __init__(self, client: Client, server_pid: int) -> None:
        self._client = client
        self._asked: defaultdict[str, asyncio.Future[None]] = defaultdict(_future)
        self.worker_pid = 0
        self.meter = Meter(lambda: {"temporal": server_pid, "baseline worker": self.worker_pid})

    async def play(self) -> None:
        """One request from creation to its outcome."""
        handle = await self.create()
        outcome = asyncio.create_task(handle.result())
        await self.asked(handle.id)
        await handle.signal(Baseline.decide, "approve")
        await outcome

    async def create(self) -> WorkflowHandle[Baseline, str]:
        """A request; its handle."""
        return await self._client.start_workflow(
            Baseline.run, CONTENT, id=str(uuid.uuid4()), task_queue=TASK_QUEUE
        )

    async def asked(self, workflow_id: str) -> None:
        """Returns once the person was asked."""
        await self._asked[workflow_id]
        del self._asked[workflow_id]

    async def decide(self, handle: WorkflowHandle[Baseline, str]) -> float:
        """Seconds from signal to result."""
        begun = time.perf_counter()
        await handle.signal(Baseline.decide, "approve")
        await handle.result()
        return time.perf_counter() - begun

    async def hear(self, reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        """Output of the worker, for as long as it runs."""
        async for line in reader:
            future = self._asked[line.decode().strip()]
            if not future.done():
                future.set_result(None)


@asynccontextmanager
async def baseline_on(address: str, server_pid: int) -> AsyncIterator[BaselineCallers]:
    """The baseline's worker at work on the Temporal server at `address`, and its callers."""
    callers = BaselineCallers(await Client.connect(address), server_pid)
    server = await asyncio.start_server(callers.hear, HOST, 0)
    port = server.sockets[0].getsockname()[1]
    command = (sys.executable, "-m", "placet_bench.baseline_worker", address, f"{HOST}:{port}")
    async with child(command) as process:
        callers.worker_pid = process.pid
        async with asyncio.timeout(60):
            await callers.asked("ready")
        yield callers
    server.close()


def _future() -> asyncio.Future[None]:
    return asyncio.get_running_loop().create_future()
