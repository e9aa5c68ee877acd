"""Queries of decision statistics, as the contract's messages."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from placet.approval.v1 import approval_service_pb2
from placet.event.v1 import event_pb2
from placet_approval.fallback_monitor import AlarmSettings
from placet_approval.store.decision_stats import DecisionStatsStore, Stats, Window


class StatsQueries:
    """Answers GetDecisionStats."""

    def __init__(self, store: DecisionStatsStore, settings: AlarmSettings) -> None:
        self._store = store
        self._settings = settings

    async def stats(
        self, tenant: str, window: timedelta | None, policy: str, parts: int
    ) -> approval_service_pb2.GetDecisionStatsResponse:
        """Statistics of the window that ends now. `window`: default the alarm's."""
        end = datetime.now(UTC)
        start = end - (window or self._settings.window)
        found = await self._store.stats(tenant, Window(start, end, max(parts, 1)), policy)
        alarms = {
            entry.entry.event.fallback_alarm.policy: entry
            for entry in await self._store.last_alarms(tenant)
            if entry.entry.event.fallback_alarm.raised
        }
        by_policy = {one.policy: one for one in found[:-1]}
        names = sorted(by_policy.keys() | {name for name in alarms if policy in ("", name)})
        answer = approval_service_pb2.GetDecisionStatsResponse(
            policies=[
                _message(by_policy.get(name) or Stats(name), parts, alarms.get(name)) for name in names
            ],
            total=_message(found[-1], parts, None),
        )
        answer.start_time.FromDatetime(start)
        answer.end_time.FromDatetime(end)
        answer.alarm_settings.threshold = self._settings.threshold
        answer.alarm_settings.min_decisions = self._settings.min_decisions
        answer.alarm_settings.window.FromTimedelta(self._settings.window)
        return answer


def _message(
    stats: Stats, parts: int, alarm: event_pb2.LogEntry | None
) -> approval_service_pb2.DecisionStats:
    counts = stats.counts
    message = approval_service_pb2.DecisionStats(
        policy=stats.policy,
        decisions=counts.decisions,
        asked_decisions=counts.asked,
        fallbacks=counts.fallbacks,
        asked_fallbacks=counts.asked_fallbacks,
        fallback_ratio=counts.fallbacks / counts.decisions if counts.decisions else None,
        asked_fallback_ratio=counts.asked_ratio,
        by_source=[
            approval_service_pb2.SourceCount(source=event_pb2.Source.Value(f"SOURCE_{name}"), count=number)
            for name, number in sorted(stats.by_source.items())
        ],
        parts=[
            approval_service_pb2.DecisionCount(
                decisions=part.decisions,
                asked_decisions=part.asked,
                asked_fallbacks=part.asked_fallbacks,
            )
            for part in (stats.parts if parts else ())
        ],
    )
    if stats.p50 is not None and stats.p95 is not None:
        message.time_to_decision_p50.FromTimedelta(stats.p50)
        message.time_to_decision_p95.FromTimedelta(stats.p95)
    if alarm is not None:
        message.alarm.begin_time.CopyFrom(alarm.entry.event.time)
        message.alarm.log_index = alarm.index
        message.alarm.event.CopyFrom(alarm.entry.event.fallback_alarm)
    return message
