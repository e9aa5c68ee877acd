"""The servers of the path tests, and a stage for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from hypothesis import settings
from temporalio.testing import WorkflowEnvironment

from placet_testing.fake_services import Services
from placet_testing.workflow_environment import Stage, on_stage, real_time, skipping_time

# An example's time says more about the machine than about the rules.
settings.register_profile("placet", deadline=None)
settings.load_profile("placet")


@pytest.fixture
async def skipping_server() -> AsyncIterator[WorkflowEnvironment]:
    """Each test has its own: the server's clock is one for all workflows, and stands still for a call that
    nobody takes, even when its workflow has ended."""
    async with skipping_time() as environment:
        yield environment


@pytest.fixture(scope="session")
async def real_server() -> AsyncIterator[WorkflowEnvironment]:
    async with real_time() as environment:
        yield environment


@pytest.fixture
async def stage(skipping_server: WorkflowEnvironment, request: pytest.FixtureRequest) -> AsyncIterator[Stage]:
    """Time skips; both workers run."""
    async with on_stage(skipping_server, Services()) as stage:
        yield stage
    await keep_histories(request, stage)


@pytest.fixture
async def stage_without_model(
    skipping_server: WorkflowEnvironment, request: pytest.FixtureRequest
) -> AsyncIterator[Stage]:
    """Nobody polls the openai queue: what is asked there waits."""
    async with on_stage(skipping_server, Services(), openai=False) as stage:
        yield stage
    await keep_histories(request, stage)


@pytest.fixture
async def live(real_server: WorkflowEnvironment, request: pytest.FixtureRequest) -> AsyncIterator[Stage]:
    """The real server, where time takes its time."""
    async with on_stage(real_server, Services()) as stage:
        yield stage
    await keep_histories(request, stage)


async def keep_histories(request: pytest.FixtureRequest, stage: Stage) -> None:
    """Hands what happened to the recorder of tests/replay, where that is at work."""
    recorder = request.config.pluginmanager.get_plugin("histories")
    if recorder is not None:
        theme = request.path.stem.removeprefix("test_workflow_")
        await recorder.keep(f"{theme} {request.node.name.removeprefix('test_')}", stage)
