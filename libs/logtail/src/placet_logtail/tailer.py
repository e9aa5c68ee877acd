"""Log tailer: reads one tenant's log for one handler, from the handler's cursor on."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from opentelemetry.metrics import get_meter

from placet_logtail.outage import RETRY_SECONDS, Outage
from placet_logtail.prefetch import prefetch
from placet_logtail.store import CursorMoved
from placet_logtail.stream import Batch
from placet_logtail.wakeup import wait_for
from placet_rpc.errors import (
    DataLoss,
    DeadlineExceeded,
    PermissionDenied,
    ResourceExhausted,
    Unauthenticated,
    Unavailable,
)
from placet_storage import DatabaseUnavailable

_LOG = logging.getLogger(__name__)
_SKIPPED = get_meter("placet.logtail").create_counter(
    "placet.logtail.skipped", unit="{entry}", description="Entries that a consumer could not use."
)

# Batches that are read while the handler works; it then handles them together.
PREFETCH = 16
# Attempts to handle one entry before it is skipped; faults that are not the entry's may pass meanwhile.
ATTEMPTS = 3
# Time for a new tailer to hear from the log; after it `head` answers what was known before.
HEAD_SECONDS = 2.0
# Errors that no entry causes: of a service, a database or this process, whatever it handles.
_MAY_PASS = (
    CursorMoved,
    DatabaseUnavailable,
    Unavailable,
    DeadlineExceeded,
    ResourceExhausted,
    Unauthenticated,
    PermissionDenied,
)
# The reason of a DataLoss that concerns the whole log; another one concerns what was asked for.
_WHOLE_LOG = "LOG_INCONSISTENT"


class Entry(Protocol):
    """An entry of a log."""

    @property
    def index(self) -> int:
        """Its position in the log."""


T = TypeVar("T", bound=Entry)
T_co = TypeVar("T_co", bound=Entry, covariant=True)
T_contra = TypeVar("T_contra", bound=Entry, contravariant=True)


class Source(Protocol[T_co]):
    """A log that can be tailed."""

    def tail(self, tenant: str, from_index: int) -> AsyncGenerator[Batch[T_co], None]:
        """The tenant's entries from an index on, live, with signs of life. Raises PlacetError."""


class Handler(Protocol[T_contra]):
    """A consumer's work on one tenant's log. Its methods are called one at a time.

    Of all processes one leads: only there does the handler write; elsewhere it may keep what it holds in
    memory current. After an error the tailer starts again; see `may_pass` for those that count as an entry's
    fault.
    """

    async def start(self, *, leading: bool) -> int:
        """Begins anew; answers from which index on."""

    async def handle(self, position: int, batch: Batch[T_contra], *, leading: bool) -> None:
        """Applies the entries that follow `position`, and moves the cursor from there to `batch.next`, in one
        transaction. For a batch that holds and moves nothing, checks that the cursor is where it was left."""

    async def skip(self, position: int, entry: T_contra, reason: str, *, leading: bool) -> None:
        """Moves the cursor past an entry that the handler fails at, and keeps why."""


@dataclass(frozen=True)
class TailStatus:
    """A consumer's position in a tenant's log, and its health."""

    consumer: str
    tenant: str
    # The first index that it has not handled, and the first that the log does not hold as far as it knows.
    position: int
    end: int
    leading: bool
    # Entries that this process skipped.
    skipped: int
    # Why the log cannot be followed now; empty when it can.
    broken: str


