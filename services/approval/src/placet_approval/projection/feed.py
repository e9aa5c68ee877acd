"""What the log's tail does here: it feeds the view, and wakes those who wait.

Each process tails each tenant's log. One of them, the projector, writes the view; the cursor moves in the
same transaction, so that two projectors would not harm each other, only waste work. The others read along
to wake their own waiters.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Coroutine, Iterator, Mapping, Sequence
from contextlib import aclosing, contextmanager
from contextvars import Context
from datetime import UTC, datetime, timedelta
from itertools import chain, takewhile

from placet.event.v1 import event_pb2
from placet_approval.adapters.audit_log import AuditLog
from placet_approval.projection.fold import Change, Folding, Happened
from placet_approval.projection.prefetch import read_ahead
from placet_approval.projection.wait_spans import record_waits
from placet_approval.store.erasure import erased_id
from placet_approval.store.policies import PolicyStore
from placet_approval.store.requests import RequestStore
from placet_approval.store.view import CursorMoved, Shown, ViewStore
from placet_rpc.errors import PlacetError
from placet_storage import DatabaseUnavailable

_LOG = logging.getLogger("placet.approval.feed")

# Entries kept for watchers; who resumes from further back reads the view, so many at a time.
RECENT = 10_000
HISTORY_PAGE = 500
# A projector that dies is followed by another within LEASE, and a moment for the next look.
LEASE = timedelta(seconds=4)
RENEWAL_SECONDS = 1.0
RETRY_SECONDS = 0.2
# Answers of the tail that may come while the view is written; they are written together then. Each holds
# what one commit of the log's added, or a page of its history.
AHEAD = 16
# How often a process that does not write the view looks how far it has got.
CURSOR_POLL = 0.02
# How long a new feed may take to reach the log's head, before "now" is where it stands.
CATCH_UP_SECONDS = 2.0


class Listener:
    """Gathers what happens to one request."""

    def __init__(self) -> None:
        self._happened: deque[Happened] = deque()
        self._woken = asyncio.Event()

    def hear(self, happened: Happened) -> None:
        """Takes it and wakes whoever waits."""
        self._happened.append(happened)
        self.wake()

    def wake(self) -> None:
        """Whoever waits waits no longer, although nothing was heard."""
        self._woken.set()

    async def next(self, timeout: float) -> list[Happened]:
        """What has happened since the last call; waits for something, at most `timeout` seconds.

        Nothing: the time is over, or the view holds what was not heard here.
        """
        await _within(self._woken, timeout)
        self._woken.clear()
        heard, self._happened = list(self._happened), deque()
        return heard


class TenantFeed:
    """One tenant's tail."""

    def __init__(
        self, tenant: str, log: AuditLog, views: ViewStore, requests: RequestStore, policies: PolicyStore
    ) -> None:
        self._tenant = tenant
        self._policies = policies
        self._log = log
        self._views = views
        self._requests = requests
        self._folding = Folding(tenant, log, views, requests, policies)
        self._listeners: dict[str, set[Listener]] = {}
        self._recent: deque[Happened] = deque(maxlen=RECENT)
        # The index from which `_recent` is complete, and the first index not read yet.
        self._recent_from = 0
        self._position = 0
        self._moved = asyncio.Event()
        self._caught_up = asyncio.Event()
        self._elected = asyncio.Event()
        self._elected_to_lead = False
        self._leading = False
        self._following: asyncio.Task[None] | None = None

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

    def expect(self, approval_id: str, labels: Mapping[str, str]) -> None:
        """See Folding."""
        self._folding.expect(approval_id, labels)

    async def reached(self, log_index: int, timeout: float) -> bool:
        """Waits until the view holds everything up to `log_index`; False when `timeout` seconds passed."""
        deadline = time.monotonic() + timeout
        while await self.view_position() <= log_index:
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                return False
            await _within(self._moved, min(remaining, 1.0 if self._leading else CURSOR_POLL))
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

    async def head(self) -> int:
        """The first index that the log does not hold yet, as far as this process knows; a feed that has
        just begun is given a moment to find out."""
        await _within(self._caught_up, CATCH_UP_SECONDS)
        return self._position

    async def view_position(self) -> int:
        """The first index that the view does not hold yet."""
        return self._position if self._leading else await self._views.next_index(self._tenant)

    async def _wait_beyond(self, index: int, timeout: float) -> None:
        """Waits until there is more to read than was found at `index`, at most `timeout` seconds."""
        deadline = time.monotonic() + timeout
        while (remaining := deadline - time.monotonic()) > 0:
            if index >= self._recent_from:
                if self._position > index:
                    return
                await _within(self._moved, remaining)
            elif await self.view_position() > index:
                return
            else:
                # Only the view can tell what comes next, and whoever writes it stands still.
                await asyncio.sleep(min(remaining, RETRY_SECONDS))

    async def _read(self, index: int) -> tuple[list[Happened], int]:
        if index >= self._recent_from:
            newest_first = takewhile(lambda one: one.stored.index >= index, reversed(self._recent))
            return list(newest_first)[::-1], max(self._position, index)
        stored, end = await self._views.events_from(self._tenant, index, HISTORY_PAGE)
        changes = await Folding(self._tenant, self._log, self._views, self._requests, self._policies).take(
            stored
        )
        following = stored[-1].index + 1 if len(stored) == HISTORY_PAGE else max(end, index)
        return [change.happened for change in changes if change.happened.stored.index < following], following

    # Following the tail.

    def lead(self, leading: bool) -> None:
        """Says whether this process is to write the view."""
        gained = leading and not self._elected_to_lead
        self._elected_to_lead = leading
        # Who is elected leads once it has begun where the view stands: until then its position says nothing
        # about the view.
        self._leading = self._leading and leading
        self._elected.set()
        if gained and self._following is not None:
            # What it has read before somebody else may not have written: begin where the view stands.
            self._following.cancel()

    async def run(self) -> None:
        """Follows the tail for ever; whatever breaks it, it begins again where the view stands."""
        await self._elected.wait()
        try:
            while True:
                self._following = asyncio.create_task(self._follow_to_a_break())
                await asyncio.wait([self._following])
        finally:
            if self._following is not None:
                self._following.cancel()
                await asyncio.wait([self._following])

    async def _follow_to_a_break(self) -> None:
        try:
            await self._follow()
        except CursorMoved:
            _LOG.info("another process wrote the view of %s; reading on from there", self._tenant)
        except (PlacetError, DatabaseUnavailable) as error:
            _LOG.warning("the tail of %s broke off: %s", self._tenant, error)
        except Exception:  # noqa: BLE001  # one tenant's unreadable entry must not stop the others' feeds
            _LOG.exception("the tail of %s cannot be followed; it is tried again", self._tenant)
            await asyncio.sleep(RENEWAL_SECONDS)
        await asyncio.sleep(RETRY_SECONDS)

    async def _follow(self) -> None:
        self._folding.forget()
        self._caught_up.clear()
        start = await self._start()
        # Where another process wrote what was not read here, who waits for it must look into the view.
        is_behind = start > self._position
        self._recent.clear()
        self._recent_from = self._position = start
        if is_behind:
            for listener in chain.from_iterable(self._listeners.values()):
                listener.wake()
            self._wake_watchers()
        self._leading = self._elected_to_lead
        async with (
            aclosing(self._log.tail(self._tenant, start)) as tail,
            aclosing(read_ahead(tail, AHEAD)) as batches,
        ):
            async for responses in batches:
                entries = [entry for response in responses for entry in response.entries]
                if entries:
                    await self._take(entries)
                else:
                    await self._check_cursor()
                if self._position >= responses[-1].size:
                    self._caught_up.set()

    async def _start(self) -> int:
        """Where the view stands. At the beginning, if it was made of another log than there is now: that of
        before the log's database was put back to what it once was."""
        start = await self._views.next_index(self._tenant)
        if not start or not self._elected_to_lead:
            return start
        if await self._log.begins_with(self._tenant, start, await self._views.newest(self._tenant)):
            return start
        _LOG.error(
            "the log of %s does not hold what its view was made of: it was put back or replaced. The view is "
            "made anew; what the log has lost is lost (docs/operations.md)",
            self._tenant,
        )
        await self._views.drop(self._tenant)
        return 0

    async def _check_cursor(self) -> None:
        """In a quiet log nothing else would tell that the view was dropped. Raises CursorMoved."""
        if self._leading and await self._views.next_index(self._tenant) != self._position:
            raise CursorMoved(self._tenant)

    async def _take(self, entries: list[event_pb2.LogEntry]) -> None:
        """Folds, writes (if this is the projector), then wakes: who is woken can read what happened."""
        leading = self._leading
        changes = await self._folding.take(entries, record_waits if leading else None)
        if leading:
            await self._views.write(self._tenant, self._position, entries, _last_of_each(changes))
        self._position = entries[-1].index + 1
        self._publish([change.happened for change in changes])

    def _publish(self, happened: Sequence[Happened]) -> None:
        for one in happened:
            if erased_id(one.stored):
                # What is kept of earlier entries still says it. Who resumes there reads the view, which does
                # not.
                self._recent.clear()
                self._recent_from = one.stored.index
            if len(self._recent) == RECENT:
                self._recent_from = self._recent[0].stored.index + 1
            self._recent.append(one)
            for listener in self._listeners.get(one.shown.approval.approval_id, ()):
                listener.hear(one)
        self._wake_watchers()

    def _wake_watchers(self) -> None:
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()


