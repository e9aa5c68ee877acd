"""Pending commands: one row each, stored before the command is signalled, deleted once it is processed.

The row makes a command's id unique, counts the pending commands of each sender, and tells whether the command
was signalled and must be (again). A workflow that is started again gets its pending commands from these rows.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from placet_approval.store.requests import Place
from placet_approval.store.tables import IS_OPEN, request, view, view_erasure
from placet_approval.store.tables import command as command_table
from placet_domain.commands import BaseCommand, Command, command_from_json
from placet_rpc.errors import AlreadyExists, ResourceExhausted
from placet_storage import Database, truncate_wal_after_commit

# Pending commands of one sender to one request. Temporal bounds a history at 10,000 signals.
MOST_PENDING = 20
# Time after which a command that was not processed may be signalled once more; doubled after each signal.
SIGNAL_INTERVAL = timedelta(seconds=2)
# Doublings at most: every 34 minutes then.
MOST_DOUBLINGS = 10


@dataclass(frozen=True)
class OverdueCommand:
    """A command that must be signalled (again)."""

    tenant: str
    approval_id: str
    create_time: datetime


Attest = Callable[[str, str, BaseCommand], BaseCommand]


class PendingCommands:
    """The queries. Each method is one transaction."""

    def __init__(self, database: Database, attest: Attest) -> None:
        """`attest`: signs a command for a tenant's request, once, when it is stored."""
        self._database = database
        self._attest = attest
        self._insert = database.insert(command_table).on_conflict_do_nothing()

    async def claim(
        self,
        tenant: str,
        approval_id: str,
        command: BaseCommand,
        now: datetime,
        processed: Collection[str] = (),
    ) -> BaseCommand | None:
        """Stores a command durably, with its attestation; returns it when the caller must signal it: for the
        first time, or again as it was stored.

        The caller signals it in a block of `signalling`. Forgets those of `processed`, ids of commands of
        this request. Raises AlreadyExists (ID_REUSED) when the id is pending with another payload, and
        ResourceExhausted (TOO_MANY_COMMANDS).
        """
        return await self._database.transact(
            _claim,
            tenant,
            approval_id,
            command,
            now,
            processed,
            self._insert,
            self._attest,
            operation="claim command",
        )

    @asynccontextmanager
    async def signalling(self, tenant: str, approval_id: str, command_id: str) -> AsyncIterator[None]:
        """Records the signal made in the block.

        If the block fails, it releases the claim: the next call with the command signals it at once.
        """
        try:
            yield
        except BaseException:
            await self._database.transact(
                _release, tenant, approval_id, command_id, operation="release command"
            )
            raise
        # Unsynced: without the row's mark the command is signalled once more.
        await self._database.transact_unsynced(
            _confirm, tenant, approval_id, command_id, operation="confirm command"
        )

    async def unsignalled(self, tenant: str, approval_id: str, command_id: str) -> BaseCommand | None:
        """A pending command without a durable signal; None for any other."""
        return await self._database.query(
            _unsignalled, tenant, approval_id, command_id, operation="get signals"
        )

    async def forget(self, tenant: str, approval_id: str, command_ids: Collection[str]) -> None:
        """Deletes these commands of a request."""
        await self._database.transact(
            _forget, tenant, approval_id, command_ids, operation="forget processed commands"
        )

    async def overdue(
        self, after: Place, before: datetime, now: datetime, limit: int
    ) -> list[OverdueCommand]:
        """Commands that `claim` would grant, stored between a place and a time, oldest first.

        Their requests are open in the view.
        """
        return await self._database.query(
            _overdue, after, before, now, limit, operation="find overdue commands"
        )

    async def has(self, tenant: str, approval_id: str, command_id: str) -> bool:
        """Tells whether a command is pending."""
        return await self._database.query(_has, tenant, approval_id, command_id, operation="get command")

    async def of_request(self, tenant: str, approval_id: str) -> list[Command]:
        """A request's pending commands, oldest first."""
        return await self._database.query(_commands, tenant, approval_id, operation="get commands")

    async def forget_closed(self, before: datetime) -> None:
        """Deletes the commands, stored before a time, of requests that are closed in the view.

        Their results are in the log, where what people wrote can be erased.
        """
        await self._database.transact(_forget_closed, before, operation="forget commands")


