"""The view: the log's content in tables for reading. Only the projector writes it."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import sqlalchemy as sa

from placet.approval.v1 import approval_pb2
from placet.event.v1 import event_pb2
from placet_approval.store.decision_stats import Decision, alarm_rows, decision_columns
from placet_approval.store.erasure_store import erase_in, erased_id, erasure_in
from placet_approval.store.filters import Filter, visible_requests
from placet_approval.store.requests import Request, request_in
from placet_approval.store.tables import (
    LOG,
    VIEW_TABLES,
    view,
    view_alarm,
    view_asked,
    view_erasure,
    view_event,
    view_label,
)
from placet_approval.visibility import Visibility
from placet_logtail import Cursor
from placet_rpc.paging import Listing
from placet_storage import Database

# The view's name among the consumers of the log.
VIEW = "view"
_LIST_APPROVALS = "placet.approval.v1.ApprovalService/ListApprovals"


@dataclass(frozen=True)
class ProjectedApproval:
    """A request as the view holds it. `decision`: for the view's columns only."""

    approval: approval_pb2.Approval
    # See ApprovalState.awaited.
    asked: Mapping[str, bool]
    decision: Decision | None = field(default=None, compare=False)


@dataclass(frozen=True)
class CommandContext:
    """The request of a command: its entries in the view, and whether the request exists."""

    path: Sequence[event_pb2.LogEntry]
    exists: bool


class ViewStore:
    """The queries. Each method is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._cursor = Cursor(database, LOG, VIEW)
        self._statements = _statements(database)

    # Reading.

    async def get(self, tenant: str, approval_id: str) -> ProjectedApproval | Request | None:
        """A request as the view holds it; as it was accepted, while the view does not hold it."""
        return await self._database.query(_get, tenant, approval_id, operation="get view")

    async def command_context(self, tenant: str, approval_id: str) -> CommandContext:
        """The request that a command is for."""
        return await self._database.query(
            _command_context, tenant, approval_id, operation="get command context"
        )

    async def path(self, tenant: str, approval_id: str, after: int = 0) -> list[event_pb2.LogEntry]:
        """A request's entries after a number, in order."""
        return await self._database.query(path_in, tenant, approval_id, after, operation="get path")

    async def first(self, tenant: str, approval_id: str) -> event_pb2.LogEntry | None:
        """A request's first entry; None while the view does not hold it."""
        return await self._database.query(_first, tenant, approval_id, operation="get first")

    async def before(
        self, tenant: str, approval_id: str, log_index: int
    ) -> tuple[list[event_pb2.LogEntry], event_pb2.LogEntry | None]:
        """A request's entries, and its last erasure before an index."""
        return await self._database.query(_before, tenant, approval_id, log_index, operation="get before")

    async def page(
        self, visible: Visibility, wanted: Filter, size: int, token: str
    ) -> tuple[list[approval_pb2.Approval], str]:
        """One page, newest first, and the token of the next (empty at the end).

        Raises InvalidArgument for a token that this method did not return.
        """
        query = visible_requests(visible, wanted).order_by(
            view.c.create_time.desc(), view.c.approval_id.desc()
        )
        listing = Listing(_LIST_APPROVALS, visible.tenant, visible=visible, wanted=wanted)
        if token:
            create_time, approval_id = listing.position(token, _place)
            place = sa.tuple_(view.c.create_time, view.c.approval_id)
            # With the column's own type: PostgreSQL would read a plain time in the session's zone.
            after = sa.tuple_(sa.literal(create_time, view.c.create_time.type), sa.literal(approval_id))
            query = query.where(place < after)
        return await self._database.query(_page, query, size, listing, operation="list view")

    async def paths(self, tenant: str, approval_ids: Sequence[str]) -> dict[str, list[event_pb2.LogEntry]]:
        """The entries of some requests, each in order."""
        return await self._database.query(_paths, tenant, approval_ids, operation="get paths")

    async def events_from(
        self, tenant: str, log_index: int, limit: int
    ) -> tuple[list[event_pb2.LogEntry], int]:
        """Requests' entries and erasures from an index of the log on, and the view's next index."""
        return await self._database.query(
            _events_from, self._cursor, tenant, log_index, limit, operation="list events"
        )

    async def next_index(self, tenant: str) -> int:
        """The first index of the tenant's log that the view has not read."""
        return await self._database.query(self._cursor.read, tenant, operation="get cursor")

    async def newest(self, tenant: str) -> event_pb2.LogEntry | None:
        """The last entry of a request that the view has read; None if it has read none."""
        return await self._database.query(_newest, tenant, operation="get newest")

    # Writing.

    async def write(
        self,
        tenant: str,
        expected: int,
        entries: Sequence[event_pb2.LogEntry],
        changed: Sequence[tuple[ProjectedApproval, Mapping[str, bool]]],
        unusable: Mapping[int, str] | None = None,
    ) -> None:
        """Writes the next entries and the requests that they changed, with the cursor, in one transaction.

        Erasures among them are applied to the tables that this service owns (see `erasure_store`).
        `changed`: each request with the people who are newly awaited, or not any more. `unusable`: the
        reason, by index, for which an entry changed nothing. Raises CursorMoved when the view has not read
        exactly up to `expected`.
        The write is not synced: after a crash the entries are read from the log again.
        """
        rows = _Rows(
            events=[_event_row(tenant, entry) for entry in entries if entry.entry.approval_id],
            requests=[view_row(tenant, projected) for projected, _ in changed],
            asked=[
                {
                    "tenant": tenant,
                    "approval_id": projected.approval.approval_id,
                    "person": person,
                    "awaited": awaited,
                }
                for projected, people in changed
                for person, awaited in people.items()
            ],
            labels=[
                {"tenant": tenant, "approval_id": projected.approval.approval_id, "key": key, "value": value}
                for projected, _ in changed
                for key, value in projected.approval.labels.items()
            ],
            erasures=[entry for entry in entries if erased_id(entry)],
            alarms=alarm_rows(tenant, entries),
            unusable=unusable or {},
        )
        following = entries[-1].index + 1
        await self._database.transact_unsynced(
            _write, self._cursor, self._statements, tenant, expected, following, rows, operation="project"
        )

    async def skip(self, tenant: str, expected: int, log_index: int, reason: str) -> None:
        """Moves the cursor past an entry that cannot be written. Raises CursorMoved as `write` does."""
        rows = _Rows(unusable={log_index: reason})
        await self._database.transact_unsynced(
            _write, self._cursor, self._statements, tenant, expected, log_index + 1, rows, operation="skip"
        )

    async def drop(self, tenant: str | None = None) -> None:
        """Empties the view, of one tenant or of all; the projector builds it again from the log."""
        await self._database.transact(_drop, self._cursor, tenant, operation="drop view")


