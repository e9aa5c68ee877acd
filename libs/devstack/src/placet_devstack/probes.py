"""Readiness probes of the supervisor."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from placet_rpc.client import serving
from placet_workflows import names

# Answers within PROBE_SECONDS: True when the process is ready to work.
Probe = Callable[[], Awaitable[bool]]

PROBE_SECONDS = 1.0
POLLED_SECONDS = 3.0


def port_open(host: str, port: int) -> Probe:
    """Ready when somebody accepts connections."""

    async def probe() -> bool:
        try:
            async with asyncio.timeout(PROBE_SECONDS):
                _, writer = await asyncio.open_connection(host, port)
        except (OSError, TimeoutError):
            return False
        writer.close()
        return True

    return probe


def grpc_serving(address: str, service: str = "") -> Probe:
    """Ready when the gRPC health service says SERVING for `service`; "" is the server as a whole."""

    async def probe() -> bool:
        # A port that refuses is asked no more: gRPC would try again and again for all of the second.
        host, _, port = address.rpartition(":")
        return await port_open(host, int(port))() and await serving(address, service, timeout=PROBE_SECONDS)

    return probe


async def polled(address: str) -> dict[str, float]:
    """Seconds since somebody last asked for work, by the worker's name in the stack (default, openai, ml);
    without those whom Temporal knows nothing of now, which forgets who is silent for minutes."""
    # Imported late: a third of a second that only who asks for it need spend.
    from temporalio.api.enums.v1 import TaskQueueType
    from temporalio.api.taskqueue.v1 import TaskQueue
    from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
    from temporalio.client import Client
    from temporalio.service import RPCError

    host, _, port = address.rpartition(":")
    if not await port_open(host, int(port))():
        return {}
    ages: dict[str, float] = {}
    try:
        async with asyncio.timeout(POLLED_SECONDS):
            client = await Client.connect(address)
            for queue in names.TaskQueue:
                request = DescribeTaskQueueRequest(
                    namespace="default",
                    task_queue=TaskQueue(name=queue.value),
                    task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY,
                )
                answer = await client.workflow_service.describe_task_queue(request)
                times = [one.last_access_time.ToSeconds() for one in answer.pollers]
                if times:
                    ages[queue.name.lower()] = time.time() - max(times)
    except (RPCError, RuntimeError, TimeoutError):
        # A Temporal that does not answer is a finding of its own.
        return ages
    return ages


def file_exists(path: Path) -> Probe:
    """Ready when the process has written its file."""

    async def probe() -> bool:
        return path.exists()  # noqa: ASYNC240 (a stat of a local file is quicker than a thread)

    return probe
