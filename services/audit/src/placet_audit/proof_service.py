"""Checkpoints, proofs, receipts and exports. Each is read from one snapshot."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice

import sqlalchemy as sa

from placet_audit.domain import ERASURE_CAUSE, MAX_RECEIPT_BYTES, Entry, erasure_causes, total_size
from placet_audit.log_keys import LogKeys
from placet_audit.merkle_store import (
    HASH_BYTES,
    Span,
    checked_frontier,
    consistency_spans,
    inclusion_spans,
    inconsistent,
    newest_note,
    notes_between,
    roots_of,
    tree_rows,
)
from placet_audit.store import entries_of_causes, read_page, read_request
from placet_audit.tables import OF_THE_TENANT, entry
from placet_proof import Note, NotProven
from placet_proof.frontier import EMPTY_ROOT
from placet_rpc.errors import FailedPrecondition, OutOfRange
from placet_storage import Database


@dataclass(frozen=True, slots=True)
class Proof:
    """Proof in the tree of `size` leaves. `note`: its checkpoint, if the newest was asked for. `leaf_hash`:
    that of the entry, in an inclusion proof."""

    size: int
    hashes: Sequence[bytes]
    note: str
    leaf_hash: bytes = b""


@dataclass(frozen=True, slots=True)
class ReceiptParts:
    """Entries of a request with their proofs, all against one checkpoint."""

    note: str
    entries: Sequence[tuple[Entry, Sequence[bytes]]]


@dataclass(frozen=True, slots=True)
class ExportPart:
    """Some entries of an export, with the checkpoints that were signed after them, by size."""

    entries: Sequence[Entry]
    notes: dict[int, str]


Check = Callable[[Sequence[Entry]], None]
"""Raises unless the caller may have the receipt of these entries of a request; there may be none."""


class ProofService:
    """Proves each tenant's log in one database."""

    def __init__(self, database: Database, keys: LogKeys) -> None:
        self._database = database
        self._keys = keys

    async def checkpoint(self, tenant: str) -> tuple[str, int]:
        """Returns the newest checkpoint and its size. Raises DataLoss LOG_INCONSISTENT also when the log
        would refuse the next entry, so that a witness notices before a writer does."""
        return await self._database.query(_checkpoint, tenant, self._keys, operation="read checkpoint")

    async def inclusion(self, tenant: str, index: int, size: int) -> Proof:
        """Proves that an entry is in the tree of `size` leaves (0: of the newest checkpoint). Raises
        OutOfRange BEYOND_END, DataLoss LOG_INCONSISTENT."""
        return await self._database.query(
            _inclusion, tenant, index, size, self._keys, operation="prove inclusion"
        )

    async def consistency(self, tenant: str, first: int, second: int) -> Proof:
        """Proves that the tree of `second` leaves (0: of the newest checkpoint) begins with that of `first`.
        Raises OutOfRange BEYOND_END, DataLoss LOG_INCONSISTENT."""
        return await self._database.query(
            _consistency, tenant, first, second, self._keys, operation="prove consistency"
        )

    async def receipt(self, tenant: str, approval_id: str, check: Check) -> ReceiptParts:
        """Returns all entries of a request with their proofs.

        Raises what `check` raises, FailedPrecondition RECEIPT_TOO_LARGE, and DataLoss
        LOG_INCONSISTENT.
        """
        return await self._database.query(
            _receipt, tenant, approval_id, check, self._keys, operation="prove request"
        )

    async def erased_since(self, tenant: str, size: int) -> bool:
        """True if values were erased since the log had `size` entries."""
        return await self._database.query(_erased_since, tenant, size, operation="look for erasures")

    async def export_part(self, tenant: str, from_index: int, size: int, limit: int) -> ExportPart:
        """Returns entries from an index on, before index `size`, at most `limit`."""
        return await self._database.query(
            _export_part, tenant, from_index, size, limit, operation="export entries"
        )


_LAST_INDEX = sa.select(sa.func.max(entry.c.index)).where(
    entry.c.tenant == sa.bindparam("tenant", type_=sa.Text)
)


# Functions on a transaction's connection.