def _last_of_each(changes: Sequence[Change]) -> list[tuple[Shown, list[str]]]:
    """Each request as it stands after its last change, with all whom the changes asked first; but for those
    whom an erasure follows."""
    latest: dict[str, tuple[Shown, list[str]]] = {}
    for change in changes:
        shown = change.happened.shown
        _, asked = latest.get(shown.approval.approval_id, (shown, []))
        asked = [] if change.erases else asked
        latest[shown.approval.approval_id] = (shown, [*asked, *change.newly_asked])
    return list(latest.values())


async def _within(event: asyncio.Event, seconds: float) -> None:
    """Waits for an event, at most so long."""
    try:
        async with asyncio.timeout(max(seconds, 0)):
            await event.wait()
    except TimeoutError:
        return


class Feed:
    """The feeds of all tenants, each begun when it is first needed; and which of them this process leads."""

    def __init__(
        self,
        log: AuditLog,
        views: ViewStore,
        requests: RequestStore,
        policies: PolicyStore,
        holder: str,
    ) -> None:
        self._policies = policies
        self._log = log
        self._views = views
        self._requests = requests
        self._holder = holder
        self._feeds: dict[str, TenantFeed] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._election: asyncio.Task[None] | None = None
        self._elect_now = asyncio.Event()

    def of(self, tenant: str) -> TenantFeed:
        """A tenant's feed."""
        feed = self._feeds.get(tenant)
        if feed is None:
            feed = self._feeds[tenant] = TenantFeed(
                tenant, self._log, self._views, self._requests, self._policies
            )
            self._tasks.add(_own_task(feed.run(), f"feed-{tenant}"))
            self._elect_now.set()
            if self._election is None:
                self._election = _own_task(self._elect_for_ever(), "election")
        return feed

    async def close(self) -> None:
        """Stops following, and lets another process lead."""
        tasks = self._tasks | ({self._election} if self._election is not None else set())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        try:
            await self._views.release_leases(self._holder)
        except DatabaseUnavailable as error:
            _LOG.warning("another process leads only after %s: %s", LEASE, error)

    async def _elect_for_ever(self) -> None:
        while True:
            self._elect_now.clear()
            await self._elect()
            await _within(self._elect_now, RENEWAL_SECONDS)

    async def _elect(self) -> None:
        feeds = dict(self._feeds)
        try:
            held = await self._views.hold_leases(list(feeds), self._holder, datetime.now(UTC), LEASE)
        except DatabaseUnavailable as error:
            _LOG.warning("nobody can be elected to write the view: %s", error)
            held = set()
        except Exception:  # noqa: BLE001  # were this loop to end, the view would stand still for ever
            _LOG.exception("nobody can be elected to write the view; it is tried again")
            held = set()
        for tenant, feed in feeds.items():
            feed.lead(tenant in held)


def _own_task(work: Coroutine[object, object, None], name: str) -> asyncio.Task[None]:
    """A task that outlives the call that needed it first, without its deadline and its trace."""
    return asyncio.create_task(work, name=name, context=Context())
