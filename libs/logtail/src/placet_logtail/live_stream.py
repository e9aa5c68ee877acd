"""The stream of each tenant in one database, followed by many, written by this process and by others."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import Context
from typing import Generic, Protocol, TypeVar

from placet_logtail.recent import RecentItems
from placet_logtail.stream import Batch, Read, follow
from placet_logtail.wakeup import Wakeup
from placet_rpc.errors import Unavailable
from placet_rpc.tasks import run_periodically
from placet_storage import DatabaseUnavailable

_LOG = logging.getLogger(__name__)

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

# Of what is kept, sent at once.
BATCH_ITEMS = 100
BATCH_BYTES = 2 << 20

UNREADABLE = "The stream cannot be read now; resume from where it broke off."
SHORTER = "The stream is shorter than it was: its database was put back to what it once was."


class StreamStore(Protocol[T_co]):
    """The database of a stream. Positions of a tenant's items have no gaps."""

    async def ends(self, tenants: Sequence[str]) -> Mapping[str, int]:
        """The first position that each tenant's stream does not hold yet; unnamed: 0."""

    async def read(self, tenant: str, position: int) -> Batch[T_co]:
        """A page of the tenant's items from a position on."""


class LiveStream(Generic[T]):
    """All followers of this process. Used as an async context manager, it looks for what others wrote.

    Each is woken at once by this process's writes, within `poll` seconds by those of another. With `keep`,
    the newest items of each followed tenant are kept once for all its followers, at most so many bytes by
    `size`, so that a write costs no query per follower; what was kept before an item that `erases` is
    dropped. `sign_of_life`: see `follow`.
    """

    def __init__(
        self,
        store: StreamStore[T],
        *,
        poll: float,
        sign_of_life: float,
        keep: int = 0,
        size: Callable[[T], int] = lambda _: 1,
        erases: Callable[[T], bool] = lambda _: False,
    ) -> None:
        self._store = store
        self._poll = poll
        self._sign_of_life = sign_of_life
        self._keep = keep
        self._size = size
        self._erases = erases
        self._tails: dict[str, _Tail[T]] = {}
        self._polling: asyncio.Task[None] | None = None

    @property
    def followed(self) -> frozenset[str]:
        """The tenants that have followers."""
        return frozenset(self._tails)

    def wake(self, tenant: str) -> None:
        """Wakes the followers of the tenant's stream after a write."""
        if tenant in self._tails:
            self._tails[tenant].wakeup.wake()

    def publish(self, tenant: str, position: int, items: Sequence[T]) -> None:
        """Passes on the items written from a position on; kept while the tenant's stream has followers."""
        tail = self._tails.get(tenant)
        if tail is not None:
            tail.extend(position, items)

    def kept(self, tenant: str, position: int) -> T | None:
        """The item at a position, while it is kept."""
        tail = self._tails.get(tenant)
        return None if tail is None else tail.recent.get(position)

    async def follow(
        self, tenant: str, start: int | None, history: Read[T] | None = None
    ) -> AsyncGenerator[Batch[T], None]:
        """See `placet_logtail.follow`; `start` None: from the stream's end as it is now.

        `history` reads the database in place of the store's `read`, where a follower is shown a part of the
        stream, and nothing is kept.

        Raises Unavailable when the database cannot be read, for a stream that cannot know whether it is
        current says so, or when the stream became shorter.
        """
        stored = history or (lambda position: self._store.read(tenant, position))
        with self._following(tenant) as tail:
            end = (await self._store.ends([tenant])).get(tenant, 0)
            tail.begin(end)
            shrunk = tail.shrunk

            async def read(position: int) -> Batch[T]:
                tail.check(shrunk)
                return await tail.read(position, stored) if self._keep else await stored(position)

            begin = end if start is None else start
            async for batch in follow(read, tail.wakeup, begin, self._sign_of_life):
                yield batch

    async def __aenter__(self) -> LiveStream[T]:
        # Without the opener's deadline and trace.
        polling = run_periodically(self._look, self._poll, "streams end late that cannot be read")
        self._polling = asyncio.create_task(polling, name="stream-poll", context=Context())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._polling is not None:
            self._polling.cancel()
            await asyncio.gather(self._polling, return_exceptions=True)

    @contextmanager
    def _following(self, tenant: str) -> Iterator[_Tail[T]]:
        tail = self._tails.setdefault(tenant, _Tail(self._keep, self._size, self._erases))
        tail.followers += 1
        try:
            yield tail
        finally:
            tail.followers -= 1
            if not tail.followers:
                del self._tails[tenant]

    async def _look(self) -> None:
        """Finds what other processes wrote."""
        # Before the query: items published during it are newer than its result.
        known = {tenant: tail.end for tenant, tail in self._tails.items() if tail.begun}
        with self._failing(known):
            ends = await self._store.ends(list(known)) if known else {}
            for tenant, before in known.items():
                with self._failing([tenant]):
                    await self._refresh(tenant, before, ends.get(tenant, 0))

    async def _refresh(self, tenant: str, before: int, end: int) -> None:
        tail = self._tails.get(tenant)
        if tail is None or end == before:
            return
        if end < before:
            _LOG.error("the stream of %s ended at %d and ends at %d: it was put back", tenant, before, end)
            tail.shrink(end)
        elif self._keep:
            await self._catch_up(tenant, tail, end)
        else:
            tail.end = end
            tail.wakeup.wake()

    async def _catch_up(self, tenant: str, tail: _Tail[T], end: int) -> None:
        while tail.end < end:
            batch = await self._store.read(tenant, tail.end)
            if not batch.items:
                return
            tail.extend(batch.next - len(batch.items), batch.items)

    @contextmanager
    def _failing(self, tenants: Iterable[str]) -> Iterator[None]:
        """Ends the streams of these tenants if they cannot be read; the polling goes on."""
        try:
            yield
        except DatabaseUnavailable as error:
            _LOG.warning("streams end, because they cannot be read: %s", error)
            self._fail(tenants)
        except Exception:  # noqa: BLE001  # without polling, followers would wait for ever
            _LOG.exception("streams end, because they cannot be read")
            self._fail(tenants)

    def _fail(self, tenants: Iterable[str]) -> None:
        for tenant in tenants:
            if tenant in self._tails:
                self._tails[tenant].failure = UNREADABLE
                self._tails[tenant].wakeup.wake()


