"""Statistics of decisions, from columns that the view keeps; and the fallback alarms."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from placet.event.v1 import event_pb2
from placet_approval.store.tables import LOG, view, view_alarm
from placet_logtail import Cursor
from placet_storage import Database

# The fallback monitor's name among the consumers of the log.
MONITOR = "fallback-monitor"
# Sources by the contract's names: the requester withdrew it; the fallback decided, if the request fell back.
_WITHDRAWN = "REQUESTER"
_OF_FALLBACK = ("AI_FALLBACK", "POLICY")
_EPOCH, _MILLISECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(milliseconds=1)


@dataclass(frozen=True)
class Decision:
    """A decided request, as statistics need it."""

    decide_time: datetime
    waited: timedelta
    # By the contract's names.
    source: str
    person_asked: bool
    fell_back: bool


@dataclass
class Counts:
    """Numbers of decisions; withdrawn requests are none."""

    decisions: int = 0
    asked: int = 0
    fallbacks: int = 0
    # After a person was asked.
    asked_fallbacks: int = 0

    def add(self, number: int, *, person_asked: bool, is_fallback: bool) -> None:
        """Counts some decisions of one kind."""
        self.decisions += number
        self.asked += number * person_asked
        self.fallbacks += number * is_fallback
        self.asked_fallbacks += number * (person_asked and is_fallback)

    @property
    def asked_ratio(self) -> float | None:
        """The share that people left to the fallback; None when nobody was asked."""
        return self.asked_fallbacks / self.asked if self.asked else None


@dataclass
class Stats:
    """Statistics of the decisions under one policy, or (policy "") under all."""

    policy: str
    counts: Counts = field(default_factory=Counts)
    by_source: Counter[str] = field(default_factory=Counter)
    parts: list[Counts] = field(default_factory=list)
    p50: timedelta | None = None
    p95: timedelta | None = None


@dataclass(frozen=True)
class Window:
    """A time from `start` to before `end`, in so many equal parts."""

    start: datetime
    end: datetime
    parts: int = 1


class DecisionStatsStore:
    """The queries. Each method is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._cursor = Cursor(database, LOG, MONITOR)

    async def stats(self, tenant: str, window: Window, policy: str = "") -> list[Stats]:
        """Statistics by policy, and of all of them as the last; `policy`: of this one alone."""
        return await self._database.query(_stats, tenant, window, policy, operation="decision stats")

    async def last_alarms(self, tenant: str) -> list[event_pb2.LogEntry]:
        """The last alarm of each policy, begun or ended, in the order of the log."""
        return await self._database.query(_alarms, tenant, _IS_LAST, operation="list last alarms")

    async def alarms_from(self, tenant: str, log_index: int) -> list[event_pb2.LogEntry]:
        """All alarms from an index of the log on, begun and ended, in the order of the log."""
        since = view_alarm.c.log_index >= log_index
        return await self._database.query(_alarms, tenant, since, operation="list alarms")

    async def notified(self, tenant: str) -> int:
        """The index before which all alarms were notified."""
        return await self._database.query(self._cursor.read, tenant, operation="get notified alarms")

    async def set_notified(self, tenant: str, expected: int, log_index: int) -> None:
        """Keeps that alarms before an index were notified. Raises CursorMoved."""
        await self._database.transact(
            self._cursor.move, tenant, expected, log_index, operation="set notified alarms"
        )

    async def forget_notified(self, tenant: str) -> None:
        """Begins anew, because the log did."""
        await self._database.transact(self._cursor.drop, tenant, operation="forget notified alarms")


def decision_columns(decision: Decision | None) -> dict[str, object]:
    """The view's columns of a decision."""
    if decision is None:
        return dict.fromkeys(("decide_ms", "wait_ms", "source", "person_asked", "fell_back"))
    return {
        "decide_ms": (decision.decide_time - _EPOCH) // _MILLISECOND,
        "wait_ms": decision.waited // _MILLISECOND,
        "source": decision.source,
        "person_asked": decision.person_asked,
        "fell_back": decision.fell_back,
    }


