"""Tails: history from the store, then each new entry as it becomes durable.

The newest entries of every tenant that somebody tails are kept in memory once, for all its readers, so
that a commit costs no query per reader. Who is too slow for what is kept pages from the store again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar, cast

from placet_audit.domain import (
    DEFAULT_PAGE,
    Entry,
    Page,
    check_reach,
    may_erase,
    total_size,
    within_budget,
)
from placet_rpc.errors import Unavailable
from placet_storage import DatabaseUnavailable

_LOG = logging.getLogger("placet.audit.feed")

Answer = TypeVar("Answer")


class Log(Protocol):
    """Where history is; `placet_audit.store.Store` in earnest."""

    async def size(self, tenant: str) -> int:
        """How many entries the tenant's log holds."""

    async def entries(self, tenant: str, from_index: int, limit: int) -> Page:
        """The tenant's entries from an index on, at most `limit`, in order."""


@dataclass(frozen=True, slots=True)
class Stretch(Generic[Answer]):
    """Some entries of a tail, in order; none when the tail is current. `size`: the log's, as known now."""

    answers: Sequence[Answer]
    size: int


class Feed(Generic[Answer]):
    """All tails of this process. `render` turns an entry into what readers get, once for all of them.

    `keep_bytes` bounds what is kept of each tailed tenant; `poll_interval` (seconds) is how long an entry
    that another process committed stays unseen, at most; `pulse` (seconds) is how long a tail is silent.
    """

    def __init__(
        self,
        log: Log,
        render: Callable[[Entry], Answer],
        *,
        keep_bytes: int,
        poll_interval: float,
        pulse: float,
    ) -> None:
        self._log = log
        self._render = render
        self._keep_bytes = keep_bytes
        self._poll_interval = poll_interval
        self._pulse = pulse
        self._recent: dict[str, _Recent[Answer]] = {}
        self._closing = asyncio.Event()

    def publish(self, entries: Sequence[Entry]) -> None:
        """Hand durable entries to the readers. Only those of tailed tenants are kept."""
        tailed = [entry for entry in entries if entry.tenant in self._recent]
        for tenant in {entry.tenant for entry in tailed}:
            self._recent[tenant].extend([entry for entry in tailed if entry.tenant == tenant])

    def forget(self, tenant: str) -> None:
        """Keep nothing of what the tenant's entries said until now: some of it was erased."""
        if tenant in self._recent:
            self._recent[tenant].forget()

    def answer(self, entry: Entry) -> Answer:
        """What readers get of an entry; a published one that somebody tails is rendered only once."""
        recent = self._recent.get(entry.tenant)
        kept = None if recent is None else recent.kept(entry.index)
        return self._render(entry) if kept is None else kept.answer(self._render)

    async def tail(self, tenant: str, from_index: int) -> AsyncGenerator[Stretch[Answer], None]:
        """The tenant's entries from an index on, without gaps, without end.

        A stretch without entries comes first when the tail has caught up, and then after each `pulse`
        of silence. Raises OutOfRange BEYOND_END; Unavailable when the store cannot be read, for a tail that
        cannot know whether it is current says so, or when the log has become shorter.
        """
        with self._reading(tenant) as recent:
            size = await self._log.size(tenant)
            check_reach(from_index, size)
            recent.begin_at(size)
            position, silent, shrunk = from_index, True, recent.shrunk
            while True:
                recent.check(shrunk)
                answers = recent.since(position, self._render)
                if answers is None:
                    answers = await self._history(tenant, position)
                position += len(answers)
                if answers or silent:
                    yield Stretch(answers, max(position, recent.end))
                if not answers:
                    silent = not await recent.reaches_beyond(position, self._pulse, shrunk)

    async def run(self) -> None:
        """Look for what other processes committed until `close`."""
        while not self._closing.is_set():
            for tenant, recent in list(self._recent.items()):
                await self._catch_up(tenant, recent)
            try:
                await asyncio.wait_for(self._closing.wait(), self._poll_interval)
            except TimeoutError:
                continue

    def close(self) -> None:
        """Let `run` end. The tails themselves end with the calls that read them."""
        self._closing.set()

    @contextmanager
    def _reading(self, tenant: str) -> Iterator[_Recent[Answer]]:
        recent = self._recent.setdefault(tenant, _Recent(self._keep_bytes))
        recent.readers += 1
        try:
            yield recent
        finally:
            recent.readers -= 1
            if not recent.readers:
                del self._recent[tenant]

    async def _history(self, tenant: str, position: int) -> list[Answer]:
        page = await self._log.entries(tenant, position, DEFAULT_PAGE)
        return [self._render(entry) for entry in page.entries]

    async def _catch_up(self, tenant: str, recent: _Recent[Answer]) -> None:
        try:
            more, end = recent.begun, recent.end
            if more and (size := await self._log.size(tenant)) < end:
                _LOG.error("the log of %s had %d entries and has %d: it was put back", tenant, end, size)
                recent.shrink(size)
            while more:
                page = await self._log.entries(tenant, recent.end, DEFAULT_PAGE)
                if any(may_erase(entry) for entry in page.entries):
                    # By another process; what is kept here may still say what it erased.
                    recent.forget()
                recent.extend(page.entries)
                more = page.more
        except DatabaseUnavailable as error:
            _LOG.warning("the tails of %s end: %s", tenant, error)
            recent.fail("The log cannot be read now; resume from the next index.")


