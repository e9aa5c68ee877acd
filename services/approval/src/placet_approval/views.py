"""The view: what the log says, laid out for reading. Only the projector writes it."""

from __future__ import annotations

import base64
import binascii
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from placet.approval.v1 import approval_pb2
from placet.audit.v1 import event_pb2
from placet_approval.domain.visibility import Sight
from placet_approval.tables import VIEW_TABLES, lease, view, view_asked, view_cursor, view_event
from placet_rpc.errors import FieldViolation, InvalidArgument
from placet_storage import Database


@dataclass(frozen=True)
class Shown:
    """A request as the view has it, with those who were asked."""

    approval: approval_pb2.Approval
    asked: frozenset[str]


@dataclass(frozen=True)
class Filter:
    """Which requests to list; empty means any."""

    states: tuple[str, ...] = ()
    policy: str = ""
    subject_id: str = ""
    waiting_for: str = ""


class CursorMoved(Exception):
    """Another process wrote the view meanwhile; whoever catches this reads on from where it is now."""


class ViewStore:
    """The queries."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # Reading.

    async def get(self, tenant: str, approval_id: str) -> Shown | None:
        """A request, if the view knows it."""
        async with self._database.read("get view") as connection:
            query = sa.select(view.c.approval).where(
                view.c.tenant == tenant, view.c.approval_id == approval_id
            )
            found: bytes | None = await connection.scalar(query)
            if found is None:
                return None
            asked = await connection.scalars(
                sa.select(view_asked.c.person).where(
                    view_asked.c.tenant == tenant, view_asked.c.approval_id == approval_id
                )
            )
            return Shown(approval_pb2.Approval.FromString(found), frozenset(asked))

    async def path(self, tenant: str, approval_id: str) -> list[event_pb2.LogEntry]:
        """A request's entries, in order."""
        query = (
            sa.select(view_event.c.entry)
            .where(view_event.c.tenant == tenant, view_event.c.approval_id == approval_id)
            .order_by(view_event.c.number)
        )
        async with self._database.read("get path") as connection:
            return [event_pb2.LogEntry.FromString(entry) for entry in await connection.scalars(query)]

    async def page(
        self, sight: Sight, wanted: Filter, size: int, token: str
    ) -> tuple[list[approval_pb2.Approval], str]:
        """One page, newest first, and the token of the next (empty at the end).

        Raises InvalidArgument for a token that was not given by this method.
        """
        query = _visible(sight, wanted).order_by(view.c.create_time.desc(), view.c.approval_id.desc())
        if token:
            create_time, approval_id = _read_token(token)
            place = sa.tuple_(view.c.create_time, view.c.approval_id)
            # With the column's own type: PostgreSQL would read a plain time in the session's zone.
            after = sa.tuple_(sa.literal(create_time, view.c.create_time.type), sa.literal(approval_id))
            query = query.where(place < after)
        async with self._database.read("list view") as connection:
            rows = (await connection.execute(query.limit(size + 1))).all()
        approvals = [approval_pb2.Approval.FromString(row.approval) for row in rows[:size]]
        if len(rows) <= size:
            return approvals, ""
        return approvals, _token(rows[size - 1].create_time, rows[size - 1].approval_id)

    async def events_from(self, tenant: str, log_index: int, limit: int) -> list[event_pb2.LogEntry]:
        """Requests' entries from an index of the log on."""
        query = (
            sa.select(view_event.c.entry)
            .where(view_event.c.tenant == tenant, view_event.c.log_index >= log_index)
            .order_by(view_event.c.log_index)
            .limit(limit)
        )
        async with self._database.read("list events") as connection:
            return [event_pb2.LogEntry.FromString(entry) for entry in await connection.scalars(query)]

    async def next_index(self, tenant: str) -> int:
        """The first index of the tenant's log that the view has not read."""
        async with self._database.read("get cursor") as connection:
            return await _cursor(connection, tenant)

    # Writing.

    async def write(
        self,
        tenant: str,
        expected: int,
        entries: Sequence[event_pb2.LogEntry],
        changed: Sequence[tuple[Shown, Sequence[str]]],
    ) -> None:
        """Writes the next entries and the requests that they changed, with the cursor, in one transaction.

        `changed` holds each request with those of its asked that are new. Raises CursorMoved when the view
        has not read exactly up to `expected`.
        """
        async with self._database.write("project") as connection:
            await self._move_cursor(connection, tenant, expected, entries[-1].index + 1)
            rows = [_event_row(tenant, entry) for entry in entries if entry.entry.approval_id]
            if rows:
                await connection.execute(sa.insert(view_event), rows)
            for shown, newly_asked in changed:
                await self._upsert(connection, tenant, shown.approval)
                if newly_asked:
                    keys = {"tenant": tenant, "approval_id": shown.approval.id}
                    await connection.execute(
                        sa.insert(view_asked), [{**keys, "person": person} for person in newly_asked]
                    )

    async def drop(self) -> None:
        """Empties the view; the projector builds it again from the log."""
        async with self._database.write("drop view") as connection:
            for table in VIEW_TABLES:
                await connection.execute(sa.delete(table))

    async def hold_leases(
        self, names: Sequence[str], holder: str, now: datetime, duration: timedelta
    ) -> set[str]:
        """Takes or keeps the leases of these names; answers those that the holder has now."""
        if not names:
            return set()
        # In one order, so that two processes never wait for each other's rows.
        rows = [{"name": name, "holder": holder, "expires": now + duration} for name in sorted(names)]
        statement = self._database.insert(lease).values(rows)
        statement = statement.on_conflict_do_update(
            index_elements=[lease.c.name],
            set_={"holder": statement.excluded.holder, "expires": statement.excluded.expires},
            where=(lease.c.holder == holder) | (lease.c.expires < now),
        )
        async with self._database.write("lease") as connection:
            return set(await connection.scalars(statement.returning(lease.c.name)))

    async def release_leases(self, holder: str) -> None:
        """Gives all of a holder's leases back."""
        async with self._database.write("release leases") as connection:
            await connection.execute(sa.delete(lease).where(lease.c.holder == holder))

    async def _move_cursor(
        self, connection: AsyncConnection, tenant: str, expected: int, following: int
    ) -> None:
        row = {"tenant": tenant, "next_index": following}
        statement = self._database.insert(view_cursor).values(row)
        if expected == 0:
            statement = statement.on_conflict_do_nothing()
            moved = (await connection.execute(statement)).rowcount
        else:
            update = sa.update(view_cursor).where(
                view_cursor.c.tenant == tenant, view_cursor.c.next_index == expected
            )
            moved = (await connection.execute(update.values(next_index=following))).rowcount
        if not moved:
            raise CursorMoved(tenant)

    async def _upsert(
        self, connection: AsyncConnection, tenant: str, approval: approval_pb2.Approval
    ) -> None:
        row = {
            "tenant": tenant,
            "approval_id": approval.id,
            "requester": approval.requester,
            "state": event_pb2.State.Name(approval.state),
            "policy": approval.policy,
            "subject_id": approval.subject_id,
            "create_time": approval.create_time.ToDatetime(tzinfo=UTC),
            "last_number": approval.last_number,
            "approval": approval.SerializeToString(deterministic=True),
        }
        statement = self._database.insert(view).values(row)
        await connection.execute(
            statement.on_conflict_do_update(index_elements=[view.c.tenant, view.c.approval_id], set_=row)
        )


