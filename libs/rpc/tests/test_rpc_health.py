"""Health of a server's parts: one at fault is said under its own name, and leaves the server serving."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from grpc_health.v1 import health_pb2

from placet_rpc import health
from placet_rpc.health import Health

SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
NO_CONTEXT: Any = None


def asked(name: str) -> Any:
    return health_pb2.HealthCheckRequest(service=name)


async def test_a_part_at_fault_is_not_serving_and_the_server_is() -> None:
    faults: list[str] = []
    told = Health(["a.Service"], {"view": lambda: not faults})
    told.serve()
    assert (await told.Check(asked("view"), NO_CONTEXT)).status == SERVING
    faults.append("stuck")
    assert (await told.Check(asked("view"), NO_CONTEXT)).status == NOT_SERVING
    for name in ("", "a.Service"):
        assert (await told.Check(asked(name), NO_CONTEXT)).status == SERVING


async def test_a_part_is_not_serving_before_and_after_its_server() -> None:
    told = Health(["a.Service"], {"view": lambda: True})
    assert (await told.Check(asked("view"), NO_CONTEXT)).status == NOT_SERVING
    told.serve()
    told.stop()
    assert (await told.Check(asked("view"), NO_CONTEXT)).status == NOT_SERVING


async def test_a_watcher_of_a_part_learns_of_fault_and_stop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(health, "PART_SECONDS", 0.01)
    faults: list[str] = []
    told = Health(["a.Service"], {"view": lambda: not faults})
    told.serve()
    async with asyncio.timeout(30):
        watched = told.Watch(asked("view"), NO_CONTEXT)
        assert (await anext(watched)).status == SERVING
        faults.append("stuck")
        assert (await anext(watched)).status == NOT_SERVING
        told.stop()
        assert [one async for one in watched] == []