_OF_REQUEST = (
    command_table.c.tenant == sa.bindparam("this_tenant"),
    command_table.c.approval_id == sa.bindparam("this_id"),
)
_OF_COMMAND = (*_OF_REQUEST, command_table.c.command_id == sa.bindparam("this_command"))
# One claim at a time for each request: PostgreSQL waits for this row; SQLite has one writer anyway.
_LOCK_REQUEST = (
    sa.select(request.c.approval_id)
    .where(request.c.tenant == sa.bindparam("this_tenant"), request.c.approval_id == sa.bindparam("this_id"))
    .with_for_update()
)
_ROWS = sa.select(
    command_table.c.command_id,
    command_table.c.digest,
    command_table.c.actor,
    command_table.c.signal_time,
    command_table.c.signals,
).where(*_OF_REQUEST)
_CLAIM = sa.update(command_table).where(*_OF_COMMAND).values(signal_time=sa.bindparam("now"))
_CONFIRM = sa.update(command_table).where(*_OF_COMMAND).values(signals=command_table.c.signals + 1)
_COMMAND = sa.select(command_table.c.command).where(*_OF_COMMAND)
_UNSIGNALLED = _COMMAND.where(command_table.c.signals == 0)
_RELEASE = sa.update(command_table).where(*_OF_COMMAND).values(signal_time=None)
_HAS = sa.select(command_table.c.command_id).where(*_OF_COMMAND)
_COMMANDS = sa.select(command_table.c.command).where(*_OF_REQUEST).order_by(command_table.c.create_time)
_FORGET = sa.delete(command_table).where(
    *_OF_REQUEST, command_table.c.command_id.in_(sa.bindparam("processed", expanding=True))
)
_FORGET_CLOSED = sa.delete(command_table).where(
    command_table.c.create_time < sa.bindparam("before", type_=command_table.c.create_time.type),
    sa.exists().where(
        view.c.tenant == command_table.c.tenant,
        view.c.approval_id == command_table.c.approval_id,
        ~IS_OPEN,
    ),
)
_FORGET_ERASED = _FORGET_CLOSED.where(
    sa.exists().where(
        view_erasure.c.tenant == command_table.c.tenant,
        view_erasure.c.approval_id == command_table.c.approval_id,
    )
)


def _claim(
    connection: sa.Connection,
    tenant: str,
    approval_id: str,
    command: BaseCommand,
    now: datetime,
    processed: Collection[str],
    insertion: sa.Insert,
    attest: Attest,
) -> BaseCommand | None:
    this = {"this_tenant": tenant, "this_id": approval_id}
    connection.execute(_LOCK_REQUEST, this)
    rows = connection.execute(_ROWS, this).all()
    done = sorted({row.command_id for row in rows} & set(processed))
    if done:
        connection.execute(_FORGET, {**this, "processed": done})
    digest = bytes.fromhex(command.digest())
    mine = next((row for row in rows if row.command_id == command.id), None)
    if mine is not None:
        if bytes(mine.digest) != digest:
            raise id_reused(command)
        # A time in the future is that of another clock, or of one that was set back.
        if mine.signal_time is not None and -SIGNAL_INTERVAL < now - mine.signal_time < _interval(
            mine.signals
        ):
            return None
        connection.execute(_CLAIM, {**this, "this_command": command.id, "now": now})
        stored = connection.execute(_COMMAND, {**this, "this_command": command.id}).scalar_one()
        return command_from_json(stored)
    pending = [row for row in rows if row.actor == command.actor.name and row.command_id not in done]
    if len(pending) >= MOST_PENDING:
        raise _too_many()
    attested = attest(tenant, approval_id, command) if command.attestation is None else command
    row = {
        "tenant": tenant,
        "approval_id": approval_id,
        "command_id": command.id,
        "digest": digest,
        "actor": command.actor.name,
        "command": attested.model_dump_json(),
        "create_time": now,
        "signal_time": now,
        "signals": 0,
    }
    # The row is there only where the request's own row, which is locked above, was lost.
    return attested if connection.execute(insertion, row).rowcount > 0 else None


