"""How the supervisor finds out that a process is ready."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import grpc
import grpc.aio

# Its wheel carries no types.
from grpc_health.v1 import health_pb2, health_pb2_grpc  # type: ignore[import-untyped]

# Answers at once, or within PROBE_SECONDS: True when the process is ready to work.
Probe = Callable[[], Awaitable[bool]]

PROBE_SECONDS = 1.0


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
        # A channel for each look: one that failed would wait longer and longer before it connects again.
        async with grpc.aio.insecure_channel(
            address, options=[("grpc.use_local_subchannel_pool", 1)]
        ) as channel:
            stub = health_pb2_grpc.HealthStub(channel)
            try:
                answer = await stub.Check(
                    health_pb2.HealthCheckRequest(service=service), timeout=PROBE_SECONDS
                )
            except grpc.aio.AioRpcError:
                return False
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)

    return probe


def file_exists(path: Path) -> Probe:
    """Ready when the process has touched its file."""

    async def probe() -> bool:
        return path.exists()  # noqa: ASYNC240 (a stat of a local file is quicker than a thread)

    return probe
