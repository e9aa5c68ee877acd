"""Requests and their contents, which ApprovalService owns."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import sqlalchemy as sa

from placet_approval.store.tables import IS_OPEN, content, request, view
from placet_storage import Database

# A place in the order of all requests: by create time, then by id.
Place = tuple[datetime, str]
# Lost requests that are counted.
MOST_LOST = 1000
BEGINNING: Final[Place] = (datetime.min.replace(tzinfo=UTC), "")


@dataclass(frozen=True)
class Content:
    """Content to decide on: the bytes as received, and the text extracted from them."""

    digest: bytes
    media_type: str
    body: bytes
    text: str


@dataclass(frozen=True)
class Request:
    """A request as it was accepted, with all that logging and starting it needs."""

    tenant: str
    approval_id: str
    # SHA-256 of the caller's message.
    payload_digest: bytes
    # The serialized `received` event.
    received: bytes
    # The `processed` event as JSON.
    processed: str
    # SHA-256 of the policy's canonical body.
    policy_digest: bytes
    labels: Mapping[str, str]
    create_time: datetime


class RequestStore:
    """The queries. Each method is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._insert_request = database.insert(request).on_conflict_do_nothing()

    async def insert(self, new: Request, its_content: Content) -> tuple[Request, bool]:
        """Stores a request with its content, unless one with its id exists.

        Returns the stored request, and whether this call stored it.
        """
        return await self._database.transact(
            _insert, self._insert_request, new, its_content, operation="insert request"
        )

    async def get(self, tenant: str, approval_id: str) -> Request | None:
        """A request; None if it does not exist."""
        return await self._database.query(request_in, tenant, approval_id, operation="get request")

    async def discard(self, unlogged: Request) -> None:
        """Deletes a request that the log does not have in this form, with its content."""
        await self._database.transact(_discard, unlogged, operation="discard request")

    async def labels(self, tenant: str, approval_ids: Sequence[str]) -> dict[str, dict[str, str]]:
        """The labels of some requests, by id."""
        if not approval_ids:
            return {}
        return await self._database.query(_labels, tenant, approval_ids, operation="get labels")

    async def content(self, tenant: str, approval_id: str, digest: bytes) -> tuple[Content, Request] | None:
        """A request's content and the request; None unless it has content with that digest."""
        return await self._database.query(_content, tenant, approval_id, digest, operation="get content")

    async def lost(self, tenant: str) -> int:
        """The number of requests in the view that are not stored, MOST_LOST at most."""
        return await self._database.query(_lost, tenant, operation="count lost requests")

    async def tenants(self) -> list[str]:
        """Every tenant that has a request, stored or in the view."""
        return await self._database.query(_tenants, operation="list tenants")

    async def interrupted(self, after: Place, before: datetime, limit: int) -> list[Request]:
        """Requests between a place and a time, oldest first, of which the view has at most `received`."""
        return await self._database.query(_interrupted, after, before, limit, operation="find cut short")

    async def open(self, after: Place, before: datetime, limit: int) -> list[Request]:
        """Requests between a place and a time, oldest first, that are started and open in the view."""
        return await self._database.query(_open, after, before, limit, operation="find open")


# Built once, because building a statement costs as much as running it.

_OF_REQUEST = (
    request.c.tenant == sa.bindparam("tenant"),
    request.c.approval_id == sa.bindparam("approval_id"),
)
_REQUEST = sa.select(request).where(*_OF_REQUEST)
_CONTENT = (
    sa.select(content.c.digest, content.c.media_type, content.c.body, content.c.text, request)
    .join_from(
        content,
        request,
        (request.c.tenant == content.c.tenant) & (request.c.approval_id == content.c.approval_id),
    )
    .where(*_OF_REQUEST, content.c.digest == sa.bindparam("digest"))
)
_INSERT_CONTENT = sa.insert(content)
_LABELS = sa.select(request.c.approval_id, request.c.labels).where(
    request.c.tenant == sa.bindparam("tenant"),
    request.c.approval_id.in_(sa.bindparam("approval_ids", expanding=True)),
)


# Functions on a transaction's connection.


def request_in(connection: sa.Connection, tenant: str, approval_id: str) -> Request | None:
    """A request; None if it does not exist."""
    row = connection.execute(_REQUEST, {"tenant": tenant, "approval_id": approval_id}).one_or_none()
    return None if row is None else _request(row)


