"""Retention of the span store."""

from __future__ import annotations

import sqlite3
import stat
from pathlib import Path

import pytest

from placet_devstack.spans import Span, SpanStore, load_trace


def span(trace: int, number: int, **changes: object) -> Span:
    values: dict[str, object] = {
        "trace_id": f"{trace:032x}",
        "span_id": f"{number:016x}",
        "parent_id": "",
        "name": "call",
        "service": "approval",
        "kind": "server",
        "start": 1000 + number,
        "end": 2000 + number,
    }
    return Span(**{**values, **changes})  # type: ignore[arg-type]  # of its own fields


def test_a_span_comes_back_as_it_was_stored(tmp_path: Path) -> None:
    stored = span(
        1,
        7,
        parent_id=f"{6:016x}",
        failed=True,
        message="away",
        attributes={"a": [1, 2.5, None], "b": {"c": "ü"}, "d": True},
        links=((f"{9:032x}", f"{8:016x}"),),
    )
    store = SpanStore(tmp_path / "folder" / "spans.db")
    assert store.add([stored, span(2, 1)]) == 0
    # While the store is open, as `placet trace` reads it.
    assert load_trace(tmp_path / "folder" / "spans.db", stored.trace_id.upper()) == [stored]
    store.close()
    assert load_trace(tmp_path / "folder" / "spans.db", stored.trace_id) == [stored]


def test_a_trace_is_read_in_the_order_of_its_starts(tmp_path: Path) -> None:
    store = SpanStore(tmp_path / "spans.db")
    store.add([span(1, 3), span(1, 1)])
    store.add([span(1, 2)])
    assert [one.start for one in load_trace(tmp_path / "spans.db", f"{1:032x}")] == [1001, 1002, 1003]
    store.close()


def test_a_span_sent_twice_is_kept_once_as_last_sent(tmp_path: Path) -> None:
    store = SpanStore(tmp_path / "spans.db")
    store.add([span(1, 1, name="first")])
    store.add([span(1, 1, name="again"), span(1, 1, name="last"), span(2, 1)])
    assert [one.name for one in load_trace(tmp_path / "spans.db", f"{1:032x}")] == ["last"]
    store.close()


def test_spans_outlive_the_process(tmp_path: Path) -> None:
    store = SpanStore(tmp_path / "spans.db")
    store.add([span(1, 1)])
    store.close()
    reopened = SpanStore(tmp_path / "spans.db")
    reopened.add([span(1, 2)])
    assert len(load_trace(tmp_path / "spans.db", f"{1:032x}")) == 2
    reopened.close()


def test_beyond_the_limit_the_traces_that_were_quiet_longest_go_whole(tmp_path: Path) -> None:
    store = SpanStore(tmp_path / "spans.db", limit=100)
    for trace in range(20):
        store.add([span(trace, number) for number in range(5)])
    store.add([span(0, 6)])  # The oldest trace is heard of again, and there is one span too many.
    sizes = [len(load_trace(tmp_path / "spans.db", f"{trace:032x}")) for trace in range(20)]
    assert sizes == [6, 0, 0, 0] + [5] * 16 or sizes == [6, 0, 0] + [5] * 17
    assert sum(sizes) <= 100
    store.close()


def test_one_endless_trace_does_not_drive_out_the_others(tmp_path: Path) -> None:
    store = SpanStore(tmp_path / "spans.db", limit=100)
    store.add([span(1, 1)])
    left_out = sum(store.add([span(2, number)]) for number in range(500))
    assert left_out == 490
    assert len(load_trace(tmp_path / "spans.db", f"{2:032x}")) == 10
    assert len(load_trace(tmp_path / "spans.db", f"{1:032x}")) == 1
    store.close()


def test_without_a_file_there_are_no_spans_and_none_is_made(tmp_path: Path) -> None:
    assert load_trace(tmp_path / "spans.db", f"{1:032x}") == []
    assert list(tmp_path.iterdir()) == []


def test_a_batch_that_fails_is_not_stored_in_part(tmp_path: Path) -> None:
    store = SpanStore(tmp_path / "spans.db")
    with pytest.raises(OverflowError):
        store.add([span(1, 1), span(1, 2, start=2**70)])
    assert store.add([span(1, 3)]) == 0
    assert len(load_trace(tmp_path / "spans.db", f"{1:032x}")) == 1
    store.close()


def test_only_the_owner_can_read_the_file(tmp_path: Path) -> None:
    SpanStore(tmp_path / "spans.db").close()
    assert stat.S_IMODE((tmp_path / "spans.db").stat().st_mode) == 0o600


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "spans.db").write_text("not a database, " * 100)
    with pytest.raises(sqlite3.DatabaseError):
        SpanStore(tmp_path / "spans.db")
    with pytest.raises(sqlite3.DatabaseError):
        load_trace(tmp_path / "spans.db", f"{1:032x}")