# Built once, because building a statement costs as much as running it.

_TENANT, _ID = sa.bindparam("tenant", type_=sa.Text), sa.bindparam("approval_id", type_=sa.Text)
_VIEW = sa.select(view.c.approval).where(view.c.tenant == _TENANT, view.c.approval_id == _ID)
_ASKED = sa.select(view_asked.c.person, view_asked.c.awaited).where(
    view_asked.c.tenant == _TENANT, view_asked.c.approval_id == _ID
)
_FIRST = sa.select(view_event.c.entry).where(
    view_event.c.tenant == _TENANT, view_event.c.approval_id == _ID, view_event.c.number == 1
)
_PATH = (
    sa.select(view_event.c.entry)
    .where(
        view_event.c.tenant == _TENANT,
        view_event.c.approval_id == _ID,
        view_event.c.number > sa.bindparam("after"),
    )
    .order_by(view_event.c.number)
)
_EVENTS = (
    sa.union_all(
        *(
            sa.select(table.c.log_index, table.c.entry).where(
                table.c.tenant == _TENANT, table.c.log_index >= sa.bindparam("from_index")
            )
            for table in (view_event, view_erasure)
        )
    )
    .order_by("log_index")
    .limit(sa.bindparam("limit", type_=sa.Integer))
)
_NEWEST = (
    sa.select(view_event.c.entry)
    .where(view_event.c.tenant == _TENANT)
    .order_by(view_event.c.log_index.desc())
    .limit(1)
)
_INSERT_EVENTS = sa.insert(view_event)
_INSERT_ALARMS = sa.insert(view_alarm)


@dataclass(frozen=True)
class _Statements:
    """Statements that differ between kinds of database."""

    upsert: sa.Executable
    upsert_asked: sa.Executable
    insert_labels: sa.Executable


def _statements(database: Database) -> _Statements:
    labels = database.insert(view_label).on_conflict_do_nothing()
    return _Statements(_upsert(database, view), _upsert(database, view_asked), labels)


def _upsert(database: Database, table: sa.Table) -> sa.Executable:
    insertion = database.insert(table)
    return insertion.on_conflict_do_update(
        index_elements=list(table.primary_key),
        set_={column.name: insertion.excluded[column.name] for column in table.c if not column.primary_key},
    )


@dataclass(frozen=True)
class _Rows:
    """Rows that a batch of entries adds to the view."""

    events: Sequence[Mapping[str, object]] = ()
    requests: Sequence[Mapping[str, object]] = ()
    asked: Sequence[Mapping[str, object]] = ()
    labels: Sequence[Mapping[str, object]] = ()
    erasures: Sequence[event_pb2.LogEntry] = ()
    alarms: Sequence[Mapping[str, object]] = ()
    unusable: Mapping[int, str] = field(default_factory=dict)


# Functions on a transaction's connection.


def _get(connection: sa.Connection, tenant: str, approval_id: str) -> ProjectedApproval | Request | None:
    keys = {"tenant": tenant, "approval_id": approval_id}
    found: bytes | None = connection.scalar(_VIEW, keys)
    if found is None:
        return request_in(connection, tenant, approval_id)
    asked = {row.person: row.awaited for row in connection.execute(_ASKED, keys)}
    return ProjectedApproval(approval_pb2.Approval.FromString(found), asked)


def _command_context(connection: sa.Connection, tenant: str, approval_id: str) -> CommandContext:
    path = path_in(connection, tenant, approval_id)
    return CommandContext(path, exists=bool(path) or request_in(connection, tenant, approval_id) is not None)