def _checkpoint(connection: sa.Connection, tenant: str, keys: LogKeys) -> tuple[str, int]:
    newest = _newest(connection, tenant, keys)
    last: int | None = connection.scalar(_LAST_INDEX, {"tenant": tenant})
    checked_frontier(connection, tenant, 0 if last is None else last + 1, keys)
    return newest


def _newest(connection: sa.Connection, tenant: str, keys: LogKeys) -> tuple[str, int]:
    note = newest_note(connection, tenant)
    if note is None:
        if connection.scalar(sa.select(entry.c.index).where(entry.c.tenant == tenant).limit(1)) is not None:
            raise inconsistent(tenant, 0, "it has entries, and no checkpoint")
        return keys.sign(tenant, 0, EMPTY_ROOT), 0
    try:
        return note, Note.parse(note).checkpoint.size
    except NotProven as error:
        raise inconsistent(tenant, 0, f"its last checkpoint is none: {error}") from error


def _inclusion(connection: sa.Connection, tenant: str, index: int, size: int, keys: LogKeys) -> Proof:
    note, newest = _newest(connection, tenant, keys)
    wanted = size or newest
    _check_reach(index + 1, wanted, newest)
    spans = [Span(index, index + 1), *inclusion_spans(index, wanted)]
    leaf_hash, *hashes = _hashes(connection, tenant, spans)
    return Proof(wanted, hashes, "" if size else note, leaf_hash)


def _consistency(connection: sa.Connection, tenant: str, first: int, second: int, keys: LogKeys) -> Proof:
    note, newest = _newest(connection, tenant, keys)
    wanted = second or newest
    _check_reach(first, wanted, newest)
    hashes = _hashes(connection, tenant, consistency_spans(first, wanted))
    return Proof(wanted, hashes, "" if second else note)


def _receipt(
    connection: sa.Connection, tenant: str, approval_id: str, check: Check, keys: LogKeys
) -> ReceiptParts:
    own = read_request(connection, tenant, approval_id)
    check(own)
    erasures = entries_of_causes(connection, tenant, erasure_causes(approval_id))
    path = sorted([*own, *erasures], key=lambda one: one.index)
    note, size = _newest(connection, tenant, keys)
    spans = [inclusion_spans(one.index, size) for one in path]
    if total_size(path) + HASH_BYTES * sum(map(len, spans)) > MAX_RECEIPT_BYTES:
        raise FailedPrecondition(
            f"The request has {len(path)} entries, more than a receipt holds; export the log instead.",
            reason="RECEIPT_TOO_LARGE",
            metadata={"approval_id": approval_id, "entries": str(len(path))},
        )
    hashes = iter(_hashes(connection, tenant, [span for some in spans for span in some]))
    return ReceiptParts(
        note, [(one, list(islice(hashes, len(some)))) for one, some in zip(path, spans, strict=True)]
    )


def _export_part(
    connection: sa.Connection, tenant: str, from_index: int, size: int, limit: int
) -> ExportPart:
    some = sa.select(entry).where(entry.c.tenant == tenant, entry.c.index < size).order_by(entry.c.index)
    entries = read_page(connection, some, from_index, limit).entries
    if not entries:
        return ExportPart([], {})
    return ExportPart(entries, notes_between(connection, tenant, from_index + 1, entries[-1].index + 1))


def _erased_since(connection: sa.Connection, tenant: str, size: int) -> bool:
    erasures = sa.select(entry.c.index).where(
        entry.c.tenant == tenant,
        entry.c.index >= size,
        OF_THE_TENANT,
        entry.c.cause_id.startswith(ERASURE_CAUSE, autoescape=True),
    )
    return connection.scalar(erasures.limit(1)) is not None


def _hashes(connection: sa.Connection, tenant: str, spans: Sequence[Span]) -> list[bytes]:
    try:
        return roots_of(spans, tree_rows(connection, tenant, spans))
    except KeyError as error:
        raise inconsistent(tenant, 0, f"the hashes of entry {error.args[0]} are missing") from error


def _check_reach(needed: int, wanted: int, newest: int) -> None:
    if not needed <= wanted <= newest:
        raise OutOfRange(
            f"There is no such proof: {needed} entries are needed, the tree is to have {wanted}, "
            f"and the log has {newest}.",
            reason="BEYOND_END",
            metadata={"from": str(max(needed, wanted)), "end": str(newest)},
        )
