"""Notifications: each once, and none in the way of a decision."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.exceptions import ApplicationError

from placet_domain.events import Asked, FellBack, Notified, Source, State, TimedOut
from placet_testing.conditions import until
from placet_testing.fake_services import delivering, never_answering
from placet_testing.simulation import ALICE, BOB, REQUESTER, cancellation, decision
from placet_testing.workflow_environment import ApprovalEnvironment
from placet_workflows.activity_types import NotifyInput, NotifyResult

pytestmark = pytest.mark.integration

HOUR = timedelta(hours=1)


async def test_notifications_that_fail_for_ever_do_not_keep_a_person_from_deciding(
    environment: ApprovalEnvironment,
) -> None:
    environment.services.notify = failing_for_the_asked(retryable=True)
    request = await environment.request("escalating")
    await request.reaches("asked")
    await until(lambda: len(environment.services.notified) > 0)
    await request.silence(HOUR)
    await request.send(decision(ALICE))
    assert (await request.outcome()).source is Source.HUMAN
    assert "notified" not in request.path


async def test_notifications_that_fail_for_ever_do_not_stop_the_clock(
    environment: ApprovalEnvironment,
) -> None:
    environment.services.notify = failing_for_the_asked(retryable=True)
    request = await environment.request("escalating")
    assert (await request.outcome()).source is Source.AI_FALLBACK
    # As long again for somebody to be told.
    assert timedelta(0) <= request.waited(1) - 4 * HOUR < timedelta(minutes=1)
    assert request.only(FellBack).reason == f"{ALICE}, {BOB} could not be told"
    assert [len(one.untold_numbers) for one in request.all_of(TimedOut)] == [1, 1]
    assert "respond" not in str(request.events)


async def test_who_is_told_at_last_has_the_tiers_whole_time(environment: ApprovalEnvironment) -> None:
    environment.services.notify = failing_for_the_asked(retryable=True)
    request = await environment.request("escalating")
    await request.silence_until("paused")
    environment.services.notify = delivering
    await request.silence_until("timed_out")
    # Told at some time of the extension: the clock, which skips time, did not wait for the test.
    assert timedelta(0) < request.waited(1) - 4 * HOUR < 2 * HOUR
    assert request.only(TimedOut).reason == f"{ALICE} did not respond within 2 h"
    await request.outcome()


async def test_a_notification_that_is_refused_for_good_is_logged_and_nothing_stops(
    environment: ApprovalEnvironment,
) -> None:
    environment.services.notify = failing_for_the_asked(retryable=False)
    request = await environment.request("escalating")
    assert (await request.outcome()).source is Source.AI_FALLBACK
    notices = request.all_of(Notified)
    assert len(notices) == 2
    assert not any(notice.delivered for notice in notices)


async def test_a_person_who_cannot_be_told_is_in_the_log_at_once(environment: ApprovalEnvironment) -> None:
    environment.services.notify = failing_for_the_asked(retryable=False)
    request = await environment.request("simple")
    await request.reaches("notified")
    assert request.path[-2:] == ["asked", "notified"]
    assert not request.only(Notified).delivered
    await request.send(decision(ALICE))
    assert (await request.outcome()).approver == ALICE
    assert len(environment.services.log.attempts) == 3


async def test_who_is_told_quickly_takes_no_activity(environment: ApprovalEnvironment) -> None:
    request = await environment.request("simple")
    await request.asks()
    await request.send(decision(ALICE))
    await request.outcome()
    kinds = [event.event_type for event in (await request.handle.fetch_history()).events]
    assert EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED not in kinds
    assert kinds.count(EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED) == 2
    assert kinds.count(EventType.EVENT_TYPE_TIMER_CANCELED) == 0


async def test_an_outcome_that_nobody_can_be_told_closes_the_request_all_the_same(
    environment: ApprovalEnvironment,
) -> None:
    async def refusing(_request: NotifyInput) -> NotifyResult:
        raise ApplicationError("no such mailbox", non_retryable=True)

    environment.services.notify = refusing
    request = await environment.request("simple")
    await request.reaches("asked")
    await until(lambda: len(environment.services.notified) >= 1)
    await request.silence(timedelta(minutes=1))
    await request.send(decision(ALICE))
    assert (await request.outcome()).state is State.APPROVED


async def test_the_outcome_is_told_when_the_service_is_back_and_told_once(
    environment: ApprovalEnvironment,
) -> None:
    request = await environment.request("simple")
    await request.asks()
    environment.services.notify = never_answering(10, delivering)
    await request.send(decision(ALICE))
    await request.outcome()
    told = [notice for notice in environment.services.delivered if notice.recipient == REQUESTER]
    assert len(told) == 1
    assert len({notice.idempotency_key for notice in environment.services.notified}) == 2


async def test_the_result_of_a_notification_is_in_the_log_soon_while_somebody_is_waited_for(
    environment: ApprovalEnvironment,
) -> None:
    request = await environment.request("escalating")
    await request.outcome()
    # Two for each tier, one of them for its notice, one for the fallback and one for the outcome.
    assert len(environment.services.log.attempts) == 6
    times = {event.cause_id: event.time for event in request.events if event.body.type == "notified"}
    asked = {event.body.tier: event.time for event in request.events if isinstance(event.body, Asked)}
    late = [time - asked[tier] for tier, time in enumerate(times.values(), 1)]
    assert max(late) < timedelta(seconds=5)
    assert [event.cause_id for event in request.events if event.body.type == "notified"] == [
        "asked-4",
        f"asked-{request.path.index('asked', 4) + 1}",
    ]
    recipients = [request.events[notice.asked_number - 1].body for notice in request.all_of(Notified)]
    assert [body.person for body in recipients if isinstance(body, Asked)] == [ALICE, BOB]
    told = [(notice.recipient, notice.tier) for notice in environment.services.notified]
    assert told[:2] == [(ALICE, 1), (BOB, 2)]
    assert sorted(told[2:]) == [(ALICE, None), (BOB, None), (REQUESTER, None)]


async def test_who_was_told_is_told_that_nothing_is_left_to_decide(environment: ApprovalEnvironment) -> None:
    request = await environment.request("escalating")
    await request.asks()
    await request.silence(3 * HOUR)
    await request.asks(times=2)
    await request.send(decision(BOB))
    await request.outcome()
    closing = [notice for notice in environment.services.delivered if notice.tier is None]
    assert {(notice.recipient, notice.state, notice.approver) for notice in closing} == {
        (who, State.APPROVED, BOB) for who in (ALICE, REQUESTER)
    }


async def test_who_was_told_learns_of_a_withdrawal(environment: ApprovalEnvironment) -> None:
    request = await environment.request("simple")
    await request.asks()
    await request.send(cancellation())
    await request.outcome()
    closing = [notice for notice in environment.services.delivered if notice.tier is None]
    assert {(notice.recipient, notice.state) for notice in closing} == {
        (who, State.CANCELLED) for who in (ALICE, REQUESTER)
    }


async def test_who_could_not_be_told_of_a_request_is_not_told_of_its_end(
    environment: ApprovalEnvironment,
) -> None:
    environment.services.notify = failing_for_the_asked(retryable=False)
    request = await environment.request("simple")
    await request.reaches("notified")
    await request.send(cancellation())
    await request.outcome()
    assert [one.recipient for one in environment.services.notified if one.tier is None] == [REQUESTER]


def failing_for_the_asked(*, retryable: bool) -> Callable[[NotifyInput], Awaitable[NotifyResult]]:
    """A channel that reaches requesters only."""

    async def notify(request: NotifyInput) -> NotifyResult:
        if request.tier is not None:
            later = timedelta(minutes=20)
            raise ApplicationError("away", non_retryable=not retryable, next_retry_delay=later)
        return await delivering(request)

    return notify
