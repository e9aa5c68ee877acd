"""A transaction shows in the trace that it belongs to."""

from __future__ import annotations

import traceback
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from sqlalchemy import Connection, bindparam, text
from sqlalchemy.exc import StatementError

from placet_storage import Database, DatabaseUnavailable, UtcDateTime
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


SECRET = "alice@example.com wants a loan"
INSERT = text("INSERT INTO note (number, body, written_at) VALUES (:number, :body, :written_at)").bindparams(
    bindparam("written_at", type_=UtcDateTime())
)
ROW = {"number": 1, "body": SECRET, "written_at": datetime.now(UTC)}


def insert_twice(connection: Connection) -> None:
    """Fails in the database; PostgreSQL quotes the value that is there already."""
    connection.execute(text("CREATE UNIQUE INDEX one_body ON note (body)"))
    connection.execute(INSERT, [ROW, {**ROW, "number": 2}])


def insert_without_zone(connection: Connection) -> None:
    """Fails before the database sees it."""
    connection.execute(INSERT, {**ROW, "written_at": datetime.now(UTC).replace(tzinfo=None)})


def insert_one(connection: Connection) -> None:
    """Fails where nothing may be written; SQLite says so as of what may pass."""
    connection.execute(INSERT, ROW)


@pytest.mark.parametrize(
    ("run", "work"),
    [
        (Database.transact, insert_twice),
        (Database.transact, insert_without_zone),
        (Database.query, insert_one),
    ],
)
async def test_neither_span_nor_log_of_a_statement_that_fails_holds_what_it_was_about(
    database: Database,
    exporter: InMemorySpanExporter,
    run: Callable[[Database, Callable[[Connection], None]], Awaitable[None]],
    work: Callable[[Connection], None],
) -> None:
    with (
        TracerProvider().get_tracer("caller").start_as_current_span("call"),
        pytest.raises((StatementError, DatabaseUnavailable)) as failure,
    ):
        await run(database, work)
    (span,) = exporter.get_finished_spans()
    assert span.events
    assert SECRET not in "".join(traceback.format_exception(failure.value))
    assert SECRET not in span.to_json()
