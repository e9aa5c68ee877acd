"""The workflow's activity calls: activity, queue, timeouts, retries, and the meaning of a failure.

Nothing here decides about a request. Each call raises CancelledError once the request no longer needs it,
which is not a failure of the step.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from datetime import datetime, timedelta
from typing import TypeVar

from temporalio import workflow
from temporalio.common import Priority as TaskPriority
from temporalio.common import RetryPolicy
from temporalio.exceptions import ApplicationError, FailureError, is_cancelled_exception

from placet_domain.events import AiResult, PreScreened, ScreenMode
from placet_domain.facts import FoundFacts
from placet_domain.policy import Policy, PreScreen
from placet_domain.rules import screening
from placet_domain.state import ApprovalState
from placet_workflows import activity_inputs as inputs
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

# Timeout of a local attempt, which holds the workflow task. Most succeed within milliseconds, which saves an
# activity and a task. After it a regular activity continues.
LOCAL_BUDGET = timedelta(seconds=1)
ATTEMPT = timedelta(minutes=1)
AI_ATTEMPT = timedelta(seconds=90)
# Heartbeat timeout, after which another attempt starts: three heartbeat intervals of the worker.
AI_HEARTBEAT_TIMEOUT = timedelta(seconds=15)
# In the openai queue a fallback has priority over a pre-screen.
FALLBACK_FIRST = TaskPriority(priority_key=1)
PRE_SCREEN_LATER = TaskPriority(priority_key=4)
STEADY = RetryPolicy(
    initial_interval=timedelta(milliseconds=200),
    backoff_coefficient=2,
    maximum_interval=timedelta(seconds=3),
)
# For calls on which thousands of requests may wait at the same time, and nobody within a second.
PATIENT = RetryPolicy(
    initial_interval=timedelta(milliseconds=200),
    backoff_coefficient=2,
    maximum_interval=timedelta(seconds=20),
)
ONCE = RetryPolicy(maximum_attempts=1)
# Pause after a permanent refusal. Each attempt writes to the history, so attempts are rare.
REPAIR_INTERVAL = timedelta(minutes=10)

Result = TypeVar("Result")


NOT_ATTESTED = "NOT_ATTESTED"


class AppendRefused(Exception):
    """The log refuses the events, and would refuse the same ones again.

    `unattested`: number of the event whose attestation is not valid; 0 if another rule is broken.
    """

    def __init__(self, why: BaseException) -> None:
        super().__init__(str(why))
        self.unattested = 0
        if isinstance(why, ApplicationError) and why.type == NOT_ATTESTED:
            number = why.details[0] if why.details else 0
            self.unattested = int(number) if str(number).isdecimal() else 0


async def append(request: AppendInput) -> AppendResult:
    """Compares and appends. Returns once the events are durable, however long that takes.

    Raises AppendRefused for what the log refuses permanently.
    """
    try:
        result: AppendResult = await workflow.execute_local_activity(
            Activity.APPEND_EVENTS,
            request,
            result_type=AppendResult,
            schedule_to_close_timeout=LOCAL_BUDGET,
            retry_policy=ONCE,
        )
    except FailureError as error:
        raise_if_cancelled(error)
        result = await _append_durably(request)
    return result


async def _append_durably(request: AppendInput) -> AppendResult:
    try:
        result: AppendResult = await workflow.execute_activity(
            Activity.APPEND_EVENTS,
            request,
            result_type=AppendResult,
            task_queue=TaskQueue.DEFAULT,
            start_to_close_timeout=ATTEMPT,
            retry_policy=STEADY,
        )
    except FailureError as error:
        raise_if_cancelled(error)
        workflow.logger.error("the log refused events permanently: %s", error.cause or error)
        raise AppendRefused(error.cause or error) from error
    return result


async def pre_screen(policy: Policy, state: ApprovalState, settings: PreScreen) -> PreScreened:
    """Assesses quickly; then deeply, if the policy demands it, a model is there and no rule has decided.

    The policy's time limit covers both; without an answer the result is UNAVAILABLE, with what was found.
    """
    ends = workflow.now() + settings.time_limit
    found = FoundFacts()
    try:
        assessed = await assess_quickly(inputs.assessment(state, ScreenMode.QUICK), ends)
        found = assessed.result.found
        needs_model = not screening.is_decided_by_rules(policy, state, assessed.result)
        if settings.mode is ScreenMode.DEEP and assessed.deep_available and needs_model:
            deep = inputs.assessment(state, ScreenMode.DEEP)
            assessed = await assess(deep, TaskQueue.OPENAI, ends)
    except FailureError as error:
        raise_if_cancelled(error)
        return PreScreened(result=AiResult.UNAVAILABLE, mode=settings.mode, found=found)
    return assessed.result


async def assess_quickly(request: AssessInput, ends: datetime) -> AssessResult:
    """Assesses risk by rules and learned model, in the workflow task if possible.

    Raises FailureError without an answer at `ends`.
    """
    try:
        assessed: AssessResult = await workflow.execute_local_activity(
            Activity.ASSESS_RISK,
            request,
            result_type=AssessResult,
            schedule_to_close_timeout=LOCAL_BUDGET,
            retry_policy=ONCE,
        )
    except FailureError as error:
        raise_if_cancelled(error)
        assessed = await assess(request, TaskQueue.DEFAULT, ends)
    return assessed


async def assess(request: AssessInput, queue: TaskQueue, ends: datetime) -> AssessResult:
    """Assesses risk on a queue. Raises FailureError without an answer at `ends`."""
    assessed: AssessResult = await workflow.execute_activity(
        Activity.ASSESS_RISK,
        request,
        result_type=AssessResult,
        task_queue=queue,
        schedule_to_close_timeout=max(ends - workflow.now(), timedelta(seconds=1)),
        start_to_close_timeout=ATTEMPT,
        heartbeat_timeout=AI_HEARTBEAT_TIMEOUT if queue is TaskQueue.OPENAI else None,
        retry_policy=STEADY,
        priority=PRE_SCREEN_LATER,
    )
    return assessed


async def ask_ai(request: DecideInput, time_limit: timedelta | None) -> DecideResult:
    """Asks the AI for the fallback's decision. Raises FailureError without one within `time_limit`."""
    decided: DecideResult = await workflow.execute_activity(
        Activity.DECIDE,
        request,
        result_type=DecideResult,
        task_queue=TaskQueue.OPENAI,
        schedule_to_close_timeout=time_limit,
        start_to_close_timeout=AI_ATTEMPT,
        heartbeat_timeout=AI_HEARTBEAT_TIMEOUT,
        retry_policy=PATIENT,
        priority=FALLBACK_FIRST,
    )
    if decided.result.result is AiResult.UNAVAILABLE:
        raise ApplicationError("the AI answered that it is unavailable")
    return decided


