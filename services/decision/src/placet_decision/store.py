"""The tables of answers and of spent tokens, with their queries. Responses are opaque bytes here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime

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
"""One row per idempotency key and tenant, never changed, deleted by age."""

spent_tokens = sa.Table(
    "spent_tokens",
    metadata,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("day", sa.Date, primary_key=True),
    sa.Column("tokens", sa.BigInteger, nullable=False),
)
"""Tokens of language models by tenant and day of UTC, deleted by age."""

DELETED_AT_ONCE = 500
"""Answers deleted in one transaction."""


@dataclass(frozen=True)
class Answer:
    """A stored answer: SHA-256 of its request's payload, and the bytes of its response."""

    payload_digest: bytes
    response: bytes


class Store:
    """The answers of all tenants. Raises the errors of placet_storage."""

    def __init__(self, database: Database) -> None:
        self._database = database
        # Built once: building a statement takes longer than running it.
        self._insert = database.insert(answer).on_conflict_do_nothing()
        added = database.insert(spent_tokens)
        self._add_tokens = added.on_conflict_do_update(
            index_elements=["tenant", "day"],
            set_={"tokens": spent_tokens.c.tokens + added.excluded.tokens},
        )

    async def find(self, tenant: str, idempotency_key: str) -> Answer | None:
        """The answer to this key; None without one."""
        return await self._database.query(_find, tenant, idempotency_key, operation="find answer")

    async def keep(self, tenant: str, idempotency_key: str, approval_id: str, given: Answer) -> Answer:
        """Stores `given` unless the key has an answer; returns the stored one, which is durable."""
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

    async def spent_tokens(self, tenant: str, day: date) -> int:
        """Tokens that the tenant spent on this day."""
        return await self._database.query(_spent, tenant, day, operation="find tokens")

    async def spend_tokens(self, tenant: str, day: date, tokens: int) -> None:
        """Adds to the tenant's tokens of this day."""
        row = {"tenant": tenant, "day": day, "tokens": tokens}
        await self._database.transact(_execute, self._add_tokens, row, operation="spend tokens")

    async def purge(self, before: datetime) -> int:
        """Deletes some rows older than `before` and returns their number; 0 when none is left."""
        return await self._database.transact(_purge, before, operation="purge answers")


# The bodies of transactions, as functions on a connection.


_FIND = sa.select(answer.c.payload_digest, answer.c.response).where(
    answer.c.tenant == sa.bindparam("this_tenant"), answer.c.idempotency_key == sa.bindparam("this_key")
)


def _keep(connection: sa.Connection, insert: sa.Insert, row: Mapping[str, object]) -> Answer | None:
    """Inserts the row, or returns the answer that the key has."""
    while not connection.execute(insert, row).rowcount:
        # In PostgreSQL it may be deleted between the two.
        found = _find(connection, str(row["tenant"]), str(row["idempotency_key"]))
        if found is not None:
            return found
    return None


def _purge(connection: sa.Connection, before: datetime) -> int:
    oldest = sa.select(answer.c.tenant, answer.c.idempotency_key).where(answer.c.created_at < before)
    oldest = oldest.order_by(answer.c.created_at).limit(DELETED_AT_ONCE)
    keys = sa.tuple_(answer.c.tenant, answer.c.idempotency_key)
    deleted = connection.execute(sa.delete(answer).where(keys.in_(oldest))).rowcount
    days = sa.delete(spent_tokens).where(spent_tokens.c.day < before.date())
    deleted += connection.execute(days).rowcount
    if deleted:
        truncate_wal_after_commit(connection)
    return deleted


def _find(connection: sa.Connection, tenant: str, idempotency_key: str) -> Answer | None:
    row = connection.execute(_FIND, {"this_tenant": tenant, "this_key": idempotency_key}).one_or_none()
    return Answer(row.payload_digest, row.response) if row else None


def _spent(connection: sa.Connection, tenant: str, day: date) -> int:
    mine = (spent_tokens.c.tenant == tenant) & (spent_tokens.c.day == day)
    return connection.execute(sa.select(spent_tokens.c.tokens).where(mine)).scalar() or 0


def _execute(connection: sa.Connection, statement: sa.Insert, row: Mapping[str, object]) -> None:
    connection.execute(statement, row)
