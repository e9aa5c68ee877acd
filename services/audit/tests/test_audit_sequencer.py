"""Group commit: what each caller may rely on, whatever the others of its batch do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import ExitStack, asynccontextmanager

import pytest
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from placet_audit import sequencer as sequencer_module
from placet_audit.domain import Append, Entry, Heads, Placed, place_all
from placet_audit.sequencer import Log, Sequencer
from placet_audit.store import Store
from placet_rpc.errors import FailedPrecondition, ResourceExhausted, Unavailable
from placet_storage import DatabaseUnavailable

MakeAppend = Callable[..., Append]
CommandResult = list[Placed | FailedPrecondition]


class Watched:
    """A log that counts its transactions, and makes none while `gate` is closed."""

    def __init__(self, log: Log) -> None:
        self.batches: list[int] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self._log = log

    async def append(self, batch: Sequence[Append]) -> CommandResult:
        self.batches.append(len(batch))
        await self.gate.wait()
        return await self._log.append(batch)


class InMemory:
    """The rules without a database. A batch that holds a cause named in `failures` raises."""

    def __init__(self, **failures: Exception) -> None:
        self.entries: list[Entry] = []
        self._failures = failures
        self._heads = Heads(sizes={"default": 0}, attesting=())

    async def append(self, batch: Sequence[Append]) -> CommandResult:
        for cause in [draft.cause_id for append in batch for draft in append.drafts]:
            if cause in self._failures:
                raise self._failures[cause]
        results = place_all(self._heads, batch)
        self.entries += [entry for placed in results if isinstance(placed, Placed) for entry in placed.new]
        return results


@asynccontextmanager
async def sequencing(
    log: Log, published: list[Entry] | None = None, queue_limit: int = 1000
) -> AsyncIterator[Sequencer]:
    heard = [] if published is None else published
    sequencer = Sequencer(log, heard.extend, queue_limit=queue_limit, batch_limit=100)
    task = asyncio.create_task(sequencer.run())
    try:
        yield sequencer
    finally:
        sequencer.close()
        await task


async def start(sequencer: Sequencer, *appends: Append) -> list[asyncio.Task[Placed]]:
    """The appends as calls that wait in the queue, or in a batch."""
    tasks = [asyncio.create_task(sequencer.append(append)) for append in appends]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return tasks


async def test_of_two_appends_with_one_expected_number_one_wins_and_the_other_is_told(
    store: Store, make_append: MakeAppend
) -> None:
    async with sequencing(store) as sequencer:
        first, second = await asyncio.gather(
            sequencer.append(make_append("r1", 1, "a")), sequencer.append(make_append("r1", 1, "b"))
        )

    assert sorted([bool(first.new), bool(second.new)]) == [False, True]
    assert len((await store.entries("default", 0, 10)).entries) == 1


async def test_200_concurrent_appends_take_few_transactions(store: Store, make_append: MakeAppend) -> None:
    watched = Watched(store)
    published: list[Entry] = []

    async with sequencing(watched, published) as sequencer:
        placed = await asyncio.gather(
            *(sequencer.append(make_append(f"r{i}", 1, f"c{i}")) for i in range(200))
        )

    assert all(one.complete for one in placed)
    assert len(watched.batches) <= 5
    assert [entry.index for entry in published] == list(range(200))
    assert await store.size("default") == 200


async def test_an_append_is_answered_only_once_its_batch_is_durable(make_append: MakeAppend) -> None:
    watched = Watched(InMemory())
    watched.gate.clear()

    async with sequencing(watched) as sequencer:
        (call,) = await start(sequencer, make_append("r1", 1, "a"))
        assert watched.batches == [1]
        assert not call.done()
        watched.gate.set()
        assert (await call).complete


async def test_a_gap_fails_its_own_caller_only(store: Store, make_append: MakeAppend) -> None:
    watched = Watched(store)
    watched.gate.clear()

    async with sequencing(watched) as sequencer:
        calls = await start(
            sequencer, make_append("r0", 1, "a"), make_append("r1", 7, "b"), make_append("r2", 1, "c")
        )
        watched.gate.set()
        with pytest.raises(FailedPrecondition):
            await calls[1]
        assert (await calls[0]).complete
        assert (await calls[2]).complete


async def test_an_append_that_the_database_chokes_on_fails_alone(make_append: MakeAppend) -> None:
    log = InMemory(bad=RuntimeError("chokes"))
    watched = Watched(log)
    watched.gate.clear()

    async with sequencing(watched) as sequencer:
        (first,) = await start(sequencer, make_append("r0", 1, "opens the queue"))
        rest = await start(sequencer, *(make_append(f"r{c}", 1, c) for c in ("x", "bad", "y")))
        watched.gate.set()
        results = await asyncio.gather(first, *rest, return_exceptions=True)

    assert [isinstance(result, Placed) for result in results] == [True, True, False, True]
    assert isinstance(results[2], RuntimeError)
    assert watched.batches == [1, 3, 1, 1, 1]
    assert [entry.draft.cause_id for entry in log.entries] == ["opens the queue", "x", "y"]


async def test_a_database_that_is_away_is_unavailable_to_every_caller_and_the_next_append_works(
    make_append: MakeAppend,
) -> None:
    log = InMemory(away=DatabaseUnavailable("gone"))

    async with sequencing(log) as sequencer:
        calls = await start(sequencer, make_append("r1", 1, "away"), make_append("r2", 1, "b"))
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert [type(result) for result in results] == [Unavailable, Unavailable]
        assert results[0] is not results[1]
        assert (await sequencer.append(make_append("r2", 1, "b"))).complete


async def test_callers_who_go_away_harm_no_other_of_their_batch(make_append: MakeAppend) -> None:
    log = InMemory()
    watched = Watched(log)
    watched.gate.clear()

    async with sequencing(watched) as sequencer:
        (in_batch,) = await start(sequencer, make_append("r1", 1, "in a batch"))
        in_queue, other = await start(
            sequencer, make_append("r2", 1, "in the queue"), make_append("r3", 1, "other")
        )
        in_batch.cancel()
        in_queue.cancel()
        await asyncio.sleep(0)
        watched.gate.set()
        assert (await other).complete

    assert [entry.draft.cause_id for entry in log.entries] == ["in a batch", "other"]


async def test_a_full_queue_refuses_at_once_and_recovers(make_append: MakeAppend) -> None:
    watched = Watched(InMemory())
    watched.gate.clear()

    async with sequencing(watched, queue_limit=2) as sequencer:
        await start(sequencer, make_append("r0", 1, "a"))
        waiting = await start(sequencer, *(make_append(f"r{i}", 1, "a") for i in (1, 2)))
        with pytest.raises(ResourceExhausted):
            await sequencer.append(make_append("r3", 1, "a"))
        watched.gate.set()
        await asyncio.gather(*waiting)
        assert (await sequencer.append(make_append("r3", 1, "a"))).complete


async def test_a_stop_settles_what_waits_and_takes_no_more(make_append: MakeAppend) -> None:
    watched = Watched(InMemory())
    watched.gate.clear()

    async with sequencing(watched) as sequencer:
        calls = await start(sequencer, make_append("r0", 1, "a"))
        calls += await start(sequencer, *(make_append(f"r{i}", 1, "a") for i in range(1, 150)))
        sequencer.close()
        with pytest.raises(Unavailable):
            await sequencer.append(make_append("late", 1, "a"))
        watched.gate.set()

    assert all(placed.complete for placed in await asyncio.gather(*calls))


async def test_a_commit_is_one_span_below_its_first_caller_and_linked_with_the_others(
    make_append: MakeAppend, monkeypatch: pytest.MonkeyPatch
) -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("test")
    monkeypatch.setattr(sequencer_module, "_tracer", tracer)
    watched = Watched(InMemory())
    watched.gate.clear()

    async with sequencing(watched) as sequencer:
        calls = await start(sequencer, make_append("r0", 1, "a"))
        with ExitStack() as callers:
            for i in (1, 2, 3):
                callers.enter_context(tracer.start_as_current_span(f"caller {i}", Context()))
                calls += await start(sequencer, make_append(f"r{i}", 1, "a"))
            watched.gate.set()
            await asyncio.gather(*calls)

    spans = exporter.get_finished_spans()
    commit = next(span for span in spans if attribute(span) == 3)
    assert {span.name for span in spans} == {"audit.commit", "caller 1", "caller 2", "caller 3"}
    first, *others = [named(spans, f"caller {i}") for i in (1, 2, 3)]
    assert commit.parent == first.context
    assert [link.context for link in commit.links] == [span.context for span in others]
    assert [[link.context for link in span.links] for span in others] == [[commit.context]] * 2


def attribute(span: ReadableSpan) -> object:
    return (span.attributes or {}).get("placet.batch")


def named(spans: Sequence[ReadableSpan], name: str) -> ReadableSpan:
    return next(span for span in spans if span.name == name)
