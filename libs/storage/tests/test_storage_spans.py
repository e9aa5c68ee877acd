"""A transaction shows in the trace that it belongs to."""

from __future__ import annotations

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from sqlalchemy import Connection, text

from placet_storage import Database
from placet_storage import database as database_module


@pytest.fixture
def exporter(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(database_module, "_tracer", provider.get_tracer("test"))
    return exporter


async def test_a_transaction_is_a_child_span_that_names_its_database(
    database: Database, exporter: InMemorySpanExporter
) -> None:
    with TracerProvider().get_tracer("caller").start_as_current_span("call") as parent:
        insert = text("INSERT INTO note (number, body) VALUES (1, '')")
        await database.transact(Connection.execute, insert, operation="append events")
        seen_by_the_work = await database.query(lambda _: trace.get_current_span())
        assert trace.get_current_span() is parent
    write, read = exporter.get_finished_spans()
    assert seen_by_the_work.get_span_context() == read.get_span_context()
    assert (write.name.split()[:2], read.name.split()[0]) == (["append", "events"], "read")
    assert write.kind is SpanKind.CLIENT
    assert write.parent == parent.get_span_context()
    assert write.attributes is not None
    assert write.attributes["db.system.name"] == database.dialect
    assert write.name.endswith(str(write.attributes["db.namespace"]))


async def test_a_transaction_that_fails_is_marked(database: Database, exporter: InMemorySpanExporter) -> None:
    def work(_: Connection) -> None:
        raise LookupError

    with TracerProvider().get_tracer("caller").start_as_current_span("call"), pytest.raises(LookupError):
        await database.transact(work)
    (span,) = exporter.get_finished_spans()
    assert span.status.status_code is StatusCode.ERROR


async def test_a_transaction_outside_any_trace_starts_none(
    database: Database, exporter: InMemorySpanExporter
) -> None:
    await database.query(lambda _: None)
    assert exporter.get_finished_spans() == ()
