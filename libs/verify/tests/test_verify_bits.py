"""Bits of all that is stored of a log: whichever is flipped, the entry or the checkpoint is named."""

from __future__ import annotations

import random
import re
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from placet.event.v1 import event_pb2
from placet_proof import ERASABLE
from placet_testing.properties import bits_to_flip
from placet_testing.sample_home import SampleLog
from placet_testing.sample_log import Logbook
from placet_verify import Finding, Row, SqliteSource, Table
from placet_verify.sqlite import NotUtf8

pytestmark = pytest.mark.integration

INTEGER_BYTES = 8


@dataclass(frozen=True)
class Flip:
    """A bit of a column of a row."""

    table: Table
    at: int
    column: int
    bit: int

    def applied(self, rows: Logbook) -> Logbook:
        """The rows with this bit flipped."""
        row = list(rows.tables[self.table][self.at])
        row[self.column] = flipped(row[self.column], self.bit)
        changed = rows.copied()
        changed.tables[self.table][self.at] = tuple(row)
        return changed


def flipped(value: object, bit: int) -> object:
    """A column's value as the database gives it when this bit of it is another."""
    if isinstance(value, int):
        return int.from_bytes(flip(value.to_bytes(8, "big", signed=True), bit), "big", signed=True)
    if isinstance(value, bytes):
        return flip(value, bit)
    raw = flip(str(value).encode(), bit)
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return NotUtf8(raw)


def flip(raw: bytes, bit: int) -> bytes:
    changed = bytearray(raw)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def flips(rows: Logbook, table: Table) -> Iterator[Flip]:
    """One for each bit of a table; see `bits_to_flip`."""
    for at, row in enumerate(rows.tables[table]):
        for column, value in enumerate(row):
            size = INTEGER_BYTES if isinstance(value, int) else len(raw_of(value))
            yield from (Flip(table, at, column, bit) for bit in bits_to_flip(size))


def raw_of(value: object) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()


def named(findings: list[Finding], table: Table, before: Row, after: Row) -> bool:
    """True if the findings name the changed entry or checkpoint, by its old name or its new one."""
    if table is Table.CHECKPOINT:
        places = {(row[0], row[1]) for row in (before, after)}
        return any((one.tenant, one.checkpoint) in places for one in findings) or (
            # Of a tenant without a name, its rows are named as a whole.
            not isinstance(after[0], str) and any(repr(after[0]) in one.what for one in findings)
        )
    index = before[1]
    assert isinstance(index, int)
    return any(one.tenant == before[0] and one.names(index) for one in findings)


def test_the_sample_is_whole_and_holds_what_there_can_be(sample: SampleLog) -> None:
    assert sample.findings(sample.rows) == []
    with closing(SqliteSource(sample.home.database("audit"))) as source:
        assert sample.findings(source) == []
    tenants = {"default", "eventful", "other"}
    assert {row[0] for rows in sample.rows.tables.values() for row in rows} == tenants
    assert all(len(sample.rows.of(table, tenant)) > 1 for table in Table for tenant in tenants)


def test_the_sample_holds_each_kind_of_entry_and_of_value(sample: SampleLog) -> None:
    entries = [event_pb2.Entry.FromString(raw_of(row[-1])) for row in sample.rows.tables[Table.ENTRY]]
    kinds = {field.name for field in event_pb2.Event.DESCRIPTOR.oneofs_by_name["body"].fields}
    assert {entry.event.WhichOneof("body") for entry in entries} == kinds
    paths = {re.sub(r"\[\d+\]", "[]", str(row[2])) for row in sample.rows.tables[Table.DISCLOSURE]}
    assert paths == set(ERASABLE)


@pytest.mark.parametrize("table", Table, ids=lambda table: table.label)
@pytest.mark.usefixtures("unchanged_parts_remembered")
def test_a_flipped_bit_is_found_where_it_is(sample: SampleLog, table: Table) -> None:
    tried, missed = 0, []
    for one in flips(sample.rows, table):
        changed = one.applied(sample.rows)
        before, after = sample.rows.tables[table][one.at], changed.tables[table][one.at]
        # Nothing but a tenant's own rows is looked at for its log, and there are many bits.
        found = sample.findings(changed, tenant=str(before[0]) if before[0] == after[0] else "")
        tried += 1
        if not named(found, table, before, after):
            missed.append(one)
    assert missed == []
    assert tried > 1000


ANYTHING = st.none() | st.integers(-(2**63), 2**63 - 1) | st.floats() | st.text() | st.binary()


@given(data=st.data())
def test_whatever_stands_in_a_columns_place_is_found(sample: SampleLog, data: st.DataObject) -> None:
    table = data.draw(st.sampled_from(list(Table)))
    at = data.draw(st.integers(0, len(sample.rows.tables[table]) - 1))
    column = data.draw(st.sampled_from(("tenant", *table.columns)))
    changed = sample.rows.copied()
    changed.set(table, at, **{column: data.draw(ANYTHING | st.builds(NotUtf8, st.binary()))})
    # What is equal to what was there (5.0 and 5) is the same to SQLite too, which stores one as the other.
    assert sample.findings(changed) or changed.tables[table] == sample.rows.tables[table]


def test_flipped_bits_are_found_in_real_files_too(sample: SampleLog, tmp_path: Path) -> None:
    every = [one for table in Table for one in flips(sample.rows, table)]
    tried = 0
    for one in random.Random(23).sample(every, 150):
        changed = one.applied(sample.rows)
        path = tmp_path / "audit.db"
        shutil.copy(sample.home.database("audit"), path)
        try:
            changed.write(path)
        except sqlite3.IntegrityError:
            continue  # another row is in that place
        before, after = (rows.tables[one.table][one.at] for rows in (sample.rows, changed))
        with closing(SqliteSource(path)) as source:
            found = sample.findings(source)
        assert named(found, one.table, before, after), one
        tried += 1
    assert tried > 100
