"""The servers of the path tests, and one stage for each."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from temporalio.testing import WorkflowEnvironment

from placet_testing.workflows import Services, Stage, on_stage, real_time, skipping_time


@pytest.fixture(scope="session")
async def skipping_server() -> AsyncIterator[WorkflowEnvironment]:
    async with skipping_time() as environment:
        yield environment


@pytest.fixture(scope="session")
async def real_server() -> AsyncIterator[WorkflowEnvironment]:
    async with real_time() as environment:
        yield environment


@pytest.fixture
async def stage(skipping_server: WorkflowEnvironment) -> AsyncIterator[Stage]:
    async with on_stage(skipping_server, Services()) as stage:
        yield stage
