"""How the supervisor finds out that a process is ready."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from placet_rpc.client import serving

# Answers within PROBE_SECONDS: True when the process is ready to work.
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
        # A port that refuses is asked no more: gRPC would try again and again for all of the second.
        host, _, port = address.rpartition(":")
        return await port_open(host, int(port))() and await serving(address, service, timeout=PROBE_SECONDS)

    return probe


def file_exists(path: Path) -> Probe:
    """Ready when the process has written its file."""

    async def probe() -> bool:
        return path.exists()  # noqa: ASYNC240 (a stat of a local file is quicker than a thread)

    return probe
