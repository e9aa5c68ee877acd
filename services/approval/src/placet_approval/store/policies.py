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
        # The policies that new requests may name, by name.
        self.current: Mapping[str, StoredPolicy] = {
            name: StoredPolicy(one, bytes.fromhex(one.digest()), one.canonical(), is_current=True)
            for name, one in current.items()
        }
        self._known = {one.digest: one for one in self.current.values()}

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
            for one in self.current.values()
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

    async def by_digest(self, digest: bytes) -> StoredPolicy | None:
        """The policy with this digest, if it was ever recorded here."""
        if digest not in self._known:
            found = await self._stored(policy_table.c.digest == digest)
            self._known.update({one.digest: one for one in found})
        return self._known.get(digest)

    async def by_name(self, name: str, version: int) -> StoredPolicy | None:
        """A version of a policy; version 0: the current one, else the newest."""
        current = self.current.get(name)
        if current is not None and version in (0, current.policy.version):
            return current
        named = policy_table.c.name == name
        found = await self._stored(named & (policy_table.c.version == version) if version else named)
        return found[0] if found else None

    async def all_versions(self) -> list[StoredPolicy]:
        """Every policy that was ever recorded, by name, and by version from the newest."""
        return await self._stored(sa.true())

    async def _stored(self, condition: sa.ColumnElement[bool]) -> list[StoredPolicy]:
        rows = await self._database.query(_select, condition, operation="get policies")
        return [
            self._known.get(digest)
            or StoredPolicy(Policy.model_validate_json(body), digest, body, is_current=False)
            for digest, body in rows
        ]


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


def _select(connection: sa.Connection, condition: sa.ColumnElement[bool]) -> list[tuple[bytes, bytes]]:
    return [(row.digest, row.body) for row in connection.execute(_ALL.where(condition))]
