"""What ApprovalService owns: requests, their contents, and commands that are not judged yet."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from placet_approval.tables import command, content, request, view
from placet_storage import Database

# A place in the order of all requests: when they came, and among those of one moment by id.
Place = tuple[datetime, str]


@dataclass(frozen=True)
class Content:
    """What is to be decided: the bytes as they came, and the text in them."""

    digest: bytes
    media_type: str
    body: bytes
    text: str


@dataclass(frozen=True)
class Request:
    """A request as it was accepted; all that is needed to log and start it, now or again."""

    tenant: str
    approval_id: str
    # SHA-256 of the caller's message.
    payload_digest: bytes
    # The serialized `received` event.
    received: bytes
    # The `processed` event as JSON.
    processed: str
    # The policy's canonical body.
    policy: bytes
    labels: Mapping[str, str]
    create_time: datetime


class RequestStore:
    """The queries. Each write is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def insert(self, new: Request, its_content: Content) -> Request:
        """Stores a request with its content, unless one with its id is there; answers what is stored."""
        row = {**vars(new), "labels": json.dumps(dict(new.labels), sort_keys=True)}
        async with self._database.write("insert request") as connection:
            inserted = await connection.execute(
                self._database.insert(request).values(row).on_conflict_do_nothing()
            )
            if inserted.rowcount:
                keys = {"tenant": new.tenant, "approval_id": new.approval_id}
                await connection.execute(sa.insert(content).values(**keys, **vars(its_content)))
                return new
            found = await connection.execute(_request_query(new.tenant, new.approval_id))
            return _request(found.one())

    async def get(self, tenant: str, approval_id: str) -> Request | None:
        """A request, if there is one."""
        async with self._database.read("get request") as connection:
            row = (await connection.execute(_request_query(tenant, approval_id))).one_or_none()
        return None if row is None else _request(row)

    async def labels(self, tenant: str, approval_ids: Sequence[str]) -> dict[str, dict[str, str]]:
        """The labels of some requests, by id."""
        if not approval_ids:
            return {}
        query = sa.select(request.c.approval_id, request.c.labels).where(
            request.c.tenant == tenant, request.c.approval_id.in_(approval_ids)
        )
        async with self._database.read("get labels") as connection:
            rows = (await connection.execute(query)).all()
        return {row.approval_id: json.loads(row.labels) for row in rows}

    async def content(self, tenant: str, approval_id: str, digest: bytes) -> Content | None:
        """A request's content, if it has one with that digest."""
        query = sa.select(content.c.digest, content.c.media_type, content.c.body, content.c.text).where(
            content.c.tenant == tenant, content.c.approval_id == approval_id, content.c.digest == digest
        )
        async with self._database.read("get content") as connection:
            row = (await connection.execute(query)).one_or_none()
        return None if row is None else Content(row.digest, row.media_type, row.body, row.text)

    async def tenants(self) -> list[str]:
        """Every tenant that ever asked."""
        async with self._database.read("list tenants") as connection:
            return list(await connection.scalars(sa.select(request.c.tenant).distinct()))

    async def cut_short(self, after: Place, before: datetime, limit: int) -> list[Request]:
        """Requests between a place and a time, oldest first, of which the view knows nothing but that they
        were received."""
        joined = request.outerjoin(
            view, (view.c.tenant == request.c.tenant) & (view.c.approval_id == request.c.approval_id)
        )
        place = sa.tuple_(request.c.create_time, request.c.approval_id)
        start = sa.tuple_(sa.literal(after[0], request.c.create_time.type), sa.literal(after[1]))
        query = (
            sa.select(request)
            .select_from(joined)
            .where(place > start, request.c.create_time < before)
            .where(sa.func.coalesce(view.c.last_number, 0) <= 1)
            .order_by(request.c.create_time, request.c.approval_id)
            .limit(limit)
        )
        async with self._database.read("find cut short") as connection:
            return [_request(row) for row in (await connection.execute(query)).all()]

    async def accept_command(
        self, tenant: str, approval_id: str, command_id: str, digest: bytes, now: datetime
    ) -> bytes:
        """Notes a command that is durable but not judged yet; the digest of the one that is noted by that id,
        now or before."""
        row = {
            "tenant": tenant,
            "approval_id": approval_id,
            "command_id": command_id,
            "digest": digest,
            "accept_time": now,
        }
        async with self._database.write("accept command") as connection:
            noted = await connection.execute(
                self._database.insert(command).values(row).on_conflict_do_nothing()
            )
            if noted.rowcount:
                return digest
            query = _command_query(tenant, approval_id, command_id)
            return (await connection.scalars(query)).one()

    async def accepted_digest(self, tenant: str, approval_id: str, command_id: str) -> bytes | None:
        """The digest of a command that was answered ACCEPTED."""
        async with self._database.read("get command") as connection:
            digest: bytes | None = await connection.scalar(_command_query(tenant, approval_id, command_id))
            return digest


def _request_query(tenant: str, approval_id: str) -> sa.Select[tuple[object, ...]]:
    return sa.select(request).where(request.c.tenant == tenant, request.c.approval_id == approval_id)


def _command_query(tenant: str, approval_id: str, command_id: str) -> sa.Select[bytes]:
    return sa.select(command.c.digest).where(
        command.c.tenant == tenant,
        command.c.approval_id == approval_id,
        command.c.command_id == command_id,
    )


def _request(row: sa.Row[tuple[object, ...]]) -> Request:
    values = dict(row._mapping)
    return Request(**{**values, "labels": json.loads(values["labels"])})