class LogTailer(Generic[T]):
    """Follows one tenant's log for ever; after any failure it resumes from the handler's cursor.

    An entry that the handler fails at, with any other error than those that may pass (see `may_pass`), is
    tried ATTEMPTS times by itself, then reported and skipped: it stops no tail.
    """

    def __init__(self, consumer: str, tenant: str, source: Source[T], handler: Handler[T]) -> None:
        self.consumer = consumer
        self.tenant = tenant
        self._source = source
        self._handler = handler
        self._position = 0
        # The first index that the log does not hold, as it said last; None if it never said anything.
        self._head: int | None = None
        # Set once the log has answered since the last start.
        self._heard = asyncio.Event()
        self._caught_up = asyncio.Event()
        self._last_head: int | None = None
        self._election_held = asyncio.Event()
        self._elected = False
        self._leading = False
        self._following: asyncio.Task[None] | None = None
        # Below this index entries are handled one by one, because the handler failed at one of them.
        self._careful_until = 0
        # Entries that the handler failed at by themselves: how often, and why.
        self._failures: dict[int, tuple[int, str]] = {}
        self._skipped = 0
        self._outage = Outage(f"{consumer}: the tail of {tenant}'s log")

    @property
    def status(self) -> TailStatus:
        """The status now."""
        return TailStatus(
            self.consumer,
            self.tenant,
            self._position,
            self._head or 0,
            self._leading,
            self._skipped,
            self._outage.reason,
        )

    async def head(self) -> int | None:
        """The first index that the log does not hold yet, as far as this process knows.

        A tailer that has just begun is given a moment to find out. None if it has never heard from the log.
        """
        await wait_for(self._heard, HEAD_SECONDS)
        return self._head

    async def caught_up_to(self, timeout: float) -> int | None:
        """The log's size when this tailer last caught up with it; None if it never did, and does not within
        `timeout` seconds."""
        if self._last_head is None:
            await wait_for(self._caught_up, timeout)
        return self._last_head

    def lead(self, *, elected: bool) -> None:
        """Sets whether this process writes. Nothing is read before the first call."""
        gained = elected and not self._elected
        self._elected = elected
        self._leading = self._leading and elected
        self._election_held.set()
        if gained and self._following is not None:
            # The former leader may not have written all that this process has read: begin at the cursor.
            self._following.cancel()

    async def run(self) -> None:
        """Follows the log until it is cancelled."""
        await self._election_held.wait()
        try:
            while True:
                self._following = asyncio.create_task(self._follow_to_a_break())
                await asyncio.wait([self._following])
        finally:
            if self._following is not None:
                self._following.cancel()
                await asyncio.wait([self._following])

    async def _follow_to_a_break(self) -> None:
        pause = RETRY_SECONDS
        try:
            await self._follow()
        except CursorMoved:
            _LOG.info("%s: another process wrote for %s; reading on from there", self.consumer, self.tenant)
        except Exception as error:  # noqa: BLE001  # one tenant's log must not stop the others'
            pause = self._outage.failed(error, expected=hasattr(error, "grpc_kind"))
        await asyncio.sleep(pause)

    async def _follow(self) -> None:
        self._caught_up.clear()
        self._heard.clear()
        leading = self._elected
        self._leading = False
        self._position = await self._handler.start(leading=leading)
        self._failures = {
            index: failure for index, failure in self._failures.items() if index >= self._position
        }
        self._leading = leading and self._elected
        async with (
            aclosing(self._source.tail(self.tenant, self._position)) as tail,
            aclosing(prefetch(tail, PREFETCH)) as prefetched,
        ):
            async for batches in prefetched:
                self._head = batches[-1].end
                self._heard.set()
                await self._handle(_joined(batches))
                self._outage.succeeded()
                if self._position >= self._head and not self._caught_up.is_set():
                    self._last_head = self._head
                    self._caught_up.set()

    async def _handle(self, batch: Batch[T]) -> None:
        if self._position < self._careful_until:
            await self._handle_one_by_one(batch)
            return
        try:
            await self._apply(batch)
        except Exception as error:
            if not may_pass(error):
                self._careful_until = batch.next
            raise

    async def _apply(self, batch: Batch[T]) -> None:
        await self._handler.handle(self._position, batch, leading=self._leading)
        self._position = batch.next

    async def _handle_one_by_one(self, batch: Batch[T]) -> None:
        for entry in batch.items:
            attempts, _ = self._failures.get(entry.index, (0, ""))
            if attempts >= ATTEMPTS:
                await self._skip(entry)
                continue
            try:
                await self._apply(Batch([entry], entry.index + 1, batch.end))
            except Exception as error:
                if not may_pass(error):
                    self._failures[entry.index] = (attempts + 1, f"{type(error).__name__}: {error}")
                raise
        if self._position < batch.next:
            await self._apply(Batch((), batch.next, batch.end))

    async def _skip(self, entry: T) -> None:
        _, reason = self._failures[entry.index]
        await self._handler.skip(self._position, entry, reason, leading=self._leading)
        self._position = entry.index + 1
        self._skipped += 1
        report_skipped(self.consumer, self.tenant, entry.index, reason)


def may_pass(error: Exception) -> bool:
    """True if an error is not the fault of the entry that was handled, so that no entry is skipped for it.

    Services answer with InvalidArgument, NotFound, Internal or DataLoss about what was asked for, which
    follows from the entry. An inconsistent log is no entry's fault, and neither is a refused token.
    """
    if isinstance(error, DataLoss):
        return error.reason == _WHOLE_LOG
    return isinstance(error, _MAY_PASS)


def report_skipped(consumer: str, tenant: str, log_index: int, reason: str) -> None:
    """Says in the process's log and metrics that an entry could not be used."""
    _LOG.error(
        "%s: entry %d of the log of %s cannot be used and is skipped: %s", consumer, log_index, tenant, reason
    )
    _SKIPPED.add(1, {"consumer": consumer, "tenant": tenant})


def _joined(batches: Sequence[Batch[T]]) -> Batch[T]:
    """Consecutive batches as one."""
    if len(batches) == 1:
        return batches[0]
    return Batch([item for batch in batches for item in batch.items], batches[-1].next, batches[-1].end)
