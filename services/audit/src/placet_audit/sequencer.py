"""Group commit: one transaction makes all waiting appends durable."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from opentelemetry import context, trace

from placet_audit.domain import Append, Entry, Placed
from placet_rpc.errors import FailedPrecondition, ResourceExhausted, Unavailable
from placet_storage import DatabaseUnavailable

_tracer = trace.get_tracer("placet_audit")


class Log(Protocol):
    """Storage of batches; `placet_audit.store.Store` in production."""

    async def append(self, batch: Sequence[Append]) -> list[Placed | FailedPrecondition]:
        """Places and stores a batch in one transaction; the result is durable."""


@dataclass(frozen=True, slots=True)
class _Waiting:
    """Append of one caller. Its future is cancelled with the caller, without effect on other callers."""

    append: Append
    done: asyncio.Future[Placed]
    span: trace.Span = field(default_factory=trace.get_current_span)
    context: context.Context = field(default_factory=context.get_current)

    def resolve(self, outcome: Placed | Exception) -> None:
        if self.done.done():
            return
        if isinstance(outcome, Exception):
            self.done.set_exception(outcome)
        else:
            self.done.set_result(outcome)


class Sequencer:
    """Appends in batches. While one batch is committed, the next one is collected.

    `publish` gets the entries of each batch once they are durable, and must not raise. `queue_limit` bounds
    the waiting appends, `batch_limit` those in one transaction.
    """

    def __init__(
        self, log: Log, publish: Callable[[Sequence[Entry]], None], *, queue_limit: int, batch_limit: int
    ) -> None:
        self._log = log
        self._publish = publish
        self._queue: asyncio.Queue[_Waiting | None] = asyncio.Queue()
        self._queue_limit = queue_limit
        self._batch_limit = batch_limit
        self._closed = False

    async def append(self, append: Append) -> Placed:
        """Places and stores an append; returns once it is durable.

        Raises FailedPrecondition GAP; ResourceExhausted when too many appends wait; Unavailable when the
        database cannot be written or the service is stopping. After Unavailable, or a cancellation, the
        append may have been stored: a retry of the same append answers which.
        """
        if self._closed:
            raise Unavailable("The log is shutting down; send the same again.")
        if self._queue.qsize() >= self._queue_limit:
            raise ResourceExhausted("Too many appends are waiting; send the same again later.")
        waiting = _Waiting(append, asyncio.get_running_loop().create_future())
        self._queue.put_nowait(waiting)
        return await waiting.done

    async def run(self) -> None:
        """Commits batches until `close`, and then what still waits."""
        while batch := await self._next_batch():
            await self._settle(batch)

    def close(self) -> None:
        """Refuses further appends; `run` returns once the waiting ones are settled. Safe to call twice."""
        if not self._closed:
            self._closed = True
            self._queue.put_nowait(None)

    async def _next_batch(self) -> list[_Waiting]:
        """Returns the waiting appends, from one to the limit; none after `close`."""
        batch: list[_Waiting] = []
        while len(batch) < self._batch_limit and not (batch and self._queue.empty()):
            waiting = await self._queue.get()
            if waiting is None:
                self._queue.put_nowait(None)  # Keeps the end mark last.
                break
            if not waiting.done.cancelled():
                batch.append(waiting)
        return batch

    async def _settle(self, batch: Sequence[_Waiting]) -> None:
        try:
            with _commit_span(batch):
                placed = await self._log.append([waiting.append for waiting in batch])
        except DatabaseUnavailable as error:
            _fail(batch, error)
        except Exception as error:  # noqa: BLE001  # a bad append fails alone, not its batch
            if len(batch) == 1:
                batch[0].resolve(error)
                return
            for waiting in batch:
                await self._settle([waiting])
        else:
            for waiting, outcome in zip(batch, placed, strict=True):
                waiting.resolve(outcome)
            self._publish([entry for one in placed if isinstance(one, Placed) for entry in one.new])


@contextmanager
def _commit_span(batch: Sequence[_Waiting]) -> Iterator[None]:
    """Opens the span of one transaction: a child of the first caller's span, linked with the others'.

    It is not made the current span, so that the database adds no second span of the same length.
    """
    first, *others = batch
    span = _tracer.start_span(
        "audit.commit",
        context=first.context,
        links=[trace.Link(waiting.span.get_span_context()) for waiting in others],
        attributes={"placet.batch": len(batch)},
    )
    for waiting in others:
        waiting.span.add_link(span.get_span_context())
    try:
        yield
    except Exception as error:
        span.record_exception(error)
        span.set_status(trace.StatusCode.ERROR)
        raise
    finally:
        span.end()


def _fail(batch: Sequence[_Waiting], cause: DatabaseUnavailable) -> None:
    for waiting in batch:
        unavailable = Unavailable("The log cannot be written now; send the same again.")
        unavailable.__cause__ = cause
        waiting.resolve(unavailable)
