"""Group commit: one coroutine makes all waiting appends durable, with one transaction for all of them."""

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
    """Where batches go; `placet_audit.store.Store` in earnest."""

    async def append(self, batch: Sequence[Append]) -> list[Placed | FailedPrecondition]:
        """Judge and store a batch in one transaction; what is returned is durable."""


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A caller's append. The future is cancelled when the caller goes away, which harms nobody else."""

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
    """Appends in batches. While one batch is being made durable, the next one gathers.

    `publish` is told each batch's entries once they are durable, and must not raise. `queue_limit` bounds
    the appends that wait, `batch_limit` those in one transaction.
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
        """Have an append judged and stored; returns once that is durable.

        Raises FailedPrecondition GAP; ResourceExhausted when too many wait already; Unavailable when the
        database cannot be written or the service is stopping. After Unavailable, or when cancelled, the
        append may have happened: sending the same again tells.
        """
        if self._closed:
            raise Unavailable("The log is shutting down; send the same again.")
        if self._queue.qsize() >= self._queue_limit:
            raise ResourceExhausted("Too many appends are waiting; send the same again later.")
        waiting = _Waiting(append, asyncio.get_running_loop().create_future())
        self._queue.put_nowait(waiting)
        return await waiting.done

    async def run(self) -> None:
        """Commit batch after batch until `close`, and then what still waits."""
        while batch := await self._next_batch():
            await self._settle(batch)

    def close(self) -> None:
        """Take no more appends; `run` returns once those that wait are settled. Safe to call twice."""
        if not self._closed:
            self._closed = True
            self._queue.put_nowait(None)

    async def _next_batch(self) -> list[_Waiting]:
        """All that wait, at least one, at most the limit; empty only at the end."""
        batch: list[_Waiting] = []
        while len(batch) < self._batch_limit and not (batch and self._queue.empty()):
            waiting = await self._queue.get()
            if waiting is None:
                self._queue.put_nowait(None)  # the end stays at the end
                break
            if not waiting.done.cancelled():
                batch.append(waiting)
        return batch

    async def _settle(self, batch: Sequence[_Waiting]) -> None:
        try:
            with _commit_span(batch):
                judged = await self._log.append([waiting.append for waiting in batch])
        except DatabaseUnavailable as error:
            _fail(batch, error)
        except Exception as error:  # noqa: BLE001  # whatever a batch fails of, only the bad item may fail
            if len(batch) == 1:
                batch[0].resolve(error)
                return
            for waiting in batch:
                await self._settle([waiting])
        else:
            for waiting, outcome in zip(batch, judged, strict=True):
                waiting.resolve(outcome)
            self._publish([entry for placed in judged if isinstance(placed, Placed) for entry in placed.new])


@contextmanager
def _commit_span(batch: Sequence[_Waiting]) -> Iterator[None]:
    """One transaction's span, below the first caller's; the other callers' spans and it link to each other.

    It is not made the current one, so that the database below adds no second span of the same length.
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