class _Kept(Generic[Answer]):
    """An entry until the first reader gets there, and from then on what readers get of it.

    Never both: there are many, and whatever Python's collector has to look at stops all appends meanwhile.
    """

    __slots__ = ("_answer", "_entry", "size")

    def __init__(self, entry: Entry) -> None:
        self.size = entry.size
        self._entry: Entry | None = entry
        self._answer: Answer | None = None

    def answer(self, render: Callable[[Entry], Answer]) -> Answer:
        if self._entry is not None:
            self._answer, self._entry = render(self._entry), None
        # Any answer may be None, so far as its type goes.
        return cast(Answer, self._answer)


class _Recent(Generic[Answer]):
    """The newest entries of one tenant: those from `start` to before `end`, without gaps."""

    def __init__(self, keep_bytes: int) -> None:
        self.readers = 0
        self.shrunk = 0
        self.begun = False
        self.end = 0
        self._keep_bytes = keep_bytes
        self._bytes = 0
        self._kept: list[_Kept[Answer]] = []
        self._failure: str | None = None
        self._moved = asyncio.Event()

    @property
    def start(self) -> int:
        return self.end - len(self._kept)

    def begin_at(self, size: int) -> None:
        """Know that the log is `size` long; if that is news, what was kept does not reach it: drop it."""
        self.begun = True
        self._failure = None
        if size > self.end:
            self._kept, self._bytes, self.end = [], 0, size
            self._wake()

    def extend(self, entries: Sequence[Entry]) -> None:
        """Keep durable entries, except those already known; forget the oldest beyond the bound."""
        self._failure = None
        fresh = [entry for entry in entries if entry.index >= self.end]
        if not fresh:
            return
        self.begin_at(fresh[0].index)
        kept: list[_Kept[Answer]] = [_Kept(entry) for entry in fresh]
        self._kept += kept
        self._bytes += total_size(kept)
        self.end += len(fresh)
        self._forget()
        self._wake()

    def forget(self) -> None:
        """Keep no entry; who reads them takes them from the store again."""
        self._kept, self._bytes = [], 0

    def kept(self, index: int) -> _Kept[Answer] | None:
        """The entry at an index, while it is kept."""
        return self._kept[index - self.start] if self.start <= index < self.end else None

    def since(self, position: int, render: Callable[[Entry], Answer]) -> list[Answer] | None:
        """Some entries from a position on; none at the end; None if that far back nothing is kept."""
        if position < self.start:
            return None
        first = position - self.start
        return [kept.answer(render) for kept in within_budget(self._kept[first : first + DEFAULT_PAGE])]

    async def reaches_beyond(self, position: int, patience: float, shrunk: int) -> bool:
        """Wait until the log is longer than `position`, or False after `patience` seconds.

        Raises as `check` does.
        """
        try:
            async with asyncio.timeout(patience):
                while self.end <= position:
                    await self._moved.wait()
                    self.check(shrunk)
        except TimeoutError:
            return False
        return True

    def fail(self, failure: str) -> None:
        """Let every reader raise, until there is news of the log."""
        self._failure = failure
        self._wake()

    def shrink(self, size: int) -> None:
        """Know that the log has only this size any more: who reads it now has read another one."""
        self._kept, self._bytes, self.end = [], 0, size
        self.shrunk += 1
        self._wake()

    def check(self, shrunk: int) -> None:
        """Raise Unavailable if a tail that began when the log had shrunk so often cannot be kept up."""
        if self._failure is not None:
            raise Unavailable(self._failure)
        if shrunk != self.shrunk:
            raise Unavailable(
                "The log is shorter than it was: its database was put back to what it once was."
            )

    def _forget(self) -> None:
        """Drop the oldest once the bound is passed; half of it at a time, so that it is done rarely."""
        if self._bytes <= self._keep_bytes:
            return
        forgotten = 0
        while self._bytes > self._keep_bytes // 2:
            self._bytes -= self._kept[forgotten].size
            forgotten += 1
        del self._kept[:forgotten]

    def _wake(self) -> None:
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()
