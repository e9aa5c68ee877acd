"""Policies by name, version and digest: the current ones, and those that older requests keep."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import sqlalchemy as sa

from placet_approval.store.tables import policy as policy_table
from placet_domain.policy import Policy
from placet_storage import Database

_LOG = logging.getLogger(__name__)

# Place of a policy in the list: by name, then from the newest version.
PolicyPlace = tuple[str, int, bytes]


@dataclass(frozen=True)
class StoredPolicy:
    """A policy with its digest and canonical body."""

    policy: Policy
    digest: bytes
    body: bytes
    is_current: bool


class PolicyStore:
    """The current policies, and the table of all. Each method is one transaction, and caches by digest."""

    def __init__(self, database: Database, current: Mapping[str, Policy]) -> None:
        """`current`: the policies that new requests may name, by name; fixed while the process runs."""
        self._database = database
        self._insert = database.insert(policy_table).on_conflict_do_nothing()
        bodies = {name: one.canonical() for name, one in current.items()}
        self._current = {
            name: StoredPolicy(one, bytes.fromhex(one.digest()), bodies[name], is_current=True)
            for name, one in current.items()
        }
        self._known = {one.digest: one for one in self._current.values()}

    async def record_current(self) -> None:
        """Stores the current policies, once each; warns of one that changed without a new version."""
        now = datetime.now(UTC)
        rows = [
            {
                "digest": one.digest,
                "name": one.policy.name,
                "version": one.policy.version,
                "body": one.body,
                "create_time": now,
            }
            for one in self._current.values()
        ]
        for name, version in await self._database.transact(
            _record, self._insert, rows, operation="record policies"
        ):
            _LOG.warning(
                "policy %s changed but is still version %d; increase its version, so that people can tell "
                "the two apart",
                name,
                version,
            )

    @property
    def current(self) -> Mapping[str, StoredPolicy]:
        """The policies that new requests may name, by name."""
        return self._current

    async def by_digest(self, digest: bytes) -> StoredPolicy | None:
        """The policy with this digest, if it was ever recorded here."""
        known = self._known.get(digest)
        if known is None:
            known = await self._first(policy_table.c.digest == digest)
            if known is not None:
                self._known[digest] = known
        return known

    async def by_name(self, name: str, version: int) -> StoredPolicy | None:
        """A version of a policy; version 0: the current one, else the newest."""
        current = self._current.get(name)
        if current is not None and version in (0, current.policy.version):
            return current
        named = policy_table.c.name == name
        return await self._first(named & (policy_table.c.version == version) if version else named)

    async def all_versions(self) -> list[StoredPolicy]:
        """Every policy that was ever recorded, by name, and by version from the newest."""
        rows = await self._database.query(_all, operation="list policies")
        return [self._stored(row) for row in rows]

    async def _first(self, condition: sa.ColumnElement[bool]) -> StoredPolicy | None:
        row = await self._database.query(_newest, condition, operation="get policy")
        return None if row is None else self._stored(row)

    def _stored(self, row: tuple[bytes, bytes]) -> StoredPolicy:
        digest, body = row
        current = {one.digest for one in self._current.values()}
        return StoredPolicy(Policy.model_validate_json(body), digest, body, is_current=digest in current)


_ALL = sa.select(policy_table.c.digest, policy_table.c.body).order_by(
    policy_table.c.name, policy_table.c.version.desc(), policy_table.c.create_time.desc()
)


def _record(
    connection: sa.Connection, insertion: sa.Insert, rows: list[dict[str, object]]
) -> list[tuple[str, int]]:
    """Inserts new policies; returns the names and versions that had another body before."""
    changed = []
    for row in rows:
        is_new = connection.execute(insertion, row).rowcount > 0
        others = sa.select(sa.func.count()).where(
            policy_table.c.name == row["name"],
            policy_table.c.version == row["version"],
            policy_table.c.digest != row["digest"],
        )
        if is_new and connection.scalar(others):
            changed.append((str(row["name"]), int(str(row["version"]))))
    return changed


def _newest(connection: sa.Connection, condition: sa.ColumnElement[bool]) -> tuple[bytes, bytes] | None:
    row = connection.execute(_ALL.where(condition).limit(1)).one_or_none()
    return None if row is None else (row.digest, row.body)


def _all(connection: sa.Connection) -> list[tuple[bytes, bytes]]:
    return [(row.digest, row.body) for row in connection.execute(_ALL)]