def alarm_rows(tenant: str, entries: Iterable[event_pb2.LogEntry]) -> list[Mapping[str, object]]:
    """The rows of the alarms among some entries."""
    return [
        {
            "tenant": tenant,
            "log_index": entry.index,
            "policy": entry.entry.event.fallback_alarm.policy,
            "entry": entry.SerializeToString(),
        }
        for entry in entries
        if not entry.entry.approval_id and entry.entry.event.HasField("fallback_alarm")
    ]


_LATER = view_alarm.alias("later")
_IS_LAST = ~sa.exists().where(
    _LATER.c.tenant == view_alarm.c.tenant,
    _LATER.c.policy == view_alarm.c.policy,
    _LATER.c.log_index > view_alarm.c.log_index,
)


def _alarms(
    connection: sa.Connection, tenant: str, wanted: sa.ColumnElement[bool]
) -> list[event_pb2.LogEntry]:
    query = sa.select(view_alarm.c.entry).where(view_alarm.c.tenant == tenant, wanted)
    rows = connection.execute(query.order_by(view_alarm.c.log_index))
    return [event_pb2.LogEntry.FromString(entry) for (entry,) in rows]


def _stats(connection: sa.Connection, tenant: str, window: Window, policy: str) -> list[Stats]:
    start, end = ((time - _EPOCH) // _MILLISECOND for time in (window.start, window.end))
    within: list[sa.ColumnElement[bool]] = [
        view.c.tenant == tenant,
        view.c.decide_ms >= start,
        view.c.decide_ms < end,
    ]
    if policy:
        within.append(view.c.policy == policy)
    total, by_policy = _new("", window), dict[str, Stats]()
    part = (view.c.decide_ms - start) * window.parts // max(end - start, 1)
    kind = (view.c.policy, view.c.source, view.c.person_asked, view.c.fell_back)
    counted = sa.select(*kind, part.label("part"), sa.func.count().label("number")).where(*within)
    for row in connection.execute(counted.group_by(*kind, sa.literal_column("part"))):
        stats = by_policy.setdefault(row.policy, _new(row.policy, window))
        for one in (stats, total):
            _count(one, row.source, row.number, row.part, row.person_asked, row.fell_back)
    for partition, found in ((view.c.policy, by_policy), (sa.literal(""), {"": total})):
        for row in connection.execute(_percentiles(partition, within)):
            one = found[row.name]
            one.p50, one.p95 = row.p50 * _MILLISECOND, row.p95 * _MILLISECOND
    return [*(by_policy[name] for name in sorted(by_policy)), total]


def _new(policy: str, window: Window) -> Stats:
    return Stats(policy, parts=[Counts() for _ in range(window.parts)])


def _count(stats: Stats, source: str, number: int, part: int, person_asked: bool, fell_back: bool) -> None:
    stats.by_source[source] += number
    if source != _WITHDRAWN:
        is_fallback = bool(fell_back) and source in _OF_FALLBACK
        for counts in (stats.counts, stats.parts[part]):
            counts.add(number, person_asked=bool(person_asked), is_fallback=is_fallback)


def _percentiles(
    partition: sa.ColumnElement[str], within: Sequence[sa.ColumnElement[bool]]
) -> sa.Select[*tuple[Any, ...]]:
    """The nearest-rank percentiles: the shortest wait that so many per cent of all did not exceed. Any: rows,
    whose columns SQLAlchemy does not type."""
    ranked = (
        sa.select(
            partition.label("name"),
            view.c.wait_ms,
            sa.func.row_number().over(partition_by=partition, order_by=view.c.wait_ms).label("place"),
            sa.func.count().over(partition_by=partition).label("size"),
        )
        .where(*within, view.c.source != _WITHDRAWN)
        .subquery()
    )
    percentiles = [
        sa.func.min(sa.case((ranked.c.place * 100 >= ranked.c.size * percent, ranked.c.wait_ms))).label(
            f"p{percent}"
        )
        for percent in (50, 95)
    ]
    return sa.select(ranked.c.name, *percentiles).group_by(ranked.c.name)
