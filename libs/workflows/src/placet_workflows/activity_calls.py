"""The workflow's calls: which activity, on which queue, for how long, and what a failure of it means.

Nothing here decides what becomes of a request. Each call raises CancelledError when the request no longer
calls for it, which is not a failure of the step.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from datetime import datetime, timedelta
from functools import partial
from typing import TypeVar

from temporalio import workflow
from temporalio.common import Priority as TaskPriority
from temporalio.common import RetryPolicy
from temporalio.exceptions import ApplicationError, FailureError, is_cancelled_exception

from placet_domain.events import AiResult
from placet_workflows.activity_types import (
    AppendInput,
    AppendResult,
    AssessInput,
    AssessResult,
    DecideInput,
    DecideResult,
    NotifyInput,
    NotifyResult,
)
from placet_workflows.names import Activity, TaskQueue

# One attempt of an append inside the workflow task. Longer would hold the task, and with a hundred such
# requests the worker; after it a regular activity goes on without holding anything.
APPEND_BUDGET = timedelta(seconds=1)
# The same for a notice: most are handed over within milliseconds, which saves an activity and a task.
NOTICE_BUDGET = timedelta(milliseconds=500)
ATTEMPT = timedelta(minutes=1)
AI_ATTEMPT = timedelta(seconds=90)
# After this silence a worker is taken for dead, and its attempt is made again. Three heartbeats of its own.
AI_SILENCE = timedelta(seconds=15)
# Within the openai queue a fallback goes before a pre-screen.
FALLBACK_FIRST = TaskPriority(priority_key=1)
PRE_SCREEN_LATER = TaskPriority(priority_key=4)
STEADY = RetryPolicy(
    initial_interval=timedelta(milliseconds=200),
    backoff_coefficient=2,
    maximum_interval=timedelta(seconds=3),
)
# For what thousands of requests may wait for at the same time while nobody waits for it within a second.
PATIENT = RetryPolicy(
    initial_interval=timedelta(milliseconds=200),
    backoff_coefficient=2,
    maximum_interval=timedelta(seconds=20),
)
ONCE = RetryPolicy(maximum_attempts=1)
# Between two tries of what was refused for good. Each writes to the history, so they are rare.
MENDING = timedelta(minutes=10)

Result = TypeVar("Result")


async def append(request: AppendInput) -> AppendResult:
    """Compare-and-append. Answers once the events are durable, however long that takes."""
    try:
        result: AppendResult = await workflow.execute_local_activity(
            Activity.APPEND_EVENTS,
            request,
            result_type=AppendResult,
            schedule_to_close_timeout=APPEND_BUDGET,
            retry_policy=ONCE,
        )
    except FailureError as error:
        raise_if_cancelled(error)
        result = await until_mended(partial(_append_however_long, request))
    return result


async def _append_however_long(request: AppendInput) -> AppendResult:
    result: AppendResult = await workflow.execute_activity(
        Activity.APPEND_EVENTS,
        request,
        result_type=AppendResult,
        task_queue=TaskQueue.DEFAULT,
        start_to_close_timeout=ATTEMPT,
        retry_policy=STEADY,
    )
    return result


async def assess_quickly(request: AssessInput, ends: datetime) -> AssessResult:
    """By rules and learned model: within the workflow task if that is possible. Raises FailureError when
    there is no answer at `ends`."""
    try:
        assessed: AssessResult = await workflow.execute_local_activity(
            Activity.ASSESS_RISK,
            request,
            result_type=AssessResult,
            schedule_to_close_timeout=APPEND_BUDGET,
            retry_policy=ONCE,
        )
    except FailureError as error:
        raise_if_cancelled(error)
        assessed = await assess(request, TaskQueue.DEFAULT, ends)
    return assessed


async def assess(request: AssessInput, queue: TaskQueue, ends: datetime) -> AssessResult:
    """On a queue. Raises FailureError when there is no answer at `ends`."""
    assessed: AssessResult = await workflow.execute_activity(
        Activity.ASSESS_RISK,
        request,
        result_type=AssessResult,
        task_queue=queue,
        schedule_to_close_timeout=max(ends - workflow.now(), timedelta(seconds=1)),
        start_to_close_timeout=ATTEMPT,
        heartbeat_timeout=AI_SILENCE if queue is TaskQueue.OPENAI else None,
        retry_policy=STEADY,
        priority=PRE_SCREEN_LATER,
    )
    return assessed


async def ask_ai(request: DecideInput, time_limit: timedelta | None) -> DecideResult:
    """The fallback's decision. Raises FailureError when there is none within `time_limit`."""
    decided: DecideResult = await workflow.execute_activity(
        Activity.DECIDE,
        request,
        result_type=DecideResult,
        task_queue=TaskQueue.OPENAI,
        schedule_to_close_timeout=time_limit,
        start_to_close_timeout=AI_ATTEMPT,
        heartbeat_timeout=AI_SILENCE,
        retry_policy=PATIENT,
        priority=FALLBACK_FIRST,
    )
    if decided.result.result is AiResult.UNAVAILABLE:
        raise ApplicationError("the AI answered that it is unavailable")
    return decided


async def notify(request: NotifyInput) -> NotifyResult:
    """Tells somebody, however long that takes. A refusal for good is a result: nobody was told."""
    try:
        told: NotifyResult = await workflow.execute_local_activity(
            Activity.NOTIFY,
            request,
            result_type=NotifyResult,
            schedule_to_close_timeout=NOTICE_BUDGET,
            retry_policy=ONCE,
        )
    except FailureError as error:
        raise_if_cancelled(error)
        told = await _notify_however_long(request)
    return told


async def _notify_however_long(request: NotifyInput) -> NotifyResult:
    try:
        told: NotifyResult = await workflow.execute_activity(
            Activity.NOTIFY,
            request,
            result_type=NotifyResult,
            task_queue=TaskQueue.DEFAULT,
            start_to_close_timeout=ATTEMPT,
            retry_policy=PATIENT,
        )
    except FailureError as error:
        raise_if_cancelled(error)
        workflow.logger.warning("a notification was refused for good: %s", error.cause or error)
        told = NotifyResult(notification_id="", delivered=False, channel="")
    return told


async def until_mended(step: Callable[[], Coroutine[object, object, Result]]) -> Result:
    """Takes a step that must not fail. Temporal retries what may be retried; an error that says "never"
    is a mistake on one of the two sides, mended some day: until then the request waits, not its history."""
    while True:
        try:
            return await step()
        except FailureError as error:
            raise_if_cancelled(error)
            workflow.logger.error("a step that must not fail was refused for good: %s", error.cause or error)
        await workflow.sleep(MENDING)


def raise_if_cancelled(error: FailureError) -> None:
    """A step that was stopped because the request no longer calls for it is not a failure of the step."""
    if is_cancelled_exception(error):
        raise asyncio.CancelledError from error
