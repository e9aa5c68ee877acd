"""How the Merkle tree and the checkpoints of each tenant's log grow with its entries.

Plain functions on a transaction's connection, for the transaction that appends.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby

import sqlalchemy as sa

from placet_audit.domain import Entry
from placet_audit.proofs import Span, entries_of, roots_of
from placet_audit.signing import LogKeys
from placet_audit.tables import checkpoint, tree
from placet_proof import NotProven, leaf_hash
from placet_proof.growing import Frontier
from placet_rpc.errors import DataLoss

_TENANT = sa.bindparam("tenant", type_=sa.Text)
_ROOTS = sa.select(tree.c.index, tree.c.roots).where(
    tree.c.tenant == _TENANT, tree.c.index.in_(sa.bindparam("indexes", expanding=True))
)
_NEWEST = (
    sa.select(checkpoint.c.note)
    .where(checkpoint.c.tenant == _TENANT)
    .order_by(checkpoint.c.size.desc())
    .limit(1)
)
_NOTES = sa.select(checkpoint.c.size, checkpoint.c.note).where(
    checkpoint.c.tenant == _TENANT, checkpoint.c.size.between(sa.bindparam("least"), sa.bindparam("most"))
)
# The most that one query asks for, far below what the databases take.
_AT_ONCE = 1000
_INSERT_TREE, _INSERT_CHECKPOINT = sa.insert(tree), sa.insert(checkpoint)


def grow(connection: sa.Connection, entries: Iterable[Entry], keys: LogKeys) -> None:
    """Lets each tenant's tree grow by entries that were just inserted, in order, and signs a checkpoint.

    Raises DataLoss LOG_INCONSISTENT when the log does not go on where its last checkpoint ends: then nothing
    of the transaction may stay.
    """
    for tenant, of_tenant in groupby(sorted(entries, key=_place), key=lambda entry: entry.tenant):
        added = list(of_tenant)
        frontier = checked_frontier(connection, tenant, added[0].index, keys)
        rows = [
            {
                "tenant": tenant,
                "index": entry.index,
                "roots": b"".join(frontier.append(leaf_hash(entry.draft.leaf))),
            }
            for entry in added
        ]
        connection.execute(_INSERT_TREE, rows)
        _sign(connection, tenant, frontier, keys)


def newest_note(connection: sa.Connection, tenant: str) -> str | None:
    """The newest checkpoint; None before the first entry."""
    found: str | None = connection.scalar(_NEWEST, {"tenant": tenant})
    return found


def notes_between(connection: sa.Connection, tenant: str, least: int, most: int) -> dict[int, str]:
    """The checkpoints of sizes from `least` to `most`, by size."""
    asked = {"tenant": tenant, "least": least, "most": most}
    return dict(connection.execute(_NOTES, asked).all())


def kept_for(connection: sa.Connection, tenant: str, spans: Sequence[Span]) -> Mapping[int, bytes]:
    """What is kept with the entries that the roots of these spans are taken from."""
    indexes, found = entries_of(spans), dict[int, bytes]()
    for start in range(0, len(indexes), _AT_ONCE):
        asked = {"tenant": tenant, "indexes": indexes[start : start + _AT_ONCE]}
        found.update(connection.execute(_ROOTS, asked).all())
    return found


def _place(entry: Entry) -> tuple[str, int]:
    return entry.tenant, entry.index


def _sign(connection: sa.Connection, tenant: str, frontier: Frontier, keys: LogKeys) -> None:
    note = keys.sign(tenant, frontier.size, frontier.root())
    connection.execute(_INSERT_CHECKPOINT, {"tenant": tenant, "size": frontier.size, "note": note})


def checked_frontier(connection: sa.Connection, tenant: str, size: int, keys: LogKeys) -> Frontier:
    """The tree of all `size` entries, if that is what its last checkpoint says. Raises DataLoss
    LOG_INCONSISTENT."""
    frontier, note = _grown(connection, tenant, size), newest_note(connection, tenant)
    if size == 0 and note is None:
        return frontier
    try:
        last = keys.verified(tenant, note or "")
    except NotProven as error:
        raise inconsistent(tenant, size, f"its last checkpoint is not what was signed: {error}") from error
    if last.size != size:
        raise inconsistent(tenant, size, f"it has {size} entries, and its last checkpoint {last.size}")
    if last.root != frontier.root():
        raise inconsistent(tenant, size, "its tree is not the one that its last checkpoint was signed for")
    return frontier


def _grown(connection: sa.Connection, tenant: str, size: int) -> Frontier:
    whole = Span(0, size)
    try:
        return Frontier(size, roots_of(whole, kept_for(connection, tenant, [whole])))
    except KeyError as error:
        raise inconsistent(tenant, size, f"the hashes of entry {error.args[0]} are missing") from error


def inconsistent(tenant: str, size: int, what: str) -> DataLoss:
    """The error of a log that cannot be proven any more; `size` as far as it is known."""
    return DataLoss(
        f"The log of {tenant} is not whole: {what}. It takes no entries; `placet audit verify` says more.",
        reason="LOG_INCONSISTENT",
        metadata={"tenant": tenant, "size": str(size)},
    )
