"""A worker process on one task queue."""

from __future__ import annotations

import gc
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict
from temporalio.client import Client
from temporalio.worker import UnsandboxedWorkflowRunner, Worker, WorkflowRunner
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

from placet_rpc.program import run_program
from placet_rpc.signals import stop_event
from placet_telemetry import setup
from placet_temporal.connection import connect
from placet_temporal.settings import TemporalSettings

_Settings = TypeVar("_Settings", bound=BaseSettings)

# Modules that workflows import and that do no I/O of their own: reloading them for every run is waste.
PASSED_THROUGH = ("placet_workflows", "pydantic", "pydantic_core", "annotated_types", "opentelemetry")
# After a kill the next task of a cached workflow waits this long for the dead worker.
STICKY = timedelta(seconds=1)


class WorkerSettings(BaseSettings):
    """Settings of every worker; the prefix of each variable is `PLACET_WORKER_`."""

    model_config = SettingsConfigDict(
        env_prefix="PLACET_WORKER_", frozen=True, extra="ignore", use_attribute_docstrings=True
    )

    max_cached_workflows: int = Field(default=120, ge=1)
    """Workflows kept in memory, about 200 KB each. One that is not there is replayed from its history when
    something happens to it, which takes some milliseconds more: more memory buys that back."""

    max_concurrent_activities: int = Field(default=200, ge=1)
    """Activities at a time."""

    max_concurrent_local_activities: int = Field(default=400, ge=1)
    """Local activities at a time."""

    sandbox: bool = False
    """Keep workflow code from time, files and network while it runs. Tests and replays always do; here it
    would cost a fifth of this process's CPU, and all workflow code is ours."""

    grace: float = Field(default=10, ge=0)
    """Seconds that activities under way get after SIGTERM."""

    ready_file: Path | None = Field(default=None, validation_alias="PLACET_READY_FILE")
    """A file that is written once the worker polls. Default: none."""


# Settings that `run_worker_program` reads beside the program's own.
WORKER_SETTINGS: tuple[type[BaseSettings], ...] = (TemporalSettings, WorkerSettings)


def workflow_runner(sandbox: bool) -> WorkflowRunner:
    """The sandbox with our own pure modules passed through, or none."""
    if not sandbox:
        return UnsandboxedWorkflowRunner()
    restrictions = SandboxRestrictions.default.with_passthrough_modules(*PASSED_THROUGH)
    return SandboxedWorkflowRunner(restrictions=restrictions)


def run_worker_program(
    name: str,
    task_queue: str,
    settings: type[_Settings],
    activities: Callable[[_Settings, AsyncExitStack], Awaitable[Sequence[Callable[..., Any]]]],
    *,
    about: str | None,
    workflows: Sequence[type] = (),
) -> int:
    """Runs a worker until it is stopped; returns the exit status, see `run_program`.

    `activities` makes the activities; what it opens, the stack closes.
    """

    async def work(read: _Settings) -> None:
        # All of them first: a wrong one is reported before anything is waited for.
        temporal, worker = TemporalSettings(), WorkerSettings()
        async with AsyncExitStack() as stack:
            registered = await activities(read, stack)
            client = await connect(temporal, name)
            await _run(client, worker, task_queue, registered, workflows)

    return run_program(
        name,
        settings,
        work,
        telemetry=partial(setup, name),
        about=about,
        also=WORKER_SETTINGS,
    )


async def _run(
    client: Client,
    settings: WorkerSettings,
    task_queue: str,
    activities: Sequence[Callable[..., Any]],
    workflows: Sequence[type],
) -> None:
    """Polls `task_queue` until SIGTERM or SIGINT; then stops polling, and lets activities under way end
    within the grace."""
    worker = Worker(
        client,
        task_queue=task_queue,
        activities=activities,
        workflows=workflows,
        workflow_runner=workflow_runner(settings.sandbox),
        max_cached_workflows=settings.max_cached_workflows,
        max_concurrent_activities=settings.max_concurrent_activities,
        max_concurrent_local_activities=settings.max_concurrent_local_activities,
        sticky_queue_schedule_to_start_timeout=STICKY,
        graceful_shutdown_timeout=timedelta(seconds=settings.grace),
    )
    with stop_event() as stop:
        async with worker:
            # Freeze the objects that live for ever: a collection that scans them stops every task meanwhile.
            gc.collect()
            gc.freeze()
            if settings.ready_file is not None:
                settings.ready_file.write_text("ready\n")
            await stop.wait()
    gc.unfreeze()
