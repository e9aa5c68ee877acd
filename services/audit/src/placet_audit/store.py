"""The log's tables and queries. Knows where bytes are kept, not what they mean."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from placet_audit.domain import (
    MAX_PAGE_BYTES,
    TENANT_LEVEL,
    Append,
    Disclosure,
    Draft,
    Entry,
    Heads,
    Page,
    Placed,
    cut_page,
    place_all,
    total_size,
)
from placet_audit.growing import grow
from placet_audit.signing import LogKeys
from placet_audit.tables import OF_A_REQUEST, OF_THE_TENANT, disclosure, entry
from placet_rpc.errors import FailedPrecondition
from placet_storage import Database

# The most entries that one query reads, so that a page of large entries never sits in memory whole.
_CHUNK = 100

# The largest that a column can hold; a uint64 that a caller sends may lie beyond.
_LAST_INDEX = 2**63 - 1
# Any constant will do, as long as nothing else on this database takes the same.
_SEQUENCER_LOCK = 0x706C61636574
# A replica that is stopped in mid-batch must not stop the others for longer than their callers wait.
_BATCH_TIMEOUT_MS = 4000


class Store:
    """One log per tenant in one database. All errors of the database come as placet_storage raises them."""

    def __init__(self, database: Database, keys: LogKeys) -> None:
        self._database = database
        self._keys = keys

    async def append(self, batch: Sequence[Append]) -> list[Placed | FailedPrecondition]:
        """Judge and store a batch in one transaction; what is returned is durable, and under a signed
        checkpoint. Raises DataLoss LOG_INCONSISTENT, and stores nothing.

        The heads are read inside the transaction and under a lock, so that several processes on one
        database never fork a log.
        """
        return await self._database.transact(append, batch, self._keys, operation="append")

    async def size(self, tenant: str) -> int:
        """How many entries the tenant's log holds."""
        return (await self.sizes([tenant]))[tenant]

    async def sizes(self, tenants: Sequence[str]) -> Mapping[str, int]:
        """How many entries each tenant's log holds."""
        return await self._database.query(_sizes, tenants, operation="read size")

    async def entries(self, tenant: str, from_index: int, limit: int) -> Page:
        """The tenant's entries from an index on, at most `limit`, in order."""
        return await self._page(tenant, sa.true(), from_index, limit, entry.c.index)

    async def entries_of_request(
        self, tenant: str, approval_id: str, *, limit: int, from_index: int = 0, from_number: int = 0
    ) -> Page:
        """A request's entries from an index and a number on, at most `limit`, in order."""
        which = sa.and_(OF_A_REQUEST, entry.c.approval_id == approval_id, entry.c.number >= from_number)
        # Numbers rise with indexes; ordered by number, the index on it serves the query.
        return await self._page(tenant, which, from_index, limit, entry.c.number)

    async def entries_by_cause(self, tenant: str, cause_ids: Sequence[str]) -> Page:
        """The tenant-level entries that have these cause ids, in order."""
        which = sa.and_(OF_THE_TENANT, entry.c.cause_id.in_(cause_ids))
        return await self._page(tenant, which, 0, len(cause_ids), entry.c.index)

    async def _page(
        self,
        tenant: str,
        which: sa.ColumnElement[bool],
        from_index: int,
        limit: int,
        order: sa.Column[int],
    ) -> Page:
        some = sa.select(entry).where(entry.c.tenant == tenant, which).order_by(order)
        return await self._database.query(read_page, some, from_index, limit, operation="read entries")


# Built once, because building a statement costs as much as running it.


def _among(column: sa.Column[str], values: str, dialect: str) -> sa.ColumnElement[bool]:
    """Whether a column's value is in the list `values`: one statement for lists of every length."""
    if dialect == "postgresql":
        return column == sa.any_(sa.bindparam(values, type_=postgresql.ARRAY(sa.Text)))
    listed = sa.func.json_each(sa.bindparam(values, type_=sa.JSON()))
    return column.in_(sa.select(listed.table_valued("value").c.value))


def _heads_query(dialect: str) -> sa.CompoundSelect[str | None, str | None, int]:
    """All that a batch must know of one tenant's log: its last index, numbers of requests, known causes."""
    none = sa.cast(sa.null(), sa.Text)
    of_tenant = entry.c.tenant == sa.bindparam("tenant")
    return sa.union_all(
        sa.select(none, none, sa.func.max(entry.c.index)).where(of_tenant),
        sa.select(entry.c.approval_id, none, sa.func.max(entry.c.number))
        .where(of_tenant, OF_A_REQUEST, _among(entry.c.approval_id, "requests", dialect))
        .group_by(entry.c.approval_id),
        sa.select(none, entry.c.cause_id, entry.c.index).where(
            of_tenant, OF_THE_TENANT, _among(entry.c.cause_id, "causes", dialect)
        ),
    )


_HEADS = {dialect: _heads_query(dialect) for dialect in ("sqlite", "postgresql")}

_DISCLOSURES = (
    sa.select(disclosure.c.index, disclosure.c.path, disclosure.c.salt, disclosure.c.value)
    .where(
        disclosure.c.tenant == sa.bindparam("tenant"),
        disclosure.c.index.in_(sa.bindparam("indexes", expanding=True)),
    )
    .order_by(disclosure.c.index, disclosure.c.path)
)


# From here on a transaction's work, as plain functions on its connection.