async def notify(request: NotifyInput) -> NotifyResult:
    """Notifies somebody, however long that takes. A permanent refusal is a result: not delivered."""
    try:
        result: NotifyResult = await workflow.execute_local_activity(
            Activity.NOTIFY,
            request,
            result_type=NotifyResult,
            schedule_to_close_timeout=LOCAL_BUDGET,
            retry_policy=ONCE,
        )
    except FailureError as error:
        raise_if_cancelled(error)
        result = await _notify_durably(request)
    return result


async def _notify_durably(request: NotifyInput) -> NotifyResult:
    try:
        result: NotifyResult = await workflow.execute_activity(
            Activity.NOTIFY,
            request,
            result_type=NotifyResult,
            task_queue=TaskQueue.DEFAULT,
            start_to_close_timeout=ATTEMPT,
            retry_policy=PATIENT,
        )
    except FailureError as error:
        raise_if_cancelled(error)
        workflow.logger.warning("a notification was refused permanently: %s", error.cause or error)
        result = NotifyResult(notification_id="", delivered=False, channel="")
    return result


async def until_repaired(step: Callable[[], Coroutine[object, object, Result]]) -> Result:
    """Repeats a step that must not fail.

    Temporal retries what is retryable. A non-retryable error is a defect on one of the two sides: the step is
    tried again every REPAIR_INTERVAL until it is repaired.
    """
    while True:
        try:
            return await step()
        except FailureError as error:
            raise_if_cancelled(error)
            workflow.logger.error(
                "a step that must not fail was refused permanently: %s", error.cause or error
            )
        await workflow.sleep(REPAIR_INTERVAL)


def raise_if_cancelled(error: FailureError) -> None:
    """Raises CancelledError for a step that was cancelled because the request no longer needs it."""
    if is_cancelled_exception(error):
        raise asyncio.CancelledError from error