def _interval(signals: int) -> timedelta:
    """Time from a claim until the next, of a command that was signalled so often."""
    return SIGNAL_INTERVAL * (1 << min(max(signals - 1, 0), MOST_DOUBLINGS))


def id_reused(command: BaseCommand) -> AlreadyExists:
    """The command's id was used for another command."""
    return AlreadyExists(
        f"the id {command.id} was used for another command; use a new one",
        reason="ID_REUSED",
        metadata={"command_id": command.id},
    )


def _too_many() -> ResourceExhausted:
    return ResourceExhausted(
        f"{MOST_PENDING} of your commands to this request are not processed yet; get their results with "
        "GetCommand, and send others once they are processed",
        reason="TOO_MANY_COMMANDS",
        metadata={"limit": str(MOST_PENDING)},
    )


def _release(connection: sa.Connection, tenant: str, approval_id: str, command_id: str) -> None:
    connection.execute(_RELEASE, {"this_tenant": tenant, "this_id": approval_id, "this_command": command_id})


def _confirm(connection: sa.Connection, tenant: str, approval_id: str, command_id: str) -> None:
    connection.execute(_CONFIRM, {"this_tenant": tenant, "this_id": approval_id, "this_command": command_id})


def _unsignalled(
    connection: sa.Connection, tenant: str, approval_id: str, command_id: str
) -> BaseCommand | None:
    this = {"this_tenant": tenant, "this_id": approval_id, "this_command": command_id}
    stored: str | None = connection.scalar(_UNSIGNALLED, this)
    return None if stored is None else command_from_json(stored)


def _has(connection: sa.Connection, tenant: str, approval_id: str, command_id: str) -> bool:
    this = {"this_tenant": tenant, "this_id": approval_id, "this_command": command_id}
    return connection.scalar(_HAS, this) is not None


def _commands(connection: sa.Connection, tenant: str, approval_id: str) -> list[Command]:
    rows = connection.execute(_COMMANDS, {"this_tenant": tenant, "this_id": approval_id})
    return [command_from_json(body) for (body,) in rows]


def _forget_closed(connection: sa.Connection, before: datetime) -> None:
    if connection.execute(_FORGET_ERASED, {"before": before}).rowcount > 0:
        truncate_wal_after_commit(connection)
    connection.execute(_FORGET_CLOSED, {"before": before})


def _forget(connection: sa.Connection, tenant: str, approval_id: str, command_ids: Collection[str]) -> None:
    this = {"this_tenant": tenant, "this_id": approval_id}
    connection.execute(_FORGET, {**this, "processed": sorted(command_ids)})


def _overdue(
    connection: sa.Connection, after: Place, before: datetime, now: datetime, limit: int
) -> list[OverdueCommand]:
    its = command_table.c

    def literal(time: datetime) -> sa.ColumnElement[datetime]:
        return sa.literal(time, its.create_time.type)

    is_open = sa.exists().where(view.c.tenant == its.tenant, view.c.approval_id == its.approval_id, IS_OPEN)
    # The rule of `_claim`.
    latest = sa.case(
        *(
            (its.signals == signals, literal(now - _interval(signals)))
            for signals in range(MOST_DOUBLINGS + 1)
        ),
        else_=literal(now - _interval(MOST_DOUBLINGS + 1)),
    )
    is_due = sa.or_(
        its.signal_time.is_(None),
        its.signal_time <= latest,
        its.signal_time >= literal(now + SIGNAL_INTERVAL),
    )
    query = (
        sa.select(its.tenant, its.approval_id, its.create_time)
        .where(
            sa.tuple_(its.create_time, its.approval_id) > sa.tuple_(literal(after[0]), sa.literal(after[1])),
            its.create_time < literal(before),
            is_due,
            is_open,
        )
        .order_by(its.create_time, its.approval_id)
        .limit(limit)
    )
    return [OverdueCommand(**row._mapping) for row in connection.execute(query)]
