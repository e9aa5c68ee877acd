"""Follows a tenant's stream of notifications: history first, then live. The store holds what is waiting."""

import asyncio
import contextlib
import contextvars
from collections.abc import AsyncGenerator
from dataclasses import dataclass

from placet_notification.domain import MAX_CURSOR, Notification
from placet_notification.store import Store
from placet_rpc.errors import OutOfRange
from placet_storage import DatabaseUnavailable
from placet_telemetry import log

_PAGE = 100
_LOG = log(__name__)


@dataclass(frozen=True)
class Step:
    """A notification, or a sign of life without one; `cursor` is where to resume."""

    notification: Notification | None
    cursor: int


class Stream:
    """Wakes followers when something was added: at once by this process, within `poll` s by another one.

    A follower holds one page of rows, however far behind it is, and nothing while it waits.
    """

    def __init__(self, store: Store, *, sign_of_life: float = 5.0, poll: float = 1.0) -> None:
        """`sign_of_life` and `poll` in seconds."""
        self._store = store
        self._sign_of_life = sign_of_life
        self._poll = poll
        self._bells: dict[str, asyncio.Event] = {}
        self._watcher: asyncio.Task[None] | None = None

    def ring(self, tenant: str) -> None:
        """Something was added to the tenant's stream."""
        bell = self._bells.pop(tenant, None)
        if bell is not None:
            bell.set()

    async def follow(self, tenant: str, after: int, *, recipient: str | None) -> AsyncGenerator[Step, None]:
        """The notifications after a cursor, without end; a sign of life when caught up and then regularly.

        `recipient`: only theirs. Raises OutOfRange if the stream has never got as far as `after`.
        """
        self._watch()
        cursor, clock = after, asyncio.get_running_loop().time
        sign_of_life_due = clock()
        while True:
            bell = self._bell(tenant)  # Before the read: what is added during it rings this one.
            page, end = await self._store.after(
                tenant, min(cursor, MAX_CURSOR), recipient=recipient, limit=_PAGE
            )
            if cursor > end:
                raise OutOfRange(
                    f"the stream ends at {end}, before {cursor}; subscribe after {end}",
                    reason="BEYOND_END",
                    metadata={"after_cursor": str(cursor), "end": str(end)},
                )
            for notification in page:
                cursor = notification.cursor
                yield Step(notification, cursor)
            if len(page) == _PAGE:
                continue
            cursor = end  # Past what is not theirs, so that it is not read again.
            if clock() >= sign_of_life_due:
                yield Step(None, cursor)
                sign_of_life_due = clock() + self._sign_of_life
            await _rung(bell, within=sign_of_life_due - clock())

    async def close(self) -> None:
        """Stops looking for what other replicas add. The server has ended all followers by then."""
        if self._watcher is not None:
            self._watcher.cancel()
            await asyncio.gather(self._watcher, return_exceptions=True)

    def _bell(self, tenant: str) -> asyncio.Event:
        return self._bells.setdefault(tenant, asyncio.Event())

    def _watch(self) -> None:
        # One task for all followers: what other replicas add is seen with one small query.
        if self._watcher is None:
            self._watcher = asyncio.create_task(
                self._watch_other_replicas(),
                # Not in the trace, tenant and deadline of the call that happens to be the first.
                context=contextvars.Context(),
            )
            self._watcher.add_done_callback(self._watcher_ended)

    def _watcher_ended(self, watcher: asyncio.Task[None]) -> None:
        # The next follower starts another; those that wait read again with each sign of life.
        self._watcher = None
        if not watcher.cancelled() and (error := watcher.exception()) is not None:
            _LOG.error("stopped looking for what other replicas add", exc_info=error)

    async def _watch_other_replicas(self) -> None:
        seen: dict[str, int] = {}
        while True:
            await asyncio.sleep(self._poll)
            waiting = list(self._bells)
            if not waiting:
                continue
            try:
                ends = await self._store.ends(waiting)
            except DatabaseUnavailable as error:
                # Followers see the same when they read; here it only means to look again.
                _LOG.warning("cannot see what other replicas add", error=str(error))
                continue
            for tenant, end in ends.items():
                if end != seen.get(tenant):
                    self.ring(tenant)
            seen = ends


async def _rung(bell: asyncio.Event, *, within: float) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(within):
            await bell.wait()
