"""Erasing what a request says in words. Salts and values go; the commitments to them stay in the log."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from placet_audit.domain import MAX_ERASURES, TENANT_LEVEL, Append, Draft, Entry, erasure_causes
from placet_audit.signing import LogKeys
from placet_audit.store import append, erasures_of, lock, read_request
from placet_audit.tables import OF_A_REQUEST, disclosure, entry
from placet_rpc.errors import ResourceExhausted
from placet_storage import Database, truncate_wal_after_commit

Check = Callable[[Sequence[Entry]], None]
"""Raises unless the request with these entries may be erased; there may be none."""

Announce = Callable[[int, str], Draft]
"""The sealed event that says how many values were erased, by its cause."""


@dataclass(frozen=True, slots=True)
class Erasure:
    """The entry that says so; `is_new` if something was erased now."""

    entry: Entry
    is_new: bool


class Eraser:
    """Erases in one database."""

    def __init__(self, database: Database, keys: LogKeys) -> None:
        self._database = database
        self._keys = keys

    async def erase(self, tenant: str, approval_id: str, check: Check, announce: Announce) -> Erasure:
        """Erases all values of a request's entries, and appends the event that says so, in one transaction.

        Where nothing is left to erase, it appends nothing. Raises what `check` raises; ResourceExhausted
        after MAX_ERASURES; DataLoss LOG_INCONSISTENT.
        """
        return await self._database.transact(
            _erase, tenant, approval_id, check, announce, self._keys, operation="erase"
        )


def _erase(
    connection: sa.Connection,
    tenant: str,
    approval_id: str,
    check: Check,
    announce: Announce,
    keys: LogKeys,
) -> Erasure:
    # Before anything is read: an entry that came in between would lose values that nobody counted.
    lock(connection)
    check(read_request(connection, tenant, approval_id))
    causes = erasure_causes(approval_id)
    before = erasures_of(connection, tenant, causes)
    values = connection.execute(_deletion(tenant, approval_id)).rowcount
    if not values and before:
        return Erasure(before[-1], is_new=False)
    if len(before) == MAX_ERASURES:
        raise ResourceExhausted(f"A request is erased {MAX_ERASURES} times at most.")
    draft = announce(values, causes[len(before)])
    (placed,) = append(connection, [Append(tenant, TENANT_LEVEL, 0, (draft,))], keys)
    truncate_wal_after_commit(connection)
    if not isinstance(placed, Exception):
        return Erasure(placed.new[0], is_new=True)
    raise placed


def _deletion(tenant: str, approval_id: str) -> sa.Delete:
    return sa.delete(disclosure).where(
        disclosure.c.tenant == tenant, disclosure.c.index.in_(_indexes(tenant, approval_id))
    )


def _indexes(tenant: str, approval_id: str) -> sa.Select[int]:
    return sa.select(entry.c.index).where(
        entry.c.tenant == tenant, OF_A_REQUEST, entry.c.approval_id == approval_id
    )
