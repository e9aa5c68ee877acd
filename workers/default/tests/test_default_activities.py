"""Errors of calls: those that may pass are retried, the rest is for the workflow."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from datetime import timedelta
from typing import cast

import pytest
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from placet.audit.v1.audit_service_pb2_grpc import AuditServiceStub
from placet.decision.v1.decision_service_pb2_grpc import DecisionServiceStub
from placet.notification.v1 import notification_service_pb2
from placet.notification.v1.notification_service_pb2_grpc import NotificationServiceStub
from placet_domain.events import Event, Processed
from placet_rpc import errors
from placet_worker_default.activities import DefaultActivities
from placet_workflows.activity_types import AppendInput, NotifyInput, NotifyResult

ID = "6f2c1f0e-8a44-4b4e-9d0f-1e9f0b6c2a11"
APPEND = AppendInput(tenant="acme", approval_id=ID, expected_next=2, events=(Event(body=Processed()),))
NOTICE = NotifyInput(
    tenant="acme",
    approval_id=ID,
    content_digest="ab" * 32,
    idempotency_key=f"{ID}/asked-4",
    recipient="alice@example.com",
    title="Pay",
    subject_id="",
    reason="Your decision is needed",
    tier=1,
)
FOR_GOOD = (errors.InvalidArgument, errors.AlreadyExists, errors.FailedPrecondition, errors.OutOfRange)
MENDED_SOME_TIME = (
    errors.Unavailable,
    errors.DeadlineExceeded,
    errors.ResourceExhausted,
    errors.Unauthenticated,
    errors.PermissionDenied,
    errors.NotFound,
    errors.DataLoss,
    errors.Internal,
)


class Refusing:
    """Answers each call with the next of these: an error, or that it was delivered."""

    def __init__(self, answers: Sequence[errors.PlacetError | None]) -> None:
        self.answers = list(answers)
        self.timeouts: list[float] = []

    async def AppendEvents(self, _request: object, *, timeout: float) -> object:
        return self._answer(timeout)

    async def SendNotification(self, _request: object, *, timeout: float) -> object:
        return self._answer(timeout)

    def _answer(self, timeout: float) -> object:
        self.timeouts.append(timeout)
        answer = self.answers.pop(0)
        if answer is not None:
            raise answer
        return notification_service_pb2.SendNotificationResponse()


def activities(service: Refusing) -> DefaultActivities:
    return DefaultActivities(
        cast("AuditServiceStub", service),
        cast("DecisionServiceStub", service),
        cast("NotificationServiceStub", service),
    )


def attempt(*, local: bool) -> ActivityEnvironment:
    environment = ActivityEnvironment()
    environment.info = dataclasses.replace(
        environment.info,
        is_local=local,
        start_to_close_timeout=None if local else timedelta(minutes=1),
        schedule_to_close_timeout=timedelta(milliseconds=500) if local else None,
    )
    return environment


@pytest.mark.parametrize("kind", [*FOR_GOOD, *MENDED_SOME_TIME])
async def test_an_append_is_given_up_only_where_it_must_fail_again(kind: type[errors.PlacetError]) -> None:
    service = Refusing([kind("no", reason="WHY")])
    with pytest.raises(ApplicationError) as failed:
        await attempt(local=False).run(activities(service).append_events, APPEND)
    assert (failed.value.type, failed.value.non_retryable) == ("WHY", kind in FOR_GOOD)


async def test_a_recipient_that_is_refused_for_good_is_a_result() -> None:
    refused = errors.FailedPrecondition(
        "no such mailbox", metadata={"notification_id": "n-1", "channel": "email"}
    )
    told = await attempt(local=True).run(activities(Refusing([refused])).notify, NOTICE)
    assert told == NotifyResult(notification_id="n-1", delivered=False, channel="email")


async def test_a_notice_within_a_workflow_task_takes_half_a_second_at_most() -> None:
    service = Refusing([None, None])
    told = activities(service)
    await attempt(local=True).run(told.notify, NOTICE)
    await attempt(local=False).run(told.notify, NOTICE)
    assert service.timeouts[0] < 0.5 < service.timeouts[1]
