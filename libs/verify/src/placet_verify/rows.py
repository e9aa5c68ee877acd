"""Stored rows of a log, not trusted, and their merge into one record for each index."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

from placet_verify.findings import Check, Findings, quoted

Row = Sequence[object]


class Unreadable(Exception):
    """The storage cannot be read (any further); the text is the reason."""


class Table(Enum):
    """The tables of a log, each with its columns after the tenant. The first gives the order."""

    ENTRY = ("entry", ("index", "approval_id", "number", "cause_id", "leaf"))
    DISCLOSURE = ("disclosure", ("index", "path", "salt", "value"))
    TREE = ("tree", ("index", "roots"))
    CHECKPOINT = ("checkpoint", ("size", "note"))

    def __init__(self, label: str, columns: tuple[str, ...]) -> None:
        self.label = label
        self.columns = columns

    @property
    def query(self) -> str:
        """SQL that reads a tenant's rows in order, with `{}` where the tenant is to stand."""
        named = ", ".join(f'"{column}"' for column in self.columns)
        order = '"index", path' if self is Table.DISCLOSURE else f'"{self.columns[0]}"'
        return f"SELECT {named} FROM {self.label} WHERE tenant = {{}} ORDER BY {order}"  # noqa: S608  # names of ours


TENANTS = " UNION ".join(f"SELECT tenant FROM {table.label}" for table in Table)  # noqa: S608  # names of ours
"""SQL that names everyone of whom there is a row."""


@dataclass(slots=True)
class Record:
    """All that is stored of one index: of each table as many rows as there are; one, if all is well.

    `entries`: approval_id, number, cause_id, leaf. `values`: path, salt, value. `roots` and `notes` hold one
    column only; `notes` are of the checkpoint in which this index is the last.
    """

    index: int
    entries: list[Row] = field(default_factory=list)
    values: list[Row] = field(default_factory=list)
    roots: list[object] = field(default_factory=list)
    notes: list[object] = field(default_factory=list)


class Source(Protocol):
    """The storage of a log."""

    @property
    def has_tables(self) -> bool:
        """False: what is stored is the leaves, their values and checkpoints, and nothing beside them."""

    def damage(self) -> Iterator[str]:
        """Faults that the storage finds in itself, in words."""

    def schema_faults(self) -> Iterator[str]:
        """Tables and triggers that are gone, changed or extra, in words. Raises Unreadable."""

    def tenants(self) -> Sequence[object]:
        """The tenants that have logs. Raises Unreadable."""

    def records(self, tenant: str, findings: Findings) -> Iterator[Record]:
        """The stored records of a tenant's log, in the order of indexes as far as they have one.

        What cannot be read, or has no place, is among the findings.
        """


class Tables(Protocol):
    """Storage of a log in tables."""

    def rows(self, table: Table, tenant: str) -> Iterator[Row]:
        """A tenant's rows, in order. Raises Unreadable."""


def merged(tables: Tables, tenant: str, findings: Findings) -> Iterator[Record]:
    """The records of a log that is kept in tables."""
    entries, values, roots, notes = streams = [_Stream(tables, one, tenant, findings) for one in Table]
    while ahead := [stream.index for stream in streams if stream.index is not None]:
        index = min(ahead)
        record = Record(index)
        while entries.index == index:
            record.entries.append(entries.take())
        while values.index == index:
            record.values.append(values.take())
        while roots.index == index:
            record.roots += roots.take()
        while notes.index == index:
            record.notes += notes.take()
        yield record


class _Stream:
    """A table's rows, one ahead. `index`: which entry the next row belongs to; None at the end."""

    def __init__(self, tables: Tables, table: Table, tenant: str, findings: Findings) -> None:
        self._table, self._tenant, self._findings = table, tenant, findings
        self._rows = tables.rows(table, tenant)
        # A checkpoint of so many entries belongs to the last of them.
        self._back = 1 if table is Table.CHECKPOINT else 0
        self._row: Row = ()
        self.index: int | None = None
        self._advance()

    def take(self) -> Row:
        """The next row, without its first column."""
        row = self._row
        self._advance()
        return row[1:]

    def _advance(self) -> None:
        read, self.index = self.index, None
        try:
            for row in self._rows:
                place = row[0]
                if isinstance(place, int):
                    self._row, self.index = row, place - self._back
                    return
                what = (
                    f"a row of table {self._table.label} has {quoted(place)} for its {self._table.columns[0]}"
                )
                self._findings.add(Check.TYPES, self._tenant, what)
        except Unreadable as error:
            what = f"table {self._table.label} cannot be read any further: {error}"
            self._findings.add(Check.FILE, self._tenant, what, first=0 if read is None else read + 1)
