"""Statistics of decisions, alike on SQLite and PostgreSQL."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta

from placet.approval.v1 import approval_pb2
from placet.event.v1 import event_pb2
from placet_approval.store.decision_stats import Counts, Decision, DecisionStatsStore, Window
from placet_approval.store.view import ProjectedApproval, ViewStore
from placet_storage import Database

NOW = datetime(2030, 1, 2, 3, tzinfo=UTC)
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
DAY = Window(NOW - 24 * HOUR, NOW, parts=24)


async def decided(
    database: Database,
    ago: timedelta,
    waited: timedelta,
    source: str = "HUMAN",
    *,
    policy: str = "simple",
    asked: bool = True,
    fell_back: bool = False,
    tenant: str = "home",
) -> None:
    """A request in the view that was decided some time ago."""
    views = ViewStore(database)
    index, approval_id = await views.next_index(tenant), str(uuid.uuid4())
    approval = approval_pb2.Approval(approval_id=approval_id, policy=policy, state=event_pb2.STATE_APPROVED)
    approval.create_time.FromDatetime(NOW - ago - waited)
    inner = event_pb2.Entry(tenant=tenant, approval_id=approval_id, number=1)
    decision = Decision(NOW - ago, waited, source, asked, fell_back)
    shown = ProjectedApproval(approval, {}, decision)
    await views.write(tenant, index, [event_pb2.LogEntry(index=index, entry=inner)], [(shown, {})])


async def test_decisions_are_counted_by_policy_and_part_of_the_window(database: Database) -> None:
    await decided(database, MINUTE, HOUR)
    await decided(database, MINUTE, HOUR, "AI_FALLBACK", fell_back=True)
    await decided(database, 23 * HOUR + MINUTE, HOUR, "POLICY", fell_back=True)
    await decided(database, 24 * HOUR, HOUR, "POLICY", asked=False)
    await decided(database, MINUTE, HOUR, "HUMAN", fell_back=True, policy="document")
    await decided(database, MINUTE, HOUR, "AI_FALLBACK", fell_back=True, asked=False, policy="document")
    await decided(database, MINUTE, HOUR, "REQUESTER")
    # Outside: too old, too new, another tenant's.
    await decided(database, 24 * HOUR + MINUTE, HOUR)
    await decided(database, timedelta(0), HOUR)
    await decided(database, MINUTE, HOUR, tenant="abroad")
    store = DecisionStatsStore(database)

    document, simple, total = await store.stats("home", DAY)

    assert (simple.policy, document.policy, total.policy) == ("simple", "document", "")
    assert simple.counts == Counts(decisions=4, asked=3, fallbacks=2, asked_fallbacks=2)
    assert simple.by_source == {"HUMAN": 1, "AI_FALLBACK": 1, "POLICY": 2, "REQUESTER": 1}
    assert document.counts == Counts(decisions=2, asked=1, fallbacks=1, asked_fallbacks=0)
    assert total.counts == Counts(decisions=6, asked=4, fallbacks=3, asked_fallbacks=2)
    assert [place for place, part in enumerate(simple.parts) if part.decisions] == [0, 23]
    assert simple.parts[0] == Counts(decisions=2, asked=1, fallbacks=1, asked_fallbacks=1)
    assert [one.policy for one in await store.stats("home", DAY, "document")] == ["document", ""]


async def test_percentiles_are_waits_that_happened(database: Database) -> None:
    for minutes in range(1, 21):
        await decided(database, HOUR, minutes * MINUTE, policy="a" if minutes <= 10 else "b")
    await decided(database, HOUR, 1000 * HOUR, "REQUESTER", policy="b")

    a, b, total = await DecisionStatsStore(database).stats("home", DAY)

    assert (a.p50, a.p95) == (5 * MINUTE, 10 * MINUTE)
    assert (b.p50, b.p95) == (15 * MINUTE, 20 * MINUTE)
    assert (total.p50, total.p95) == (10 * MINUTE, 19 * MINUTE)


async def test_nothing_decided_has_no_percentile(database: Database) -> None:
    (total,) = await DecisionStatsStore(database).stats("home", DAY)
    assert (total.counts, total.p50, total.p95) == (Counts(), None, None)
