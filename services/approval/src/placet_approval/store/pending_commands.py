"""Commands that were answered ACCEPTED: noted until their request is closed at the latest, so that they are
known, counted, and brought to a workflow that must begin again."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from placet_approval.store.tables import IS_OPEN, view, view_erasure
from placet_approval.store.tables import command as noted_command
from placet_domain.commands import Command
from placet_storage import Database, truncate_wal_after_commit


@dataclass(frozen=True)
class Noted:
    """A command that was answered ACCEPTED."""

    command_id: str
    # SHA-256 of the command. One id may be noted with two: the log tells which of them was judged.
    digest: bytes
    # Who sent it.
    actor: str


class Notes:
    """The queries. Each method is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._insert = database.insert(noted_command).on_conflict_do_nothing()

    async def add(
        self, tenant: str, approval_id: str, command: Command, time: datetime, judged: Collection[str] = ()
    ) -> bool:
        """Notes a command that was sent at `time` and is durable but not judged yet; forgets those that are
        `judged` by now. False when it was noted before."""
        keys = {"tenant": tenant, "approval_id": approval_id}
        row = {
            **keys,
            "command_id": command.id,
            "digest": bytes.fromhex(command.digest()),
            "actor": command.actor.name,
            "command": command.model_dump_json(),
            "accept_time": time,
        }
        return await self._database.transact(
            _add, self._insert, row, keys, judged, operation="accept command"
        )

    async def forget_closed(self, before: datetime) -> None:
        """Forgets what was noted before a time for requests that the view shows as closed: whatever became of
        it is in the log, where what people wrote can be erased. What was noted after that is erased."""
        await self._database.transact(_forget_closed, before, operation="forget commands")

    async def commands(self, tenant: str, approval_id: str) -> list[Command]:
        """A request's noted commands, in the order in which they were accepted."""
        return await self._database.query(_commands, tenant, approval_id, operation="get commands")


_OF_REQUEST = (
    noted_command.c.tenant == sa.bindparam("tenant"),
    noted_command.c.approval_id == sa.bindparam("approval_id"),
)
_NOTED = sa.select(noted_command.c.command_id, noted_command.c.digest, noted_command.c.actor).where(
    *_OF_REQUEST
)
_COMMANDS = sa.select(noted_command.c.command).where(*_OF_REQUEST).order_by(noted_command.c.accept_time)
_FORGET = sa.delete(noted_command).where(
    *_OF_REQUEST, noted_command.c.command_id.in_(sa.bindparam("judged", expanding=True))
)


_FORGET_CLOSED = sa.delete(noted_command).where(
    noted_command.c.accept_time < sa.bindparam("before", type_=noted_command.c.accept_time.type),
    sa.exists().where(
        view.c.tenant == noted_command.c.tenant,
        view.c.approval_id == noted_command.c.approval_id,
        ~IS_OPEN,
    ),
)
_FORGET_ERASED = _FORGET_CLOSED.where(
    sa.exists().where(
        view_erasure.c.tenant == noted_command.c.tenant,
        view_erasure.c.approval_id == noted_command.c.approval_id,
    )
)


def noted_in(connection: sa.Connection, tenant: str, approval_id: str) -> tuple[Noted, ...]:
    """A request's noted commands, within a transaction."""
    rows = connection.execute(_NOTED, {"tenant": tenant, "approval_id": approval_id})
    return tuple(Noted(*row) for row in rows)


def _add(
    connection: sa.Connection,
    insertion: sa.Insert,
    row: dict[str, object],
    keys: dict[str, str],
    judged: Collection[str],
) -> bool:
    is_new = connection.execute(insertion, row).rowcount > 0
    if judged:
        connection.execute(_FORGET, {**keys, "judged": sorted(judged)})
    return is_new


def _forget_closed(connection: sa.Connection, before: datetime) -> None:
    if connection.execute(_FORGET_ERASED, {"before": before}).rowcount > 0:
        truncate_wal_after_commit(connection)
    connection.execute(_FORGET_CLOSED, {"before": before})


def _commands(connection: sa.Connection, tenant: str, approval_id: str) -> list[Command]:
    rows = connection.execute(_COMMANDS, {"tenant": tenant, "approval_id": approval_id})
    return [Command.model_validate_json(body) for (body,) in rows]
