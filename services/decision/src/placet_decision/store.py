"""The table of answers that were given, and its queries. Knows bytes, not what they mean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import sqlalchemy as sa

from placet_storage import Database, UtcDateTime, truncate_wal_after_commit

metadata = sa.MetaData()

answer = sa.Table(
    "answer",
    metadata,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("idempotency_key", sa.Text, primary_key=True),
    sa.Column("approval_id", sa.Text, nullable=False),
    sa.Column("payload_digest", sa.LargeBinary, nullable=False),
    sa.Column("response", sa.LargeBinary, nullable=False),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Index("answer_approval", "tenant", "approval_id"),
    sa.Index("answer_age", "created_at"),
)
"""One row per idempotency key and tenant; a row is never changed, and forgotten when it is old."""

FORGOTTEN_AT_ONCE = 500
"""How many answers are forgotten in one transaction."""


@dataclass(frozen=True)
class Answer:
    """What was answered to a payload: its SHA-256, and the response's bytes."""

    payload_digest: bytes
    response: bytes


class Store:
    """The answers of all tenants. All errors of the database come as placet_storage raises them."""

    def __init__(self, database: Database) -> None:
        self._database = database
        # Built once: to build a statement anew takes longer than to run it.
        self._insert = database.insert(answer).on_conflict_do_nothing()

    async def find(self, tenant: str, idempotency_key: str) -> Answer | None:
        """The answer that was given under this key; None when none was."""
        return await self._database.query(_find, tenant, idempotency_key, operation="find answer")

    async def keep(self, tenant: str, idempotency_key: str, approval_id: str, given: Answer) -> Answer:
        """Stores `given` unless the key has an answer; returns the one that is stored, which is durable."""
        row = {
            "tenant": tenant,
            "idempotency_key": idempotency_key,
            "approval_id": approval_id,
            "payload_digest": given.payload_digest,
            "response": given.response,
            "created_at": datetime.now(UTC),
        }
        found = await self._database.transact(_keep, self._insert, row, operation="keep answer")
        return given if found is None else found

    async def forget(self, before: datetime) -> int:
        """Forgets some answers from before a time: how many; 0 when there are no more."""
        return await self._database.transact(_forget, before, operation="forget answers")


# From here on a transaction's work, as plain functions on its connection.


_FIND = sa.select(answer.c.payload_digest, answer.c.response).where(
    answer.c.tenant == sa.bindparam("this_tenant"), answer.c.idempotency_key == sa.bindparam("this_key")
)


def _keep(connection: sa.Connection, insert: sa.Insert, row: Mapping[str, object]) -> Answer | None:
    """Inserts, unless the key has an answer: then returns that."""
    while not connection.execute(insert, row).rowcount:
        # In PostgreSQL it may be forgotten just between the two.
        found = _find(connection, str(row["tenant"]), str(row["idempotency_key"]))
        if found is not None:
            return found
    return None


def _forget(connection: sa.Connection, before: datetime) -> int:
    oldest = sa.select(answer.c.tenant, answer.c.idempotency_key).where(answer.c.created_at < before)
    oldest = oldest.order_by(answer.c.created_at).limit(FORGOTTEN_AT_ONCE)
    keys = sa.tuple_(answer.c.tenant, answer.c.idempotency_key)
    forgotten = connection.execute(sa.delete(answer).where(keys.in_(oldest))).rowcount
    if forgotten:
        truncate_wal_after_commit(connection)
    return forgotten


def _find(connection: sa.Connection, tenant: str, idempotency_key: str) -> Answer | None:
    row = connection.execute(_FIND, {"this_tenant": tenant, "this_key": idempotency_key}).one_or_none()
    return Answer(row.payload_digest, row.response) if row else None