def path_in(
    connection: sa.Connection, tenant: str, approval_id: str, after: int = 0
) -> list[event_pb2.LogEntry]:
    """A request's entries in the view after a number, in order."""
    rows = connection.execute(_PATH, {"tenant": tenant, "approval_id": approval_id, "after": after})
    return [event_pb2.LogEntry.FromString(entry) for (entry,) in rows]


def _first(connection: sa.Connection, tenant: str, approval_id: str) -> event_pb2.LogEntry | None:
    found: bytes | None = connection.scalar(_FIRST, {"tenant": tenant, "approval_id": approval_id})
    return None if found is None else event_pb2.LogEntry.FromString(found)


def _paths(
    connection: sa.Connection, tenant: str, approval_ids: Sequence[str]
) -> dict[str, list[event_pb2.LogEntry]]:
    query = sa.select(view_event.c.approval_id, view_event.c.entry).where(
        view_event.c.tenant == tenant, view_event.c.approval_id.in_(approval_ids)
    )
    paths: dict[str, list[event_pb2.LogEntry]] = {approval_id: [] for approval_id in approval_ids}
    for approval_id, entry in connection.execute(query.order_by(view_event.c.log_index)):
        paths[approval_id].append(event_pb2.LogEntry.FromString(entry))
    return paths


def _before(
    connection: sa.Connection, tenant: str, approval_id: str, log_index: int
) -> tuple[list[event_pb2.LogEntry], event_pb2.LogEntry | None]:
    erasure = erasure_in(connection, tenant, approval_id, log_index)
    return path_in(connection, tenant, approval_id), erasure


def _page(
    connection: sa.Connection, query: sa.Select[tuple[datetime, str, bytes]], size: int, listing: Listing
) -> tuple[list[approval_pb2.Approval], str]:
    rows = connection.execute(query.limit(size + 1)).all()
    approvals = [approval_pb2.Approval.FromString(row.approval) for row in rows[:size]]
    if len(rows) <= size:
        return approvals, ""
    last = rows[size - 1]
    return approvals, listing.token(f"{last.create_time.isoformat()}|{last.approval_id}")


def _place(position: str) -> tuple[datetime, str]:
    """The request that a page ended with. Raises ValueError."""
    create_time, approval_id = position.split("|")
    return datetime.fromisoformat(create_time).astimezone(UTC), str(uuid.UUID(approval_id))


def _events_from(
    connection: sa.Connection, cursor: Cursor, tenant: str, log_index: int, limit: int
) -> tuple[list[event_pb2.LogEntry], int]:
    rows = connection.execute(_EVENTS, {"tenant": tenant, "from_index": log_index, "limit": limit})
    return [event_pb2.LogEntry.FromString(entry) for _, entry in rows], cursor.read(connection, tenant)


def _write(
    connection: sa.Connection,
    cursor: Cursor,
    statements: _Statements,
    tenant: str,
    expected: int,
    following: int,
    rows: _Rows,
) -> None:
    cursor.move(connection, tenant, expected, following)
    for log_index, reason in rows.unusable.items():
        cursor.skip(connection, tenant, log_index, reason)
    if rows.events:
        connection.execute(_INSERT_EVENTS, rows.events)
    for erasure in rows.erasures:
        # After the entries of the same batch, and before the requests' new state is written.
        erase_in(connection, tenant, erasure)
    for statement, added in (
        (statements.upsert, rows.requests),
        (statements.upsert_asked, rows.asked),
        (statements.insert_labels, rows.labels),
        (_INSERT_ALARMS, rows.alarms),
    ):
        if added:
            connection.execute(statement, added)


def _drop(connection: sa.Connection, cursor: Cursor, tenant: str | None) -> None:
    cursor.drop(connection, tenant)
    for table in VIEW_TABLES:
        of_tenant = sa.true() if tenant is None else table.c.tenant == tenant
        connection.execute(sa.delete(table).where(of_tenant))


def _newest(connection: sa.Connection, tenant: str) -> event_pb2.LogEntry | None:
    found: bytes | None = connection.scalar(_NEWEST, {"tenant": tenant})
    return None if found is None else event_pb2.LogEntry.FromString(found)


def _event_row(tenant: str, entry: event_pb2.LogEntry) -> dict[str, object]:
    return {
        "tenant": tenant,
        "log_index": entry.index,
        "approval_id": entry.entry.approval_id,
        "number": entry.entry.number,
        "entry": entry.SerializeToString(),
    }


def view_row(tenant: str, projected: ProjectedApproval) -> dict[str, object]:
    """A request's row in the view."""
    approval = projected.approval
    return {
        "tenant": tenant,
        "approval_id": approval.approval_id,
        "requester": approval.requester,
        "state": event_pb2.State.Name(approval.state),
        "policy": approval.policy,
        "subject_id": approval.subject_id,
        "create_time": approval.create_time.ToDatetime(tzinfo=UTC),
        "last_number": approval.last_number,
        **decision_columns(projected.decision),
        "approval": approval.SerializeToString(deterministic=True),
    }