def _insert(
    connection: sa.Connection, insertion: sa.Insert, new: Request, its_content: Content
) -> tuple[Request, bool]:
    row = {**vars(new), "labels": json.dumps(dict(new.labels), sort_keys=True)}
    keys = {"tenant": new.tenant, "approval_id": new.approval_id}
    if connection.execute(insertion, row).rowcount:
        connection.execute(_INSERT_CONTENT, {**keys, **vars(its_content)})
        return new, True
    return _request(connection.execute(_REQUEST, keys).one()), False


def _labels(connection: sa.Connection, tenant: str, approval_ids: Sequence[str]) -> dict[str, dict[str, str]]:
    rows = connection.execute(_LABELS, {"tenant": tenant, "approval_ids": approval_ids})
    return {approval_id: json.loads(labels) for approval_id, labels in rows}


def _content(
    connection: sa.Connection, tenant: str, approval_id: str, digest: bytes
) -> tuple[Content, Request] | None:
    keys = {"tenant": tenant, "approval_id": approval_id, "digest": digest}
    row = connection.execute(_CONTENT, keys).one_or_none()
    if row is None:
        return None
    values = dict(row._mapping)
    its_content = Content(**{name: values.pop(name) for name in ("digest", "media_type", "body", "text")})
    return its_content, _request_of(values)


def _discard(connection: sa.Connection, unlogged: Request) -> None:
    same = (
        request.c.tenant == unlogged.tenant,
        request.c.approval_id == unlogged.approval_id,
        request.c.payload_digest == unlogged.payload_digest,
    )
    if connection.execute(sa.delete(request).where(*same)).rowcount:
        of_request = (content.c.tenant == unlogged.tenant, content.c.approval_id == unlogged.approval_id)
        connection.execute(sa.delete(content).where(*of_request))


def _lost(connection: sa.Connection, tenant: str) -> int:
    joined = view.outerjoin(
        request, (view.c.tenant == request.c.tenant) & (view.c.approval_id == request.c.approval_id)
    )
    lost = (
        sa.select(view.c.approval_id)
        .select_from(joined)
        .where(view.c.tenant == tenant, request.c.approval_id.is_(None))
        .limit(MOST_LOST)
    )
    return connection.scalar(sa.select(sa.func.count()).select_from(lost.subquery())) or 0


def _tenants(connection: sa.Connection) -> list[str]:
    of_tables = (sa.select(table.c.tenant).distinct() for table in (request, view))
    return list(connection.scalars(sa.union(*of_tables)))


def _interrupted(connection: sa.Connection, after: Place, before: datetime, limit: int) -> list[Request]:
    joined = request.outerjoin(
        view, (view.c.tenant == request.c.tenant) & (view.c.approval_id == request.c.approval_id)
    )
    query = (
        sa.select(request)
        .select_from(joined)
        .where(_place(request) > _literal(after), request.c.create_time < before)
        .where(sa.func.coalesce(view.c.last_number, 0) <= 1)
        .order_by(request.c.create_time, request.c.approval_id)
        .limit(limit)
    )
    return [_request(row) for row in connection.execute(query)]


def _open(connection: sa.Connection, after: Place, before: datetime, limit: int) -> list[Request]:
    joined = view.join(
        request, (view.c.tenant == request.c.tenant) & (view.c.approval_id == request.c.approval_id)
    )
    # Both tables have the time of `received`; that of the view is in the index of open requests.
    query = (
        sa.select(request)
        .select_from(joined)
        .where(IS_OPEN, view.c.last_number > 1)
        .where(_place(view) > _literal(after), view.c.create_time < before)
        .order_by(view.c.create_time, view.c.approval_id)
        .limit(limit)
    )
    return [_request(row) for row in connection.execute(query)]


def _place(table: sa.Table) -> sa.Tuple:
    return sa.tuple_(table.c.create_time, table.c.approval_id)


def _literal(place: Place) -> sa.Tuple:
    return sa.tuple_(sa.literal(place[0], request.c.create_time.type), sa.literal(place[1]))


def _request(row: sa.Row[tuple[object, ...]]) -> Request:
    return _request_of(dict(row._mapping))


def _request_of(values: Mapping[str, Any]) -> Request:  # Any: columns, each of its field's type
    return Request(**{**values, "labels": json.loads(values["labels"])})
