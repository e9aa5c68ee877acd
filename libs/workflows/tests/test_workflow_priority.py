"""Fallback capacity, on the real server: within the openai queue a fallback goes before a pre-screen."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from placet_testing.fake_services import Services, deep_model
from placet_testing.simulation import screened
from placet_testing.workflow_environment import PATIENCE, PAUSE, Request, running_environment, until
from placet_workflows.activity_types import DecideInput
from placet_workflows.names import Activity, TaskQueue

pytestmark = pytest.mark.integration

PRE_SCREENS = 12
Q = TypeVar("Q")
A = TypeVar("A")


def noting(order: list[str], answer: Callable[[Q], Awaitable[A]]) -> Callable[[Q], Awaitable[A]]:
    """A service that notes what it was asked."""

    async def ask(question: Q) -> A:
        order.append(type(question).__name__)
        return await answer(question)

    return ask


async def calling(request: Request, activity: Activity) -> None:
    """Waits until this is what the request waits for."""

    async def waits() -> bool:
        return activity in [one.activity_type.name for one in await request.pending()]

    async with asyncio.timeout(PATIENCE):
        while not await waits():  # noqa: ASYNC110 - the server tells only who asks
            await asyncio.sleep(PAUSE)


async def test_a_fallback_goes_before_the_pre_screens_that_were_asked_before_it(
    real_server: WorkflowEnvironment,
) -> None:
    order: list[str] = []
    services = Services(assess=deep_model(screened()))
    async with running_environment(real_server, services, openai=False) as environment:
        # Nobody polls the queue yet: twelve deep pre-screens pile up, and only then a fallback comes.
        for _ in range(PRE_SCREENS):
            request = await environment.request("document")
            await calling(request, Activity.ASSESS_RISK)
        late = await environment.request("escalating", clock_scale=36_000)
        await calling(late, Activity.DECIDE)
        services.assess, services.decide = noting(order, services.assess), noting(order, services.decide)
        worker = Worker(
            real_server.client,
            task_queue=TaskQueue.OPENAI,
            activities=[services.assess_risk, services.ask_ai],
            max_concurrent_activities=1,
        )
        async with worker:
            await until(lambda: len(order) == PRE_SCREENS + 1)
    # It fails also where priorities count and the queue has more than one partition: see TUNING.
    assert order[0] == DecideInput.__name__, order
