"""Merkle tree and signed checkpoints of each tenant's log, as rows of the database.

A row of `tree` holds the roots of the perfect subtrees that its entry completes, the hash of its own leaf
first. The root of the perfect subtree of 2^level leaves from `first` on is therefore number `level` in the
row of entry `first + 2^level - 1`. Any proof reads a few rows for each level. The tree is that of RFC 9162.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import sqlalchemy as sa

from placet_audit.domain import Entry
from placet_audit.log_keys import LogKeys
from placet_audit.tables import checkpoint, tree
from placet_proof import NotProven, leaf_hash
from placet_proof.frontier import Frontier, joined
from placet_rpc.errors import DataLoss

HASH_BYTES = 32

_TENANT = sa.bindparam("tenant", type_=sa.Text)
_ROWS = sa.select(tree.c.index, tree.c.roots).where(
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
# Parameters of one query, far below the databases' limits.
_ROWS_AT_ONCE = 1000
_INSERT_TREE, _INSERT_CHECKPOINT = sa.insert(tree), sa.insert(checkpoint)


def grow(connection: sa.Connection, entries: Iterable[Entry], keys: LogKeys) -> None:
    """Adds entries that were just inserted to their tenants' trees, and signs a checkpoint of each tree.

    Raises DataLoss LOG_INCONSISTENT when the entries do not continue the tree of the last checkpoint; the
    transaction must then be rolled back.
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
    """Returns the newest checkpoint; None before the first entry."""
    found: str | None = connection.scalar(_NEWEST, {"tenant": tenant})
    return found


def notes_between(connection: sa.Connection, tenant: str, least: int, most: int) -> dict[int, str]:
    """Returns the checkpoints of sizes from `least` to `most`, by size."""
    asked = {"tenant": tenant, "least": least, "most": most}
    return dict(connection.execute(_NOTES, asked).all())


def tree_rows(connection: sa.Connection, tenant: str, spans: Sequence[Span]) -> Mapping[int, bytes]:
    """Reads the rows that hold the roots of these spans, by index."""
    indexes, found = indexes_of(spans), dict[int, bytes]()
    for start in range(0, len(indexes), _ROWS_AT_ONCE):
        asked = {"tenant": tenant, "indexes": indexes[start : start + _ROWS_AT_ONCE]}
        found.update(connection.execute(_ROWS, asked).all())
    return found


def _place(entry: Entry) -> tuple[str, int]:
    return entry.tenant, entry.index


def _sign(connection: sa.Connection, tenant: str, frontier: Frontier, keys: LogKeys) -> None:
    note = keys.sign(tenant, frontier.size, frontier.root())
    connection.execute(_INSERT_CHECKPOINT, {"tenant": tenant, "size": frontier.size, "note": note})


def checked_frontier(connection: sa.Connection, tenant: str, size: int, keys: LogKeys) -> Frontier:
    """Returns the tree of all `size` entries. Raises DataLoss LOG_INCONSISTENT unless the last checkpoint is
    of this tree and signed by a known key."""
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
        return Frontier(size, _perfect_roots(whole, tree_rows(connection, tenant, [whole])))
    except KeyError as error:
        raise inconsistent(tenant, size, f"the hashes of entry {error.args[0]} are missing") from error


def inconsistent(tenant: str, size: int, what: str) -> DataLoss:
    """Returns the error of a log that cannot be proven. `size`: 0 when unknown."""
    return DataLoss(
        f"The log of {tenant} is not whole: {what}. It takes no entries; `placet audit verify` says more.",
        reason="LOG_INCONSISTENT",
        metadata={"tenant": tenant, "size": str(size)},
    )


# Subtrees that a proof consists of. Pure.


@dataclass(frozen=True, slots=True)
class Span:
    """The leaves from `start` to before `end`, which are a subtree of some tree."""

    start: int
    end: int

    def perfect_subtrees(self) -> Iterator[tuple[int, int]]:
        """Yields the perfect subtrees of the span from left to right, each as the index of its last leaf and
        its level."""
        at = self.start
        for level in reversed(range((self.end - self.start).bit_length())):
            if (self.end - self.start) >> level & 1:
                at += 1 << level
                yield at - 1, level


def inclusion_spans(index: int, size: int) -> list[Span]:
    """Returns PATH(index, tree of `size`), RFC 9162, 2.1.3.1: the spans of the siblings, from the leaf up."""
    spans, start, end = list[Span](), 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            spans.append(Span(middle, end))
            end = middle
        else:
            spans.append(Span(start, middle))
            start = middle
    return spans[::-1]


def consistency_spans(first: int, second: int) -> list[Span]:
    """Returns PROOF(first, tree of `second`), RFC 9162, 2.1.4.1, for 0 < first <= second."""
    spans, start, end = list[Span](), 0, second
    while first < end:
        middle = start + _split(end - start)
        if first <= middle:
            spans.append(Span(middle, end))
            end = middle
        else:
            spans.append(Span(start, middle))
            start = middle
    # The verifier knows the first tree's last subtree when it is the whole tree.
    if start:
        spans.append(Span(start, end))
    return spans[::-1]


def indexes_of(spans: Iterable[Span]) -> list[int]:
    """Returns the indexes whose rows hold the roots of these spans."""
    return sorted({index for span in spans for index, _ in span.perfect_subtrees()})


def roots_of(spans: Iterable[Span], rows: Mapping[int, bytes]) -> list[bytes]:
    """Returns the root of each span. `rows`: the row of each of `indexes_of`. Raises KeyError."""
    return [joined(_perfect_roots(span, rows)) for span in spans]


def _perfect_roots(span: Span, rows: Mapping[int, bytes]) -> list[bytes]:
    """Returns the roots of the perfect subtrees of a span, from left to right. Raises KeyError."""
    return [_root(rows[index], index, level) for index, level in span.perfect_subtrees()]


def _root(roots: bytes, index: int, level: int) -> bytes:
    root = roots[level * HASH_BYTES : (level + 1) * HASH_BYTES]
    if len(root) != HASH_BYTES:
        raise KeyError(index)
    return root


def _split(leaves: int) -> int:
    """Returns the largest power of two that is smaller than `leaves`, which are at least two."""
    return 1 << (leaves - 1).bit_length() - 1
