"""A log in a SQLite file, read and never written."""

from __future__ import annotations

import errno
import re
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from placet_verify.errors import fault_of
from placet_verify.findings import Findings
from placet_verify.rows import TENANTS, Record, Row, Table, Unreadable, merged
from placet_verify.schema import SchemaObject, schema_faults
from placet_verify.sqlite_schema import EXPECTED, QUERY

# Errors whose words quote what is damaged are no UTF-8 either.
_BROKEN = (sqlite3.Error, UnicodeDecodeError, OverflowError, MemoryError)
_ROW = re.compile(r"row (\d+) missing from index (\S+)")


# Of what SQLite says at once.
_MOST_LINES = 3


@dataclass(frozen=True, slots=True)
class NotUtf8:
    """A value that should be text and is not."""

    raw: bytes


def _text(found: bytes) -> str | NotUtf8:
    try:
        return found.decode()
    except UnicodeDecodeError:
        return NotUtf8(found)


def _first_lines(said: str) -> str:
    lines = said.splitlines()
    more = len(lines) - _MOST_LINES
    return "; ".join(lines[:_MOST_LINES]) + (f"; and {more:,} lines more" if more > 0 else "")


class SqliteSource:
    """The tables in a file, as one snapshot; a service may go on writing meanwhile."""

    has_tables = True

    def __init__(self, path: Path) -> None:
        """Raises OSError if there is no such file, or it cannot be opened."""
        # SQLite says of any of this only that it is "unable to open database file".
        with path.open("rb"):
            pass
        self._log = path.with_name(path.name + "-wal")
        # Without a write-ahead log nobody has the file open. Then none is made: it would belong to who
        # verifies, and a service that starts later could not write to it.
        self._alone = not self._log.exists()
        uri = f"file:{quote(str(path.absolute()))}?mode=ro{'&immutable=1' * self._alone}"
        try:
            self._connection = sqlite3.connect(uri, uri=True, isolation_level=None)
            self._connection.text_factory = _text
            self._connection.execute("BEGIN")
        except sqlite3.Error as error:
            raise OSError(errno.EIO, str(error), str(path)) from error

    @property
    def overtaken(self) -> bool:
        """True when a service opened the file meanwhile and may have caused the findings."""
        return self._alone and self._log.exists()

    def close(self) -> None:
        """Ends the snapshot."""
        self._connection.close()

    def damage(self) -> Iterator[str]:
        """Faults found by SQLite's integrity check: of pages, and of indexes against their tables."""
        try:
            with closing(self._connection.execute("PRAGMA integrity_check")) as cursor:
                for (said,) in cursor:
                    if said != "ok":
                        yield f"SQLite's own check says: {_first_lines(str(said))}{self._place(str(said))}"
        except _BROKEN as error:
            yield f"SQLite cannot check the file: {fault_of(error)}"

    def schema_faults(self) -> Iterator[str]:
        """See Source."""
        return schema_faults(EXPECTED, (SchemaObject.of(*row) for row in self._read(QUERY, ())))

    def tenants(self) -> Sequence[object]:
        """See Source."""
        self._refuse_views()
        return [tenant for (tenant,) in self._read(TENANTS, ())]

    def rows(self, table: Table, tenant: str) -> Iterator[Row]:
        """See Tables."""
        self._refuse_views()
        return self._read(table.query.format("?"), (tenant,))

    def records(self, tenant: str, findings: Findings) -> Iterator[Record]:
        """See Source."""
        return merged(self, tenant, findings)

    def _read(self, query: str, parameters: tuple[str, ...]) -> Iterator[Row]:
        try:
            with closing(self._connection.execute(query, parameters)) as cursor:
                yield from cursor
        except _BROKEN as error:
            raise Unreadable(fault_of(error)) from error

    def _refuse_views(self) -> None:
        """Raises Unreadable where a table of the log is none: a view can have rows without end."""
        for table in Table:
            found = self._read("SELECT type FROM sqlite_master WHERE name = ?", (table.label,))
            if [kind for (kind,) in found] not in ([], ["table"]):
                raise Unreadable(f"{table.label} is no table")

    def _place(self, said: str) -> str:
        """The entry's index, for an error that names only the row's number."""
        match = _ROW.search(said)
        if match is None:
            return ""
        for table in Table:
            if match[2].startswith((f"sqlite_autoindex_{table.label}_", f"{table.label}_")):
                query = f'SELECT tenant, "{table.columns[0]}" FROM {table.label} NOT INDEXED WHERE rowid = ?'  # noqa: S608  # names of ours
                for tenant, place in self._read(query, (match[1],)):
                    return f", which is {table.columns[0]} {place} of {tenant}"
        return ""
