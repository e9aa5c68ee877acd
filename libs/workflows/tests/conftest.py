"""The servers of the path tests, and an environment for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from temporalio.testing import WorkflowEnvironment

from placet_testing.fake_services import Services
from placet_testing.workflow_environment import (
    ApprovalEnvironment,
    real_time,
    running_environment,
    skipping_time,
)


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
async def environment(
    skipping_server: WorkflowEnvironment, request: pytest.FixtureRequest
) -> AsyncIterator[ApprovalEnvironment]:
    """Time skips; both workers run."""
    async with running_environment(skipping_server, Services()) as environment:
        yield environment
    await keep_histories(request, environment)


@pytest.fixture
async def environment_without_model(
    skipping_server: WorkflowEnvironment, request: pytest.FixtureRequest
) -> AsyncIterator[ApprovalEnvironment]:
    """Nobody polls the openai queue: what is asked there waits."""
    async with running_environment(skipping_server, Services(), openai=False) as environment:
        yield environment
    await keep_histories(request, environment)


@pytest.fixture
async def live(
    real_server: WorkflowEnvironment, request: pytest.FixtureRequest
) -> AsyncIterator[ApprovalEnvironment]:
    """The real server, where time takes its time."""
    async with running_environment(real_server, Services()) as environment:
        yield environment
    await keep_histories(request, environment)


async def keep_histories(request: pytest.FixtureRequest, environment: ApprovalEnvironment) -> None:
    """Hands what happened to the recorder of tests/replay, where that is at work."""
    recorder = request.config.pluginmanager.get_plugin("histories")
    if recorder is not None:
        theme = request.path.stem.removeprefix("test_workflow_")
        await recorder.keep(f"{theme} {request.node.name.removeprefix('test_')}", environment)
