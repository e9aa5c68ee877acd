"""Storage of the logs: append, read, erase."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from placet_audit.automation_queries import gate_of, keep_approved
from placet_audit.domain import (
    MAX_ERASURES,
    MAX_PAGE_BYTES,
    TENANT_LEVEL,
    Append,
    Disclosure,
    Draft,
    Entry,
    Heads,
    Page,
    Placed,
    RequestKey,
    cut_page,
    erasure_causes,
    place_all,
    total_size,
    walk,
)
from placet_audit.log_keys import LogKeys
from placet_audit.merkle_store import grow
from placet_audit.tables import OF_A_REQUEST, OF_THE_TENANT, disclosure, entry
from placet_proof.grammar import BEGIN, Path
from placet_rpc.errors import FailedPrecondition, ResourceExhausted
from placet_storage import Database, truncate_wal_after_commit

# Entries that one query reads, at most, so that a page of large entries is never in memory whole.
_CHUNK = 100

# Largest value of the column; a caller's uint64 may exceed it.
_LAST_INDEX = 2**63 - 1
# Any constant that nothing else locks on this database.
_SEQUENCER_LOCK = 0x706C61636574
# Requests whose path is kept for their next append. Other ones are read again.
_PATHS = 4096
# A replica that hangs in a batch must not block the others for longer than their callers wait.
_BATCH_TIMEOUT_MS = 4000


Check = Callable[[Sequence[Entry]], None]
"""Raises unless the request with these entries may be erased; there may be none."""

Announce = Callable[[int, str], Draft]
"""Seals the event that says how many values were erased, with the given cause."""


KnownPaths = Mapping[RequestKey, tuple[int, Path]]
"""Numbers of requests' last events, and the paths up to them."""


@dataclass(frozen=True, slots=True)
class Appended:
    """Result of a batch: each append's place, and the paths of the requests that grew."""

    placed: list[Placed | FailedPrecondition]
    paths: KnownPaths


@dataclass(frozen=True, slots=True)
class Erasure:
    """Entry that says that values were erased. `is_new`: they were erased by this call."""

    entry: Entry
    is_new: bool


class Store:
    """One log per tenant in one database. Errors of the database come as placet_storage raises them."""

    def __init__(self, database: Database, keys: LogKeys) -> None:
        self._database = database
        self._keys = keys
        # Those that grew last come last.
        self._paths: dict[RequestKey, tuple[int, Path]] = {}

    async def append(self, batch: Sequence[Append]) -> list[Placed | FailedPrecondition]:
        """Places and stores a batch in one transaction, under a signed checkpoint; the result is durable.

        Raises DataLoss LOG_INCONSISTENT, and stores nothing. The heads are read in the transaction and under
        a lock, so that several processes on one database never fork a log.
        """
        appended = await self._database.transact(append, batch, self._keys, self._paths, operation="append")
        # Only what is committed: a number that was rolled back may get another event.
        for request, known in appended.paths.items():
            self._paths.pop(request, None)
            self._paths[request] = known
        while len(self._paths) > _PATHS:
            del self._paths[next(iter(self._paths))]
        return appended.placed

    async def erase(self, tenant: str, approval_id: str, check: Check, announce: Announce) -> Erasure:
        """Erases all values of a request's entries, and appends the event that says so, in one transaction.

        Salts and values go; the commitments to them stay. Where nothing is left to erase, nothing is
        appended. Raises what `check` raises; ResourceExhausted after MAX_ERASURES; DataLoss LOG_INCONSISTENT.
        """
        return await self._database.transact(
            erase, tenant, approval_id, check, announce, self._keys, operation="erase"
        )

    async def size(self, tenant: str) -> int:
        """Returns the number of entries of the tenant's log."""
        return (await self.sizes([tenant]))[tenant]

    async def sizes(self, tenants: Sequence[str]) -> Mapping[str, int]:
        """Returns the number of entries of each tenant's log."""
        return await self._database.query(_sizes, tenants, operation="read size")

    async def entries(self, tenant: str, from_index: int, limit: int) -> Page:
        """Returns the tenant's entries from an index on, at most `limit`, in order."""
        return await self._page(tenant, sa.true(), from_index, limit, entry.c.index)

    async def entries_of_request(
        self, tenant: str, approval_id: str, *, limit: int, from_index: int = 0, from_number: int = 0
    ) -> Page:
        """Returns a request's entries from an index and a number on, at most `limit`, in order."""
        which = sa.and_(OF_A_REQUEST, entry.c.approval_id == approval_id, entry.c.number >= from_number)
        # Numbers rise with indexes. Ordered by number, the query uses the index on it.
        return await self._page(tenant, which, from_index, limit, entry.c.number)

    async def faults(self, tenant: str, approval_id: str) -> Mapping[int, str]:
        """Returns the faults of a request's entries that the grammar does not allow, by number."""
        path = await self._database.query(read_request, tenant, approval_id, operation="read entries")
        return walk(path, self._keys.attesting)[1]

    async def entries_by_cause(self, tenant: str, cause_ids: Sequence[str]) -> Page:
        """Returns the entries of the tenant itself that have these cause ids, in order."""
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


# Statements, built once: building one costs as much as running it.


def _among(column: sa.Column[str], values: str, dialect: str) -> sa.ColumnElement[bool]:
    """Tests whether a column's value is in the list `values`: one statement for lists of every length."""
    if dialect == "postgresql":
        return column == sa.any_(sa.bindparam(values, type_=postgresql.ARRAY(sa.Text)))
    listed = sa.func.json_each(sa.bindparam(values, type_=sa.JSON()))
    return column.in_(sa.select(listed.table_valued("value").c.value))


