"""Queries about automatic decisions, in the transaction of an append and under the sequencer's lock.

So all replicas judge alike.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import partial

import sqlalchemy as sa

from placet_audit.automation import AutomationGate, Switch, folded, switch_cause
from placet_audit.tables import OF_THE_TENANT, approved, entry

# Switches that one query reads.
_CHUNK = 20
# No limit counts what is older.
_KEPT = timedelta(days=1)

_SWITCHES = (
    sa.select(entry.c.index, entry.c.leaf)
    .where(
        entry.c.tenant == sa.bindparam("tenant"),
        OF_THE_TENANT,
        entry.c.cause_id.in_(sa.bindparam("causes", expanding=True)),
    )
    .order_by(entry.c.index)
)
_APPROVED = sa.select(sa.func.count()).where(
    approved.c.tenant == sa.bindparam("tenant"),
    approved.c.policy == sa.bindparam("policy"),
    approved.c.time > sa.bindparam("since"),
)


def read_switches(connection: sa.Connection, tenant: str) -> list[Switch]:
    """Returns all switches of a tenant in their order."""
    found = list[Switch]()
    while True:
        causes = [switch_cause(number) for number in range(len(found) + 1, len(found) + 1 + _CHUNK)]
        some = connection.execute(_SWITCHES, {"tenant": tenant, "causes": causes})
        more = [(int(index), bytes(leaf)) for index, leaf in some]
        found += more
        if len(more) < _CHUNK:
            return found


def gate_of(connection: sa.Connection) -> AutomationGate:
    """Returns the gate of a transaction, which holds the sequencer's lock."""
    return AutomationGate(
        read_switches=lambda tenant: folded(read_switches(connection, tenant)),
        count=partial(count_approved, connection),
    )


def count_approved(connection: sa.Connection, tenant: str, policy: str, since: datetime) -> int:
    """Returns the number of automatic approvals under a policy that were allowed since a time."""
    asked = {"tenant": tenant, "policy": policy, "since": since.timestamp()}
    return int(connection.scalar(_APPROVED, asked) or 0)


def keep_approved(connection: sa.Connection, gate: AutomationGate) -> None:
    """Stores what a gate allowed, and drops what no limit counts any more."""
    if gate.approved:
        time = gate.now.timestamp()
        connection.execute(sa.delete(approved).where(approved.c.time <= time - _KEPT.total_seconds()))
        rows = [{"tenant": tenant, "policy": policy, "time": time} for tenant, policy in gate.approved]
        connection.execute(sa.insert(approved), rows)
