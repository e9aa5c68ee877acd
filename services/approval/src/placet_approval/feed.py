"""What the log's tail does here: it feeds the view, and wakes those who wait.

Each process tails each tenant's log. One of them, the projector, writes the view; the cursor moves in the
same transaction, so that two projectors would not harm each other, only waste work. The others read along
to wake their own waiters.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from placet.audit.v1 import event_pb2
from placet_approval.log import AuditLog
from placet_approval.presenting import present
from placet_approval.views import CursorMoved, Shown, ViewStore
from placet_approval.waits import record_waits
from placet_events import from_proto
from placet_rpc.errors import PlacetError
from placet_storage import DatabaseUnavailable
from placet_workflows.events import LogEntry
from placet_workflows.state import ApprovalState

_LOG = logging.getLogger("placet.approval.feed")

# Entries kept for watchers, and folded states kept for the next event of the same request.
RECENT = 10_000
STATES = 20_000
LEASE = timedelta(seconds=15)
LEASE_RENEWAL = 4.0
RETRY_SECONDS = 0.2
# How often a process that does not write the view looks how far it has got.
CURSOR_POLL = 0.02


@dataclass(frozen=True)
class Happened:
    """An entry, and the request after it."""

    stored: event_pb2.LogEntry
    shown: Shown


class Listener:
    """Gathers what happens to one request."""

    def __init__(self) -> None:
        self._happened: deque[Happened] = deque()
        self._woken = asyncio.Event()

    def hear(self, happened: Happened) -> None:
        """Takes it and wakes whoever waits."""
        self._happened.append(happened)
        self._woken.set()

    async def next(self, timeout: float) -> list[Happened]:
        """What has happened since the last call; waits for something, at most `timeout` seconds."""
        if not self._happened:
            self._woken.clear()
            try:
                async with asyncio.timeout(max(timeout, 0)):
                    await self._woken.wait()
            except TimeoutError:
                return []
        heard, self._happened = list(self._happened), deque()
        return heard


class TenantFeed:
    """One tenant's tail."""

    def __init__(self, tenant: str, log: AuditLog, views: ViewStore, holder: str) -> None:
        self._tenant = tenant
        self._log = log
        self._views = views
        self._holder = holder
        self._states: OrderedDict[str, ApprovalState] = OrderedDict()
        self._listeners: dict[str, set[Listener]] = {}
        self._recent: deque[Happened] = deque(maxlen=RECENT)
        # The index from which `_recent` is complete, and the first index not read yet.
        self._recent_from = 0
        self._position = 0
        self._moved = asyncio.Event()
        self._leading = False
        self._lease_checked = 0.0

    # For those who wait.

    @contextmanager
    def listening(self, approval_id: str) -> Iterator[Listener]:
        """A listener to one request, from now on."""
        listener = Listener()
        listeners = self._listeners.setdefault(approval_id, set())
        listeners.add(listener)
        try:
            yield listener
        finally:
            listeners.discard(listener)
            if not listeners:
                self._listeners.pop(approval_id, None)

    async def reached(self, log_index: int, timeout: float) -> bool:
        """Waits until the view holds everything up to `log_index`; False when `timeout` seconds passed."""
        deadline = time.monotonic() + timeout
        while await self._view_position() <= log_index:
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                return False
            await self._next_move(min(remaining, 1.0 if self._leading else CURSOR_POLL))
        return True

    async def since(self, index: int, pulse: float) -> AsyncIterator[tuple[list[Happened], int]]:
        """What happened from an index on, for ever: batches with the index to resume from. A batch is empty
        when there is nothing more, then after each `pulse` seconds of silence."""
        while True:
            batch, following = await self._read(index)
            yield batch, following
            if following == index:
                await self._wait_beyond(index, pulse)
            index = following

    @property
    def position(self) -> int:
        """The first index that was not read yet."""
        return self._position

    async def _view_position(self) -> int:
        return self._position if self._leading else await self._views.next_index(self._tenant)

    async def _wait_beyond(self, index: int, timeout: float) -> None:
        deadline = time.monotonic() + timeout
        while self._position <= index and time.monotonic() < deadline:
            await self._next_move(deadline - time.monotonic())

    async def _next_move(self, timeout: float) -> None:
        moved = self._moved
        try:
            async with asyncio.timeout(max(timeout, 0)):
                await moved.wait()
        except TimeoutError:
            pass

    async def _read(self, index: int) -> tuple[list[Happened], int]:
        if index >= self._recent_from:
            batch = [one for one in self._recent if one.stored.index >= index]
            return batch, max(self._position, index)
        stored = await self._views.events_from(self._tenant, index, RECENT)
        batch = [Happened(entry, shown) for entry in stored if (shown := await self._current(entry))]
        if len(stored) == RECENT:
            return batch, stored[-1].index + 1
        return batch, max(await self._views.next_index(self._tenant), index)

    async def _current(self, entry: event_pb2.LogEntry) -> Shown | None:
        return await self._views.get(self._tenant, entry.entry.approval_id)

    # Following the tail.

    async def run(self) -> None:
        """Follows the tail for ever; whatever breaks it, it begins again where the view stands."""
        while True:
            try:
                await self._follow()
            except CursorMoved:
                _LOG.info("another process wrote the view of %s; reading on from there", self._tenant)
            except (PlacetError, DatabaseUnavailable) as error:
                _LOG.warning("the tail of %s broke off: %s", self._tenant, error)
            await asyncio.sleep(RETRY_SECONDS)

    async def _follow(self) -> None:
        self._states.clear()
        start = await self._views.next_index(self._tenant)
        self._leading = await self._hold_lease()
        self._recent.clear()
        self._recent_from = self._position = start
        async with aclosing(self._log.tail(self._tenant, start)) as tail:
            async for response in tail:
                if await self._leadership_changed():
                    return
                if response.entries:
                    await self._take(list(response.entries))

    async def _hold_lease(self) -> bool:
        self._lease_checked = time.monotonic()
        now = datetime.now(UTC)
        return await self._views.hold_lease(f"projector/{self._tenant}", self._holder, now, LEASE)

    async def _leadership_changed(self) -> bool:
        if time.monotonic() - self._lease_checked < LEASE_RENEWAL:
            return False
        return await self._hold_lease() != self._leading

    async def _take(self, entries: list[event_pb2.LogEntry]) -> None:
        """Folds, writes (if this is the projector), then wakes: who is woken can read what happened."""
        happened: list[Happened] = []
        changed: dict[str, tuple[Shown, list[str]]] = {}
        for stored in entries:
            if not stored.entry.approval_id:
                continue
            one, newly_asked = await self._fold(stored)
            happened.append(one)
            earlier = changed.get(one.shown.approval.id)
            changed[one.shown.approval.id] = (one.shown, (earlier[1] if earlier else []) + newly_asked)
        if self._leading:
            await self._views.write(self._tenant, self._position, entries, list(changed.values()))
        self._position = entries[-1].index + 1
        self._publish(happened)

    async def _fold(self, stored: event_pb2.LogEntry) -> tuple[Happened, list[str]]:
        entry = from_proto(stored, LogEntry)
        state = await self._state_before(entry.entry.approval_id, entry.entry.number)
        asked = set(state.asked)
        if self._leading:
            record_waits(state, entry)
        state.fold(entry)
        self._keep(state)
        shown = Shown(present(state), frozenset(state.asked))
        return Happened(stored, shown), [person for person in state.asked if person not in asked]

    async def _state_before(self, approval_id: str, number: int) -> ApprovalState:
        """A request's state just before its event `number`."""
        state = self._states.get(approval_id)
        if state is not None and state.last_number == number - 1:
            return state
        state = _folded_before(number, await self._views.path(self._tenant, approval_id))
        if state.last_number < number - 1:
            state = _folded_before(number, await self._log.events_of(self._tenant, approval_id))
        return state

    def _keep(self, state: ApprovalState) -> None:
        if state.closed is not None:
            self._states.pop(state.approval_id, None)
            return
        self._states[state.approval_id] = state
        self._states.move_to_end(state.approval_id)
        if len(self._states) > STATES:
            self._states.popitem(last=False)

    def _publish(self, happened: Sequence[Happened]) -> None:
        for one in happened:
            if len(self._recent) == RECENT:
                self._recent_from = self._recent[0].stored.index + 1
            self._recent.append(one)
            for listener in self._listeners.get(one.shown.approval.id, ()):
                listener.hear(one)
        self._moved.set()
        self._moved = asyncio.Event()


def _folded_before(number: int, path: list[event_pb2.LogEntry]) -> ApprovalState:
    state = ApprovalState()
    for stored in path:
        if stored.entry.number < number:
            state.fold(from_proto(stored, LogEntry))
    return state


class Feed:
    """The feeds of all tenants, each begun when it is first needed."""

    def __init__(self, log: AuditLog, views: ViewStore, holder: str) -> None:
        self._make: Callable[[str], TenantFeed] = lambda tenant: TenantFeed(tenant, log, views, holder)
        self._feeds: dict[str, TenantFeed] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def of(self, tenant: str) -> TenantFeed:
        """A tenant's feed."""
        feed = self._feeds.get(tenant)
        if feed is None:
            feed = self._feeds[tenant] = self._make(tenant)
            self._tasks.add(asyncio.create_task(feed.run(), name=f"feed-{tenant}"))
        return feed

    async def close(self) -> None:
        """Stops following."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
