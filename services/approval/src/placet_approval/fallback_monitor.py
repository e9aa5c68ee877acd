"""The fallback monitor: raises an alarm when people leave too many decisions to the fallback."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
import uuid
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from opentelemetry.metrics import get_meter

from placet.event.v1 import event_pb2
from placet_approval.adapters.audit_log import AuditLog
from placet_approval.adapters.notifications import Notifications
from placet_approval.errors import not_yet_read
from placet_approval.projection.fold import AppliedEvent
from placet_approval.projection.projections import Projection
from placet_approval.store.decision_stats import Counts, DecisionStatsStore, Stats, Window
from placet_domain.durations import describe_duration
from placet_logtail import Batch
from placet_rpc.errors import FailedPrecondition, InvalidArgument, PlacetError, Unavailable

_LOG = logging.getLogger(__name__)
_METER = get_meter("placet.approval")
_RATIO = _METER.create_gauge(
    "placet.fallback.ratio", description="Fallbacks ÷ decisions, in the alarm's window."
)
_ALARM = _METER.create_gauge("placet.fallback.alarm", description="1 while people do not respond, else 0.")
_DECISIONS = _METER.create_gauge("placet.decisions", description="Outcomes in the alarm's window, by source.")
_WAIT = _METER.create_gauge("placet.decision.time", unit="s", description="From received to decided.")

# Pause between evaluations: the longer of these seconds and this multiple of the last duration.
EVALUATION_SECONDS, EVALUATION_SHARE = 5.0, 20
VIEW_SECONDS = 5.0
# Pause after NotificationService did not answer.
RETRY_SECONDS = 5.0


@dataclass(frozen=True)
class AlarmSettings:
    """Threshold, smallest number of decisions, window and recipients of the alarm."""

    threshold: float
    min_decisions: int
    window: timedelta
    recipients: tuple[str, ...] = ()


def alarm_change(counts: Counts, settings: AlarmSettings, *, raised: bool) -> bool | None:
    """True if the alarm begins now, False if it ends; None when nothing changes.

    It begins only with `min_decisions`, and ends only by the ratio: a window without decisions, in a quiet
    night, does not end it.
    """
    if counts.asked_ratio is None:
        return None
    above = counts.asked_ratio > settings.threshold
    if raised:
        return None if above else False
    return True if above and counts.asked >= settings.min_decisions else None


class FallbackMonitor:
    """One tenant's monitor: source and handler of a tailer (see `placet_logtail.tailer`) of its decisions.

    Its state is in the log: the last alarm of each policy. So no restart and no second process repeats one.
    Operators are notified of each alarm in the log once, in order, from a cursor on.
    """

    def __init__(
        self,
        tenant: str,
        projection: Projection,
        store: DecisionStatsStore,
        log: AuditLog,
        notifications: Notifications,
        settings: AlarmSettings,
        sign_of_life: float,
    ) -> None:
        """`sign_of_life`: seconds without a decision after which the window is evaluated nevertheless."""
        self._tenant = tenant
        self._projection = projection
        self._store = store
        self._log = log
        self._notifications = notifications
        self._settings = settings
        self._sign_of_life = sign_of_life
        self._notified = 0
        self._next_evaluation = 0.0

    def tail(self, tenant: str, from_index: int) -> AsyncGenerator[Batch[AppliedEvent], None]:
        """Streams the projection's decisions."""
        return self._projection.watch(from_index, _is_decision, self._sign_of_life)

    async def start(self, *, leading: bool) -> int:
        """Starts at the log's head: the view has earlier decisions, and alarms have an index.

        Raises Unavailable (NOT_YET_READ) while the head is unknown.
        """
        head = await self._projection.head()
        if head is None:
            raise not_yet_read()
        self._notified = await self._store.notified(self._tenant)
        if leading and self._notified > head:
            await self._store.forget_notified(self._tenant)
            self._notified = 0
        return head

    async def handle(self, position: int, batch: Batch[AppliedEvent], *, leading: bool) -> None:
        """Evaluates the window, after decisions and after signs of life."""
        if not leading or time.monotonic() < self._next_evaluation:
            return
        if batch.next and not await self._projection.reached(batch.next - 1, VIEW_SECONDS):
            return
        began = time.monotonic()
        failure = await self._notify()
        if await self._evaluate(await self._store.last_alarms(self._tenant)) and failure is None:
            failure = await self._notify()
        took = time.monotonic() - began
        self._next_evaluation = time.monotonic() + max(EVALUATION_SECONDS, EVALUATION_SHARE * took)
        if failure is not None:
            await asyncio.sleep(RETRY_SECONDS)
            # Not the fault of the decision that was handled.
            raise Unavailable(f"operators cannot be notified of an alarm: {failure}") from failure

    async def skip(self, position: int, entry: AppliedEvent, reason: str, *, leading: bool) -> None:
        """Does nothing: the monitor keeps no single entries."""

    async def _evaluate(self, alarms: Sequence[event_pb2.LogEntry]) -> bool:
        """Appends the alarms that begin or end, given the last of each policy; True if there are any."""
        now = datetime.now(UTC)
        found = await self._store.stats(self._tenant, Window(now - self._settings.window, now))
        last = {entry.entry.event.fallback_alarm.policy: entry for entry in alarms}
        stats = {one.policy: one for one in found[:-1]}
        changed = False
        for policy in sorted(stats.keys() | last.keys()):
            one = stats.get(policy) or Stats(policy)
            entry = last.get(policy)
            raised = entry is not None and entry.entry.event.fallback_alarm.raised
            change = alarm_change(one.counts, self._settings, raised=raised)
            self._measure(one, is_raised=raised if change is None else change)
            if change is not None:
                await self._append(one, now, entry, begins=change)
                changed = True
        return changed

    async def _append(
        self, stats: Stats, now: datetime, last: event_pb2.LogEntry | None, *, begins: bool
    ) -> None:
        """Appends the change, once: its cause_id names the change before it."""
        before = "first" if last is None else str(last.index)
        cause = f"approval/fallback-alarm/{hashlib.sha256(stats.policy.encode()).hexdigest()[:16]}/{before}"
        event = event_pb2.Event(cause_id=cause)
        event.time.FromDatetime(now)
        event.actor.kind, event.actor.name.value = event_pb2.ACTOR_KIND_SERVICE, "approval"
        alarm = event.fallback_alarm
        alarm.policy, alarm.raised = stats.policy, begins
        alarm.window.FromTimedelta(self._settings.window)
        alarm.decisions, alarm.fallbacks = stats.counts.asked, stats.counts.asked_fallbacks
        alarm.threshold = self._settings.threshold
        stored = await self._log.append_for_tenant(self._tenant, event)
        _LOG.warning("%s: %s", alarm_title(alarm), alarm_reason(alarm))
        await self._projection.reached(stored.index, VIEW_SECONDS)

    async def _notify(self) -> PlacetError | None:
        """Notifies operators of new alarms, in order; returns the error if a notification failed."""
        for entry in await self._store.alarms_from(self._tenant, self._notified):
            try:
                await self._notify_all(entry)
            except PlacetError as error:
                return error
            await self._store.set_notified(self._tenant, self._notified, entry.index + 1)
            self._notified = entry.index + 1
        return None

    async def _notify_all(self, entry: event_pb2.LogEntry) -> None:
        event = entry.entry.event
        alarm = event.fallback_alarm
        for recipient in self._settings.recipients:
            key = str(uuid.uuid5(uuid.NAMESPACE_OID, f"{event.cause_id} {entry.index} {recipient}"))
            try:
                await self._notifications.send_alarm(
                    self._tenant,
                    key,
                    recipient,
                    title=alarm_title(alarm),
                    reason=alarm_reason(alarm),
                    subject_id=alarm.policy,
                )
            except (FailedPrecondition, InvalidArgument) as error:
                _LOG.error("%s cannot be notified of an alarm: %s", recipient, error)

    def _measure(self, stats: Stats, *, is_raised: bool) -> None:
        of = {"tenant": self._tenant, "policy": stats.policy}
        counts = stats.counts
        _ALARM.set(int(is_raised), of)
        if counts.decisions:
            _RATIO.set(counts.fallbacks / counts.decisions, of | {"of": "all"})
        if counts.asked_ratio is not None:
            _RATIO.set(counts.asked_ratio, of | {"of": "asked"})
        for source, number in stats.by_source.items():
            _DECISIONS.set(number, of | {"source": source})
        for quantile, wait in (("0.5", stats.p50), ("0.95", stats.p95)):
            if wait is not None:
                _WAIT.set(wait.total_seconds(), of | {"quantile": quantile})


def alarm_title(alarm: event_pb2.FallbackAlarm) -> str:
    """The alarm in one line."""
    return f"People {'do not respond' if alarm.raised else 'respond again'}: policy {alarm.policy}"


def alarm_reason(alarm: event_pb2.FallbackAlarm) -> str:
    """The alarm's numbers in a sentence."""
    share = f"{alarm.fallbacks} of {alarm.decisions}"
    if alarm.decisions:
        share += f" ({alarm.fallbacks / alarm.decisions:.0%})"
    return (
        f"The fallback made {share} of the decisions for which a person was asked, in the last "
        f"{describe_duration(alarm.window.ToTimedelta())}; the alarm's threshold is {alarm.threshold:.0%}."
    )


def _is_decision(applied: AppliedEvent) -> bool:
    return applied.stored.entry.event.HasField("decided")