async def _cursor(connection: AsyncConnection, tenant: str) -> int:
    query = sa.select(view_cursor.c.next_index).where(view_cursor.c.tenant == tenant)
    found: int | None = await connection.scalar(query)
    return found or 0


def _event_row(tenant: str, entry: event_pb2.LogEntry) -> dict[str, object]:
    return {
        "tenant": tenant,
        "log_index": entry.index,
        "approval_id": entry.entry.approval_id,
        "number": entry.entry.number,
        "entry": entry.SerializeToString(),
    }


def _visible(sight: Sight, wanted: Filter) -> sa.Select[tuple[datetime, str, bytes]]:
    query = sa.select(view.c.create_time, view.c.approval_id, view.c.approval).where(
        view.c.tenant == sight.tenant
    )
    if not sight.everything:
        query = query.where((view.c.requester == sight.subject) | _asks(sight.subject))
    if wanted.states:
        query = query.where(view.c.state.in_(wanted.states))
    if wanted.policy:
        query = query.where(view.c.policy == wanted.policy)
    if wanted.subject_id:
        query = query.where(view.c.subject_id == wanted.subject_id)
    if wanted.waiting_for:
        query = query.where(view.c.state == "STATE_PENDING", _asks(wanted.waiting_for))
    return query


def _asks(person: str) -> sa.ColumnElement[bool]:
    return sa.exists().where(
        view_asked.c.tenant == view.c.tenant,
        view_asked.c.approval_id == view.c.approval_id,
        view_asked.c.person == person,
    )


def _token(create_time: datetime, approval_id: str) -> str:
    return base64.urlsafe_b64encode(f"{create_time.isoformat()}|{approval_id}".encode()).decode()


def _read_token(token: str) -> tuple[datetime, str]:
    try:
        written, approval_id = base64.urlsafe_b64decode(token.encode()).decode().split("|")
        create_time = datetime.fromisoformat(written).astimezone(UTC)
        uuid.UUID(approval_id)
    except (binascii.Error, UnicodeError, ValueError, OverflowError) as error:
        violation = FieldViolation("page_token", "was not given by this service")
        raise InvalidArgument("page_token was not given by this service", violations=[violation]) from error
    return create_time, approval_id