class _Tail(Generic[T]):
    """The newest items of one tenant, and its followers."""

    def __init__(self, keep: int, size: Callable[[T], int], erases: Callable[[T], bool]) -> None:
        self.recent: RecentItems[T] = RecentItems(keep)
        self.followers = 0
        self.shrunk = 0
        self.begun = False
        self.failure: str | None = None
        self.wakeup = Wakeup()
        self._size = size
        self._erases = erases

    @property
    def end(self) -> int:
        return self.recent.end

    @end.setter
    def end(self, end: int) -> None:
        self.recent.extend_to(end)

    def begin(self, end: int) -> None:
        """Sets the stream's end. Kept items that do not reach it are dropped."""
        self.begun = True
        self.failure = None
        if end > self.end:
            self.recent.restart(end)
            self.wakeup.wake()

    def extend(self, position: int, items: Sequence[T]) -> None:
        """Keeps the items that are not known yet."""
        if position > self.end:
            self.recent.restart(position)
        for place, item in enumerate(items, position):
            if place >= self.end:
                if self._erases(item):
                    self.recent.forget()
                self.recent.add(place, item, self._size(item))
        self.failure = None
        self.begun = True
        self.wakeup.wake()

    def shrink(self, end: int) -> None:
        """Sets an earlier end: current followers have read another stream."""
        self.recent.restart(end)
        self.shrunk += 1
        self.wakeup.wake()

    def check(self, shrunk: int) -> None:
        """Raises Unavailable if a follower that began when the stream had shrunk so often cannot go on."""
        if self.failure is not None:
            raise Unavailable(self.failure)
        if shrunk != self.shrunk:
            raise Unavailable(SHORTER)

    async def read(self, position: int, stored: Read[T]) -> Batch[T]:
        """Some items from a position on: those that are kept, else those that are stored."""
        batch = self.recent.read(position, BATCH_ITEMS, BATCH_BYTES)
        if batch is not None:
            return batch
        batch = await stored(position)
        return Batch(batch.items, batch.next, max(batch.next, self.end))