def append(
    connection: sa.Connection, batch: Sequence[Append], keys: LogKeys
) -> list[Placed | FailedPrecondition]:
    """See Store.append."""
    lock(connection)
    placed = place_all(_heads(connection, batch), batch)
    new = [e for p in placed if isinstance(p, Placed) for e in p.new]
    _insert(connection, new)
    grow(connection, new, keys)
    return placed


def lock(connection: sa.Connection) -> None:
    """Lets no other process write a log until this transaction ends. Safe to call twice."""
    if connection.dialect.name != "postgresql":
        return  # SQLite's BEGIN IMMEDIATE is the lock
    timeouts = [
        sa.func.set_config(name, str(_BATCH_TIMEOUT_MS), sa.true())
        for name in ("lock_timeout", "idle_in_transaction_session_timeout")
    ]
    connection.execute(sa.select(*timeouts))
    connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_SEQUENCER_LOCK)))


def _heads(connection: sa.Connection, batch: Sequence[Append]) -> Heads:
    heads, query = Heads(sizes={}), _HEADS[connection.dialect.name]
    by_tenant: dict[str, list[Append]] = defaultdict(list)
    for append in batch:
        by_tenant[append.tenant].append(append)
    for tenant, appends in by_tenant.items():
        asked = {
            "tenant": tenant,
            "requests": list({append.approval_id for append in appends} - {TENANT_LEVEL}),
            "causes": list({d.cause_id for a in appends if a.approval_id == TENANT_LEVEL for d in a.drafts}),
        }
        heads.sizes[tenant] = 0
        for approval_id, cause_id, last in connection.execute(query, asked):
            if cause_id is not None:
                heads.causes.add((tenant, cause_id))
            elif approval_id is not None:
                heads.next_numbers[tenant, approval_id] = last + 1
            elif last is not None:
                heads.sizes[tenant] = last + 1
    return heads


def _insert(connection: sa.Connection, entries: Sequence[Entry]) -> None:
    if not entries:
        return
    rows = [
        {
            "tenant": e.tenant,
            "index": e.index,
            "approval_id": e.approval_id,
            "number": e.draft.number,
            "cause_id": e.draft.cause_id,
            "leaf": e.draft.leaf,
        }
        for e in entries
    ]
    connection.execute(sa.insert(entry), rows)
    disclosed = [
        {"tenant": e.tenant, "index": e.index, "path": d.path, "salt": d.salt, "value": d.value.encode()}
        for e in entries
        for d in e.draft.disclosures
    ]
    if disclosed:
        connection.execute(sa.insert(disclosure), disclosed)


def _sizes(connection: sa.Connection, tenants: Sequence[str]) -> Mapping[str, int]:
    # One by one: grouped, the whole index would be read for its ends.
    return {tenant: _size(connection, tenant) for tenant in tenants}


def _size(connection: sa.Connection, tenant: str) -> int:
    last = connection.scalar(sa.select(sa.func.max(entry.c.index)).where(entry.c.tenant == tenant))
    return 0 if last is None else int(last) + 1


def read_page(
    connection: sa.Connection, some: sa.Select[*tuple[Any, ...]], from_index: int, limit: int
) -> Page:
    # Any: a row of `entry`.
    found: list[Entry] = []
    while len(found) <= limit and total_size(found) <= MAX_PAGE_BYTES:
        room = min(_CHUNK, limit + 1 - len(found))
        after = found[-1].index + 1 if found else min(from_index, _LAST_INDEX)
        chunk = _read(connection, some.where(entry.c.index >= after).limit(room))
        found += chunk
        if len(chunk) < room:
            break
    return cut_page(found, limit)


def _read(connection: sa.Connection, query: sa.Select[*tuple[Any, ...]]) -> list[Entry]:
    # Rows are taken apart by position, for a row's own `index` is a method.
    rows = connection.execute(query).all()
    opened = _disclosures(connection, [(tenant, index) for tenant, index, *_ in rows])
    return [
        Entry(tenant, index, approval_id, Draft(number, cause_id, leaf, tuple(opened[index])))
        for tenant, index, approval_id, number, cause_id, leaf in rows
    ]


def read_request(connection: sa.Connection, tenant: str, approval_id: str) -> list[Entry]:
    """All of a request's entries, in order."""
    which = (entry.c.tenant == tenant, OF_A_REQUEST, entry.c.approval_id == approval_id)
    some, found = sa.select(entry).where(*which).order_by(entry.c.number).limit(_CHUNK), list[Entry]()
    while more := _read(connection, some.where(entry.c.number > (found[-1].draft.number if found else 0))):
        found += more
    return found


def erasures_of(connection: sa.Connection, tenant: str, causes: Sequence[str]) -> list[Entry]:
    """The entries of the tenant that have one of these causes, in order."""
    which = (entry.c.tenant == tenant, OF_THE_TENANT, entry.c.cause_id.in_(causes))
    return _read(connection, sa.select(entry).where(*which).order_by(entry.c.index))


def _disclosures(
    connection: sa.Connection, places: Sequence[tuple[str, int]]
) -> defaultdict[int, list[Disclosure]]:
    """What still opens the entries in these places, all of one tenant, by index."""
    opened: defaultdict[int, list[Disclosure]] = defaultdict(list)
    if places:
        asked = {"tenant": places[0][0], "indexes": [index for _, index in places]}
        for index, path, salt, value in connection.execute(_DISCLOSURES, asked):
            opened[index].append(Disclosure(path, salt, value.decode()))
    return opened
