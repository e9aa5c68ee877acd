"""Spans in one SQLite file, bounded."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from placet_devstack.spans.model import Span

DEFAULT_LIMIT = 200_000

_SCHEMA = """
CREATE TABLE IF NOT EXISTS span (
    trace_id TEXT NOT NULL,
    span_id TEXT NOT NULL,
    parent_id TEXT NOT NULL,
    name TEXT NOT NULL,
    service TEXT NOT NULL,
    kind TEXT NOT NULL,
    start INTEGER NOT NULL,
    "end" INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    message TEXT NOT NULL,
    attributes TEXT NOT NULL,
    links TEXT NOT NULL,
    PRIMARY KEY (trace_id, span_id)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS trace (
    trace_id TEXT PRIMARY KEY,
    spans INTEGER NOT NULL,
    touched INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS trace_touched ON trace (touched);
"""
_COLUMNS = (
    'trace_id, span_id, parent_id, name, service, kind, start, "end", failed, message, attributes, links'
)
_UPSERT = f"""
INSERT INTO span ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET parent_id = excluded.parent_id, name = excluded.name, service = excluded.service,
    kind = excluded.kind, start = excluded.start, "end" = excluded."end", failed = excluded.failed,
    message = excluded.message, attributes = excluded.attributes, links = excluded.links
"""  # noqa: S608 - nothing comes from outside
_BUSY_SECONDS = 5.0


class SpanStore:
    """The one writer of a file of spans. Not for use by two threads at once."""

    def __init__(self, path: Path, *, limit: int = DEFAULT_LIMIT) -> None:
        """Opens or creates the file, readable by its owner only. `limit`: how many spans are kept.

        Raises sqlite3.Error or OSError if it cannot.
        """
        if limit < 10:
            raise ValueError("a store of fewer than 10 spans keeps no trace")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        self._limit = limit
        # Any thread may call, one after the other: writes are handed to a worker thread.
        self._connection = sqlite3.connect(
            path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        # Spans explain, they do not decide: not worth a sync that would compete with the audit log's.
        for statement in ("PRAGMA journal_mode=WAL", "PRAGMA synchronous=OFF"):
            self._connection.execute(statement).close()
        self._connection.executescript(_SCHEMA)

    def add(self, spans: Sequence[Span]) -> int:
        """Keeps the spans, in one transaction, and returns how many were left out.

        A span that is there already is replaced. When more than `limit` would be kept, the traces that
        were quiet for longest go, whole; of a single trace at most a tenth of `limit` is kept.
        """
        if not spans:
            return 0
        now = time.time_ns()
        with self._connection:  # Commits, or rolls back.
            self._connection.execute("BEGIN IMMEDIATE")
            full = {trace_id for trace_id in {span.trace_id for span in spans} if self._is_full(trace_id)}
            kept = [span for span in spans if span.trace_id not in full]
            self._connection.executemany(_UPSERT, [_row(span) for span in kept])
            for trace_id in {span.trace_id for span in kept}:
                self._count(trace_id, now)
            self._forget()
        return len(spans) - len(kept)

    def close(self) -> None:
        """Moves the write-ahead log into the file and closes it."""
        self._connection.close()

    def _is_full(self, trace_id: str) -> bool:
        # As counted after the batch before: a batch is small against a tenth of the limit.
        row = self._connection.execute("SELECT spans FROM trace WHERE trace_id = ?", (trace_id,)).fetchone()
        return row is not None and row[0] >= self._limit // 10

    def _count(self, trace_id: str, now: int) -> None:
        self._connection.execute(
            "INSERT INTO trace SELECT ?1, count(*), ?2 FROM span WHERE trace_id = ?1"
            " ON CONFLICT DO UPDATE SET spans = excluded.spans, touched = excluded.touched",
            (trace_id, now),
        )

    def _forget(self) -> None:
        (total,) = self._connection.execute("SELECT coalesce(sum(spans), 0) FROM trace").fetchone()
        if total <= self._limit:
            return
        # A tenth more than needed, so that this is rare.
        target = self._limit - self._limit // 10
        oldest = self._connection.execute("SELECT trace_id, spans FROM trace ORDER BY touched").fetchall()
        for trace_id, spans in oldest:
            if total <= target:
                return
            for table in ("span", "trace"):
                self._connection.execute(
                    f"DELETE FROM {table} WHERE trace_id = ?",  # noqa: S608 - our own table names
                    (trace_id,),
                )
            total -= spans


def load_trace(database: Path, trace_id: str) -> list[Span]:
    """The spans of a trace, by start. Empty if there are none, or no file yet. `trace_id`: 32 hex digits.

    Works while the store is written to, and after it was closed. Raises sqlite3.Error if the file is damaged.
    """
    if not database.exists():
        return []
    uri = f"{database.resolve().as_uri()}?mode=ro"
    with closing(sqlite3.connect(uri, uri=True, timeout=_BUSY_SECONDS)) as connection:
        rows = connection.execute(
            f'SELECT {_COLUMNS} FROM span WHERE trace_id = ? ORDER BY start, "end" DESC, span_id',  # noqa: S608 - our own columns
            (trace_id.lower(),),
        ).fetchall()
    return [_span(row) for row in rows]


def _row(span: Span) -> tuple[str | int, ...]:
    return (
        span.trace_id,
        span.span_id,
        span.parent_id,
        span.name,
        span.service,
        span.kind,
        span.start,
        span.end,
        int(span.failed),
        span.message,
        json.dumps(span.attributes),
        json.dumps(span.links),
    )


def _span(row: Sequence[object]) -> Span:
    *texts, start, end, failed, message, attributes, links = row
    trace_id, span_id, parent_id, name, service, kind = map(str, texts)
    return Span(
        trace_id=trace_id,
        span_id=span_id,
        parent_id=parent_id,
        name=name,
        service=service,
        kind=kind,
        start=int(str(start)),
        end=int(str(end)),
        failed=bool(failed),
        message=str(message),
        attributes=json.loads(str(attributes)),
        links=tuple((trace, span) for trace, span in json.loads(str(links))),
    )
