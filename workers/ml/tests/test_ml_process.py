"""The worker's process on the real Temporal server: killed in the middle of a job."""

from __future__ import annotations

import asyncio
import os
import sys
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client

from placet_domain.events import State
from placet_temporal import TemporalSettings, connect
from placet_temporal.evaluations import evaluation_status, start_evaluation
from placet_testing.conditions import until
from placet_testing.workflow_environment import real_time
from placet_workflows.evaluation import EvaluationInput

pytestmark = pytest.mark.integration

# The served log of conftest, which tests cannot import by name.
Served = Any
Temporal = tuple[Client, dict[str, str]]

# Seconds that a condition may take on a busy machine.
PATIENCE = 60


@pytest.fixture
async def temporal(tmp_path: Path) -> AsyncIterator[Temporal]:
    """A client that encrypts as the worker does, and the worker's environment."""
    key = tmp_path / "payload.key"
    key.write_bytes(os.urandom(32))
    key.chmod(0o600)
    async with real_time() as server:
        address = server.client.service_client.config.target_host
        settings = TemporalSettings(temporal_address=address, payload_key_file=key)
        environment = {"PLACET_TEMPORAL_ADDRESS": address, "PLACET_PAYLOAD_KEY_FILE": str(key)}
        yield await connect(settings, "test"), environment


@asynccontextmanager
async def worker(environment: dict[str, str], folder: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """The worker's process, polling."""
    ready = folder / f"ready-{uuid.uuid4()}"
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "placet_worker_ml",
        env={**os.environ, **environment, "PLACET_READY_FILE": str(ready)},
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        await until(partial(asyncio.to_thread, ready.exists), "the worker polls", PATIENCE)
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def test_an_evaluation_reads_on_after_its_worker_was_killed(
    served: Served, temporal: Temporal, tmp_path: Path
) -> None:
    client, environment = temporal
    environment |= {"PLACET_AUDIT_ADDRESS": served.address, "PLACET_TOKEN_FILE": str(served.token_file)}
    for number in range(200):
        request = str(uuid.UUID(int=number))
        served.log.ask(request, number / 200)
        served.log.decide(request, State.REJECTED if number > 100 else State.APPROVED)
    served.log.most, served.log.gated_from = 100, 300
    asked = EvaluationInput(tenant="acme", policy="document")

    async with worker(environment, tmp_path) as first:
        evaluation = await start_evaluation(client, asked)

        async def has_told_how_far_it_is() -> bool:
            standing = await evaluation_status(client, evaluation.id)
            return standing is not None and standing.progress.next_index == 300

        await until(has_told_how_far_it_is, "the job tells its progress", PATIENCE)
        joined = await start_evaluation(client, asked)
        first.kill()
        await first.wait()
    assert joined.first_execution_run_id == evaluation.first_execution_run_id
    served.log.calls.clear()
    served.log.gate.set()

    async with worker(environment, tmp_path):
        found = await evaluation.result()

    # 75 requests of four entries were counted before; the second process never saw them.
    assert [call.filter.from_log_index for call in served.log.calls] == [300, 400, 500, 600, 700]
    (version,) = found.versions
    assert (version.approved, version.rejected, version.auc) == (101, 99, 1.0)
    assert await evaluation_status(client, evaluation.id) is None


async def test_whoever_waits_reads_why_an_evaluation_does_not_go_on(
    served: Served, temporal: Temporal, tmp_path: Path
) -> None:
    client, environment = temporal
    environment |= {"PLACET_AUDIT_ADDRESS": served.address, "PLACET_TOKEN_FILE": str(served.token_file)}
    served.log.refuse_call = 0
    served.log.ask(str(uuid.uuid4()), 0.5)

    async with worker(environment, tmp_path):
        served.log.gated_from = 0
        evaluation = await start_evaluation(client, EvaluationInput(tenant="acme"))

        async def says_why() -> bool:
            standing = await evaluation_status(client, evaluation.id)
            return (
                standing is not None and "the log is away" in standing.last_failure and standing.attempt > 1
            )

        await until(says_why, "the log says why", PATIENCE)
        served.log.gate.set()
        assert (await evaluation.result()).log_size == 3


async def test_a_worker_that_is_told_to_stop_hands_its_job_on(
    served: Served, temporal: Temporal, tmp_path: Path
) -> None:
    client, environment = temporal
    environment |= {
        "PLACET_AUDIT_ADDRESS": served.address,
        "PLACET_TOKEN_FILE": str(served.token_file),
        "PLACET_WORKER_GRACE": "0.1",
    }
    for number in range(20):
        served.log.ask(str(uuid.UUID(int=number)), 0.5)
    served.log.most, served.log.gated_from = 30, 30

    async with worker(environment, tmp_path) as first:
        evaluation = await start_evaluation(client, EvaluationInput(tenant="acme"))

        async def reads_the_second_page() -> bool:
            return len(served.log.calls) == 2

        await until(reads_the_second_page, "the job reads the second page", PATIENCE)
        first.terminate()
        assert await first.wait() == 0
    served.log.calls.clear()
    served.log.gate.set()

    async with worker(environment, tmp_path):
        assert (await evaluation.result()).log_size == 60
    assert [call.filter.from_log_index for call in served.log.calls] == [30]