def _heads_query(dialect: str) -> sa.CompoundSelect[str | None, str | None, int]:
    """Selects the head of one tenant's log: its last index, the requests' last numbers, the known causes."""
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


# Functions on a transaction's connection.


def append(connection: sa.Connection, batch: Sequence[Append], keys: LogKeys, known: KnownPaths) -> Appended:
    """Implements Store.append. `known`: paths that need not be read."""
    lock(connection)
    heads = _heads(connection, batch, keys)
    _read_paths(connection, heads, batch, known)
    placed = place_all(heads, batch)
    keep_approved(connection, heads.gate)
    new = [e for p in placed if isinstance(p, Placed) for e in p.new]
    _insert(connection, new)
    grow(connection, new, keys)
    grown = {(one.tenant, one.approval_id) for one in new if one.approval_id != TENANT_LEVEL}
    return Appended(placed, {one: (heads.next_numbers[one] - 1, heads.paths[one]) for one in grown})


def _read_paths(connection: sa.Connection, heads: Heads, batch: Sequence[Append], known: KnownPaths) -> None:
    """Adds the paths of the requests that grow, if the log allows it."""
    for one in batch:
        request = (one.tenant, one.approval_id)
        next_number = heads.next_numbers.get(request, 1)
        if one.approval_id == TENANT_LEVEL or one.expected_next < next_number or request in heads.paths:
            continue
        number, path = known.get(request, (0, BEGIN))
        if number != next_number - 1:
            path, _ = walk(read_request(connection, *request), heads.attesting)
        heads.paths[request] = path


def lock(connection: sa.Connection) -> None:
    """Excludes other processes that write a log until this transaction ends. Safe to call twice."""
    if connection.dialect.name != "postgresql":
        return  # SQLite's BEGIN IMMEDIATE holds the lock.
    timeouts = [
        sa.func.set_config(name, str(_BATCH_TIMEOUT_MS), sa.true())
        for name in ("lock_timeout", "idle_in_transaction_session_timeout")
    ]
    connection.execute(sa.select(*timeouts))
    connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_SEQUENCER_LOCK)))


def _heads(connection: sa.Connection, batch: Sequence[Append], keys: LogKeys) -> Heads:
    query = _HEADS[connection.dialect.name]
    heads = Heads(sizes={}, attesting=keys.attesting, gate=gate_of(connection))
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
    """Reads a page of `some`, a selection of rows of `entry`."""
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
    # By position, because a row's `index` is a method.
    rows = connection.execute(query).all()
    opened = _disclosures(connection, [(tenant, index) for tenant, index, *_ in rows])
    return [
        Entry(tenant, index, approval_id, Draft(number, cause_id, leaf, tuple(opened[index])))
        for tenant, index, approval_id, number, cause_id, leaf in rows
    ]


def read_request(connection: sa.Connection, tenant: str, approval_id: str) -> list[Entry]:
    """Returns all entries of a request, in order."""
    which = (entry.c.tenant == tenant, OF_A_REQUEST, entry.c.approval_id == approval_id)
    some, found = sa.select(entry).where(*which).order_by(entry.c.number).limit(_CHUNK), list[Entry]()
    while more := _read(connection, some.where(entry.c.number > (found[-1].draft.number if found else 0))):
        found += more
    return found


def entries_of_causes(connection: sa.Connection, tenant: str, causes: Sequence[str]) -> list[Entry]:
    """Returns the entries of the tenant that have one of these causes, in order."""
    which = (entry.c.tenant == tenant, OF_THE_TENANT, entry.c.cause_id.in_(causes))
    return _read(connection, sa.select(entry).where(*which).order_by(entry.c.index))


def _disclosures(
    connection: sa.Connection, places: Sequence[tuple[str, int]]
) -> defaultdict[int, list[Disclosure]]:
    """Returns the disclosures of the entries in these places, all of one tenant, by index."""
    opened: defaultdict[int, list[Disclosure]] = defaultdict(list)
    if places:
        asked = {"tenant": places[0][0], "indexes": [index for _, index in places]}
        for index, path, salt, value in connection.execute(_DISCLOSURES, asked):
            opened[index].append(Disclosure(path, salt, value.decode()))
    return opened


def erase(
    connection: sa.Connection,
    tenant: str,
    approval_id: str,
    check: Check,
    announce: Announce,
    keys: LogKeys,
) -> Erasure:
    """Implements Store.erase."""
    # Before anything is read: an entry appended in between would lose values uncounted.
    lock(connection)
    check(read_request(connection, tenant, approval_id))
    causes = erasure_causes(approval_id)
    before = entries_of_causes(connection, tenant, causes)
    indexes = sa.select(entry.c.index).where(
        entry.c.tenant == tenant, OF_A_REQUEST, entry.c.approval_id == approval_id
    )
    deletion = sa.delete(disclosure).where(disclosure.c.tenant == tenant, disclosure.c.index.in_(indexes))
    values = connection.execute(deletion).rowcount
    if not values and before:
        return Erasure(before[-1], is_new=False)
    if len(before) == MAX_ERASURES:
        raise ResourceExhausted(f"A request is erased {MAX_ERASURES} times at most.")
    draft = announce(values, causes[len(before)])
    (placed,) = append(connection, [Append(tenant, TENANT_LEVEL, 0, (draft,))], keys, {}).placed
    truncate_wal_after_commit(connection)
    if not isinstance(placed, Exception):
        return Erasure(placed.new[0], is_new=True)
    raise placed
