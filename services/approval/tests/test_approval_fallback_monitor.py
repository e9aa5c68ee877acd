"""An alarm begins once when people stop responding, despite restarts, and ends when they respond again."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from placet.approval.v1 import approval_service_pb2
from placet.event.v1 import event_pb2
from placet_approval import fallback_monitor
from placet_approval.adapters.notifications import Notifications
from placet_approval.fallback_monitor import AlarmSettings, alarm_change
from placet_approval.store.decision_stats import Counts, DecisionStatsStore
from placet_domain.events import (
    AiDecided,
    AiResult,
    Body,
    Closed,
    Decided,
    DecisionType,
    FellBack,
    Source,
    State,
    TimedOut,
    Verdict,
)
from placet_domain.rules.builders import CLOCK, step
from placet_rpc.errors import PermissionDenied, Unavailable
from placet_storage import Database

if TYPE_CHECKING:
    from services.approval.tests.conftest import Platform

pytestmark = pytest.mark.integration

HOME, CALLER, ALICE = "home", "ci@example.com", "alice@example.com"
OPERATORS = "op@example.com, lead@example.com"
SETTINGS: dict[str, Any] = {
    "alarm_recipients": OPERATORS,
    "fallback_alarm_decisions": 3,
    "fallback_alarm_threshold": 0.5,
}


@pytest.mark.parametrize(
    ("asked", "fallbacks", "raised", "change"),
    [
        (0, 0, False, None),
        (10, 3, False, None),
        (10, 4, False, True),
        (9, 9, False, None),
        (10, 4, True, None),
        (10, 3, True, False),
        (1, 1, True, None),
        (1, 0, True, False),
        (0, 0, True, None),
    ],
)
def test_an_alarm_begins_above_the_threshold_of_enough_decisions_and_ends_by_the_ratio(
    asked: int, fallbacks: int, raised: bool, change: bool | None
) -> None:
    settings = AlarmSettings(threshold=0.3, min_decisions=10, window=timedelta(hours=1))
    counts = Counts(decisions=asked, asked=asked, fallbacks=fallbacks, asked_fallbacks=fallbacks)
    assert alarm_change(counts, settings, raised=raised) is change


Sent = list[tuple[str, str, str]]


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> Sent:
    """The notifications sent, each key once, as NotificationService does."""
    found: dict[str, tuple[str, str, str]] = {}
    notified: Sent = []

    async def send(
        self: Notifications, tenant: str, idempotency_key: str, recipient: str, **words: str
    ) -> None:
        if idempotency_key not in found:
            found[idempotency_key] = (tenant, recipient, words["title"])
            notified.append(found[idempotency_key])

    monkeypatch.setattr(Notifications, "send_alarm", send)
    monkeypatch.setattr(fallback_monitor, "EVALUATION_SECONDS", 0.05)
    monkeypatch.setattr(fallback_monitor, "RETRY_SECONDS", 0.05)
    return notified


@pytest.fixture
def away(sent: Sent, monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """NotificationService does not answer while this is set."""
    is_away, send = asyncio.Event(), Notifications.send_alarm

    async def answer(self: Notifications, *arguments: str, **words: str) -> None:
        if is_away.is_set():
            raise Unavailable("away")
        await send(self, *arguments, **words)

    monkeypatch.setattr(Notifications, "send_alarm", answer)
    return is_away


async def left_to_the_fallback(platform: Platform, number: int) -> None:
    """Requests that people were asked about, and that the AI decided."""
    for _ in range(number):
        approval_id = await platform.request()
        await platform.workflows.tell(approval_id)
        decided = Decided(
            state=State.APPROVED,
            source=Source.AI_FALLBACK,
            decision_type=DecisionType.AI_FALLBACK,
            approver="AI-Fallback",
        )
        bodies: list[Body] = [
            TimedOut(tier=1, reason="nobody responded"),
            FellBack(reason="nobody responded"),
            AiDecided(result=AiResult.DECIDED, verdict=Verdict.APPROVE),
            decided,
            Closed(state=State.APPROVED),
        ]
        await platform.workflows.happen(approval_id, *step("fallback", CLOCK, bodies, datetime.now(UTC)))


async def decided_by_alice(platform: Platform, number: int) -> None:
    for _ in range(number):
        approval_id = await platform.request()
        await (await platform.as_(ALICE)).SubmitDecision(platform.deciding(approval_id))


async def alarms(platform: Platform) -> list[event_pb2.FallbackAlarm]:
    entries = await platform.audit.events(HOME)
    events = [one.entry.event for one in entries if not one.entry.approval_id]
    return [event.fallback_alarm for event in events if event.HasField("fallback_alarm")]


async def stats(platform: Platform, **fields: Any) -> approval_service_pb2.GetDecisionStatsResponse:
    operator = await platform.as_("op@example.com", "operator")
    return await operator.GetDecisionStats(approval_service_pb2.GetDecisionStatsRequest(**fields))


async def has(found: list[Any], number: int) -> bool:
    return len(found) >= number


async def test_an_alarm_begins_once_and_ends_once_and_both_are_notified(
    bare_platform: Platform, sent: Sent
) -> None:
    platform = bare_platform
    replica = await platform.serve(replica="first", **SETTINGS)
    await left_to_the_fallback(platform, 3)
    await platform.until(lambda: has(sent, 2))

    (begun,) = await alarms(platform)
    assert (begun.policy, begun.raised, begun.decisions, begun.fallbacks) == ("simple", True, 3, 3)
    assert (begun.threshold, begun.window.ToTimedelta()) == (0.5, timedelta(hours=24))
    title = "People do not respond: policy simple"
    assert sent == [(HOME, "op@example.com", title), (HOME, "lead@example.com", title)]
    (policy,) = (await stats(platform)).policies
    assert policy.alarm.event == begun
    assert policy.asked_fallback_ratio == 1

    # Neither another process nor a restart begins it again.
    await platform.serve(replica="second", **SETTINGS)
    await replica.aclose()
    await left_to_the_fallback(platform, 1)
    await decided_by_alice(platform, 3)
    assert len(await alarms(platform)) == 1
    await decided_by_alice(platform, 1)
    await platform.until(lambda: has(sent, 4))

    _, ended = await alarms(platform)
    assert (ended.raised, ended.decisions, ended.fallbacks) == (False, 8, 4)
    assert [words for _, _, words in sent[2:]] == ["People respond again: policy simple"] * 2
    (policy,) = (await stats(platform)).policies
    assert not policy.HasField("alarm")


async def test_an_alarm_is_in_the_log_while_nobody_can_be_told_and_is_told_later(
    bare_platform: Platform, sent: Sent, monkeypatch: pytest.MonkeyPatch
) -> None:
    platform = bare_platform
    away = asyncio.Event()
    with monkeypatch.context() as patched:

        async def refuse(*_: Any, **__: Any) -> None:
            away.set()
            raise Unavailable("away")

        patched.setattr(Notifications, "send_alarm", refuse)
        replica = await platform.serve(replica="first", **SETTINGS)
        await left_to_the_fallback(platform, 3)
        async with asyncio.timeout(15):
            await away.wait()
        assert len(await alarms(platform)) == 1
        await replica.aclose()

    await platform.serve(replica="second", **SETTINGS)
    await (await platform.as_(CALLER)).ListApprovals(approval_service_pb2.ListApprovalsRequest())

    await platform.until(lambda: has(sent, 2))
    assert len(await alarms(platform)) == 1


async def test_an_alarm_that_began_and_ended_while_nobody_could_be_told_is_told_whole_and_in_order(
    bare_platform: Platform, sent: Sent, away: asyncio.Event
) -> None:
    platform = bare_platform
    away.set()
    replica = await platform.serve(replica="first", **SETTINGS)
    await left_to_the_fallback(platform, 3)
    await platform.until(lambda: has_alarms(platform, 1))
    await decided_by_alice(platform, 3)
    await platform.until(lambda: has_alarms(platform, 2))
    await replica.aclose()
    assert sent == []

    away.clear()
    await platform.serve(replica="second", **SETTINGS)
    await stats(platform)

    begun, ended = "People do not respond: policy simple", "People respond again: policy simple"
    await platform.until(lambda: has(sent, 4))
    assert [words for _, _, words in sent] == [begun, begun, ended, ended]
    assert len(await alarms(platform)) == 2


async def has_alarms(platform: Platform, number: int) -> bool:
    return len(await alarms(platform)) >= number


async def test_a_window_without_decisions_ends_no_alarm(
    bare_platform: Platform, sent: Sent, monkeypatch: pytest.MonkeyPatch
) -> None:
    platform = bare_platform
    replica = await platform.serve(replica="first", **SETTINGS)
    await left_to_the_fallback(platform, 3)
    await platform.until(lambda: has(sent, 2))
    await replica.aclose()
    evaluated: list[int] = []

    def change(counts: Counts, settings: AlarmSettings, *, raised: bool) -> bool | None:
        evaluated.append(counts.asked)
        return alarm_change(counts, settings, raised=raised)

    monkeypatch.setattr(fallback_monitor, "alarm_change", change)

    # All decisions have left this window.
    await platform.serve(replica="second", fallback_alarm_hours=1e-6, **SETTINGS)
    await stats(platform)
    await platform.until(lambda: has(evaluated, 2))

    assert evaluated[0] == 0
    assert [alarm.raised for alarm in await alarms(platform)] == [True]
    assert (await stats(platform)).policies[0].alarm.event.raised


async def test_while_the_log_was_never_heard_the_monitor_neither_starts_nor_forgets(
    bare_platform: Platform, sent: Sent
) -> None:
    platform = bare_platform
    replica = await platform.serve(replica="first", **SETTINGS)
    await left_to_the_fallback(platform, 3)
    await platform.until(lambda: has(sent, 2))
    await replica.aclose()
    sent.clear()
    await platform.audit.stop()
    await platform.serve(replica="second", **SETTINGS)

    async def waits() -> bool:
        operator = await platform.as_("op@example.com", "operator")
        found = await operator.GetLogConsumers(approval_service_pb2.GetLogConsumersRequest())
        return any("still being read" in one.error for one in found.consumers)

    await platform.until(waits)
    database = await Database.open(platform.database_url, migrations="placet_approval")
    (begun,) = await DecisionStatsStore(database).last_alarms(HOME)
    assert await DecisionStatsStore(database).notified(HOME) == begun.index + 1
    await database.close()


async def test_statistics_count_by_policy_source_and_part(platform: Platform) -> None:
    await left_to_the_fallback(platform, 1)
    await decided_by_alice(platform, 2)
    withdrawn = await platform.request()
    cancel = approval_service_pb2.CancelApprovalRequest(
        approval_id=withdrawn, command_id="7f6b2a8e-96cc-4b7e-9d36-0d1a9c8f4a11"
    )
    await (await platform.as_(CALLER)).CancelApproval(cancel)
    abroad = await platform.request(tenant="abroad")
    await (await platform.as_(ALICE, tenant="abroad")).SubmitDecision(platform.deciding(abroad))
    end = len(await platform.audit.events(HOME)) - 1

    found = await stats(platform, parts=4, min_log_index=end)

    for one in (found.total, *found.policies):
        assert (one.decisions, one.asked_decisions, one.fallbacks, one.asked_fallbacks) == (3, 3, 1, 1)
        assert one.fallback_ratio == one.asked_fallback_ratio == pytest.approx(1 / 3)
        assert {event_pb2.Source.Name(each.source): each.count for each in one.by_source} == {
            "SOURCE_AI_FALLBACK": 1,
            "SOURCE_HUMAN": 2,
            "SOURCE_REQUESTER": 1,
        }
        assert [part.decisions for part in one.parts] == [0, 0, 0, 3]
        assert (
            timedelta(0)
            < one.time_to_decision_p50.ToTimedelta()
            <= one.time_to_decision_p95.ToTimedelta()
            < timedelta(minutes=1)
        )
    assert [one.policy for one in found.policies] == ["simple"]
    assert found.end_time.ToDatetime() - found.start_time.ToDatetime() == timedelta(hours=24)
    assert (found.alarm_settings.threshold, found.alarm_settings.min_decisions) == (0.3, 10)
    nothing = await stats(platform, policy="document")
    assert not nothing.policies
    assert not nothing.total.HasField("fallback_ratio")


async def test_statistics_are_for_operators_and_auditors(platform: Platform) -> None:
    for role in ("requester", "approver"):
        stub = await platform.as_(ALICE, role)
        with pytest.raises(PermissionDenied):
            await stub.GetDecisionStats(approval_service_pb2.GetDecisionStatsRequest())
    auditor = await platform.as_("auditor@example.com", "auditor")
    assert not (await auditor.GetDecisionStats(approval_service_pb2.GetDecisionStatsRequest())).policies
