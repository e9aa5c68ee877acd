"""A log in PostgreSQL, read and never written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import psycopg

from placet_verify.findings import Findings
from placet_verify.postgresql_schema import EXPECTED, QUERY
from placet_verify.rows import TENANTS, Record, Row, Table, Unreadable, merged
from placet_verify.schema import SchemaObject, schema_faults

# Rows that are fetched at once.
_AT_ONCE = 1000


class PostgresqlSource:
    """The tables in a database, as one snapshot; a service may go on writing meanwhile."""

    has_tables = True

    def __init__(self, url: str) -> None:
        """`url` as libpq takes it. Raises Unreadable."""
        try:
            self._connection = psycopg.connect(url)
            self._connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            self._connection.read_only = True
        except psycopg.Error as error:
            raise Unreadable(str(error)) from error

    def close(self) -> None:
        """Ends the snapshot."""
        self._connection.close()

    def damage(self) -> Iterator[str]:
        """Nothing: PostgreSQL reports damage when it reads it."""
        yield from ()

    def schema_faults(self) -> Iterator[str]:
        """See Source."""
        found = self._read("schema", QUERY, ())
        return schema_faults(EXPECTED, (SchemaObject.of(*row) for row in found))

    def tenants(self) -> Sequence[object]:
        """See Source."""
        return [tenant for (tenant,) in self._read("tenants", TENANTS, ())]

    def rows(self, table: Table, tenant: str) -> Iterator[Row]:
        """See Tables."""
        return self._read(table.label, table.query.format("%s"), (tenant,))

    def records(self, tenant: str, findings: Findings) -> Iterator[Record]:
        """See Source."""
        return merged(self, tenant, findings)

    def _read(self, name: str, query: str, parameters: tuple[str, ...]) -> Iterator[Row]:
        try:
            with self._connection.cursor(name=name) as cursor:
                cursor.itersize = _AT_ONCE
                cursor.execute(query, parameters)
                yield from cursor
        except psycopg.Error as error:
            raise Unreadable(str(error)) from error
