"""Watch history: a stream of a tenant's applied events, the newest from memory, older ones from the view."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence

from placet_approval.adapters.audit_log import AuditLog
from placet_approval.projection.fold import AppliedEvent, LogFold
from placet_approval.store.erasure_store import erased_id
from placet_approval.store.policies import PolicyStore
from placet_approval.store.requests import RequestStore
from placet_approval.store.view import ViewStore
from placet_logtail import Batch, RecentItems, Wakeup, beyond_end, follow, wait_for

# Number of events kept in memory; older ones are read from the view in pages.
RECENT = 10_000
PAGE = 500
# Time that a watch waits for a projection that has not begun.
BEGIN_SECONDS = 2.0


class WatchHistory:
    """One tenant's watch history, fed by the projector."""

    def __init__(
        self, tenant: str, log: AuditLog, views: ViewStore, requests: RequestStore, policies: PolicyStore
    ) -> None:
        self._tenant = tenant
        self._log = log
        self._views = views
        self._requests = requests
        self._policies = policies
        self._recent: RecentItems[AppliedEvent] = RecentItems(RECENT)
        self._wakeup = Wakeup()
        self._begun = asyncio.Event()
        self.wake = self._wakeup.wake
        self.arm = self._wakeup.arm

    @property
    def end(self) -> int:
        """The first index that was not published yet."""
        return self._recent.end

    def restart(self, position: int) -> None:
        """Continues from an index; earlier events are read from the view."""
        self._recent.restart(position)
        self._begun.set()

    def publish(self, applied: Sequence[AppliedEvent], end: int) -> None:
        """Adds the events up to an index, and wakes all followers."""
        for one in applied:
            if erased_id(one.stored):
                # Earlier events in memory still hold the erased values; they are read from the view instead.
                self._recent.restart(one.index)
            self._recent.add(one.index, one)
        self._recent.extend_to(end)
        self._wakeup.wake()

    async def follow(
        self, start: int, matches: Callable[[AppliedEvent], bool], sign_of_life: float
    ) -> AsyncGenerator[Batch[AppliedEvent], None]:
        """Streams matching events from an index of the log on; see `placet_logtail.follow`.

        Raises OutOfRange for an index beyond the log's end. Waits for one that only this process has not
        reached yet.
        """
        # Until then it is not known what lies in the view.
        await wait_for(self._begun, BEGIN_SECONDS)
        if start > self.end and not await self._log.begins_with(self._tenant, start, None):
            raise beyond_end(start, self.end)

        async def read(position: int) -> Batch[AppliedEvent]:
            batch = await self._read(position)
            items = [one for one in batch.items if matches(one)]
            return Batch(items, batch.next, max(batch.end, batch.next))

        async for batch in follow(read, self._wakeup, start, sign_of_life):
            yield batch

    async def _read(self, position: int) -> Batch[AppliedEvent]:
        return self._recent.read(position, PAGE, PAGE) or await self._stored(position)

    async def _stored(self, position: int) -> Batch[AppliedEvent]:
        stored, end = await self._views.events_from(self._tenant, position, PAGE)
        result = await LogFold(self._tenant, self._log, self._views, self._requests, self._policies).apply(
            stored
        )
        following = stored[-1].index + 1 if len(stored) == PAGE else max(end, position)
        applied = [change.applied for change in result.changes if change.applied.index < following]
        # While the view is behind the events in memory, nothing more can be read from either.
        end = max(end, self._recent.end) if following >= self._recent.start else end
        return Batch(applied, following, end)
