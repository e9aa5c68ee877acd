"""Storage of the switches of automatic decisions: they are entries of the log, and nothing beside them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import sqlalchemy as sa

from placet_audit.automation import folded, switch_cause
from placet_audit.automation_queries import read_switches
from placet_audit.domain import TENANT_LEVEL, Append, Draft, Entry
from placet_audit.log_keys import LogKeys
from placet_audit.store import append, entries_of_causes, lock
from placet_proof import Leaf
from placet_proof.automation import Scope, scope_of
from placet_storage import Database

Announce = Callable[[str], Draft]
"""Seals the event that switches, with the given cause."""


@dataclass(frozen=True, slots=True)
class Switched:
    """Entry that switched a scope last. `is_new`: by this call."""

    entry: Entry
    is_new: bool


class AutomationStore:
    """The switches of each tenant. Errors of the database come as placet_storage raises them."""

    def __init__(self, database: Database, keys: LogKeys) -> None:
        self._database = database
        self._keys = keys

    async def switch(self, tenant: str, scope: Scope, announce: Announce, *, off: bool) -> Switched | None:
        """Switches a scope off or on, and appends the event that says so, in one transaction.

        Where it is as wanted, nothing is appended, and the last entry of the scope is the answer, if any.
        Raises DataLoss LOG_INCONSISTENT.
        """
        return await self._database.transact(
            switch, tenant, scope, announce, off, self._keys, operation="switch"
        )

    async def off(self, tenant: str) -> list[Entry]:
        """Returns the entries by which a scope is off, in order."""
        return await self._database.query(entries_off, tenant, operation="read switches")


def switch(
    connection: sa.Connection, tenant: str, scope: Scope, announce: Announce, off: bool, keys: LogKeys
) -> Switched | None:
    """Implements AutomationStore.switch."""
    # Before anything is read: the next number must not be taken in between.
    lock(connection)
    switches = read_switches(connection, tenant)
    if (scope in folded(switches).by_scope) == off:
        own = [index for index, leaf in switches if scope_of(Leaf.parse(leaf)) == scope]
        return Switched(_entries(connection, tenant, len(switches))[own[-1]], is_new=False) if own else None
    draft = announce(switch_cause(len(switches) + 1))
    (placed,) = append(connection, [Append(tenant, TENANT_LEVEL, 0, (draft,))], keys, {}).placed
    if isinstance(placed, Exception):
        raise placed
    return Switched(placed.new[0], is_new=True)


def entries_off(connection: sa.Connection, tenant: str) -> list[Entry]:
    """Implements AutomationStore.off."""
    switches = read_switches(connection, tenant)
    found = _entries(connection, tenant, len(switches))
    return [found[index] for index in sorted(folded(switches).by_scope.values())]


def _entries(connection: sa.Connection, tenant: str, count: int) -> Mapping[int, Entry]:
    """The entries of a tenant's first switches, by index."""
    causes = [switch_cause(number) for number in range(1, count + 1)]
    return {one.index: one for one in entries_of_causes(connection, tenant, causes)}
