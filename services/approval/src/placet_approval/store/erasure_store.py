"""Erasure in this service's database: deletes and redacts everything that people wrote or are named by.

Digests, ids, policy, times and numbers stay, because idempotency and proofs need them.
"""

from __future__ import annotations

import sqlalchemy as sa
from google.protobuf.message import Message

from placet.event.v1 import event_pb2
from placet_approval.store.tables import (
    command,
    content,
    request,
    view_asked,
    view_erasure,
    view_event,
    view_label,
)
from placet_storage import truncate_wal_after_commit

NO_LABELS = "{}"


def erased_id(entry: event_pb2.LogEntry) -> str:
    """The id of the request that an `erased` entry is about; empty for other entries."""
    return "" if entry.entry.approval_id else entry.entry.event.erased.approval_id


def redact(message: Message) -> None:
    """Clears value and salt of every Erasable in a message, and keeps the commitments, as the log does."""
    for field, found in message.ListFields():
        if field.message_type is not None:
            for one in found if field.is_repeated else (found,):
                _redact(one)


def _redact(message: Message) -> None:
    if isinstance(message, event_pb2.Erasable):
        message.ClearField("value")
        message.ClearField("salt")
    else:
        redact(message)


_TENANT, _ID = sa.bindparam("this_tenant", type_=sa.Text), sa.bindparam("this_id", type_=sa.Text)
_DELETIONS = [
    sa.delete(table).where(table.c.tenant == _TENANT, table.c.approval_id == _ID)
    for table in (content, command, view_asked, view_label)
]
_OF_REQUEST = (request.c.tenant == _TENANT, request.c.approval_id == _ID)
_RECEIVED = sa.select(request.c.received).where(*_OF_REQUEST)
_REDACT_REQUEST = (
    sa.update(request).where(*_OF_REQUEST).values(received=sa.bindparam("redacted"), labels=NO_LABELS)
)
_PATH = sa.select(view_event.c.log_index, view_event.c.entry).where(
    view_event.c.tenant == _TENANT,
    view_event.c.approval_id == _ID,
    view_event.c.log_index < sa.bindparam("before"),
)
_INSERT_ERASURE = sa.insert(view_erasure)
_ERASURE = (
    sa.select(view_erasure.c.entry)
    .where(
        view_erasure.c.tenant == _TENANT,
        view_erasure.c.approval_id == _ID,
        view_erasure.c.log_index < sa.bindparam("before"),
    )
    .order_by(view_erasure.c.log_index.desc())
    .limit(1)
)
_REDACT_ENTRY = (
    sa.update(view_event)
    .where(view_event.c.tenant == _TENANT, view_event.c.log_index == sa.bindparam("this_index"))
    .values(entry=sa.bindparam("redacted"))
)


def erase_in(connection: sa.Connection, tenant: str, erasure: event_pb2.LogEntry) -> None:
    """Erases a request's values from all tables, and stores the `erased` entry.

    Runs in the transaction that moves the cursor past the entry, so that no crash separates the two. A
    rebuilt view repeats it.
    """
    this = {"this_tenant": tenant, "this_id": erased_id(erasure)}
    # The request's row first, as a command's claim locks it first.
    _redact_request(connection, this)
    for deletion in _DELETIONS:
        connection.execute(deletion, this)
    _redact_path(connection, this, erasure.index)
    row = {
        "tenant": tenant,
        "approval_id": erased_id(erasure),
        "log_index": erasure.index,
        "entry": erasure.SerializeToString(),
    }
    connection.execute(_INSERT_ERASURE, row)
    truncate_wal_after_commit(connection)


def erasure_in(
    connection: sa.Connection, tenant: str, approval_id: str, before: int
) -> event_pb2.LogEntry | None:
    """The request's last `erased` entry before an index."""
    this = {"this_tenant": tenant, "this_id": approval_id, "before": before}
    entry: bytes | None = connection.scalar(_ERASURE, this)
    return None if entry is None else event_pb2.LogEntry.FromString(entry)


def _redact_request(connection: sa.Connection, this: dict[str, str]) -> None:
    received: bytes | None = connection.scalar(_RECEIVED, this)
    if received is not None:
        event = event_pb2.Event.FromString(received)
        redact(event)
        connection.execute(_REDACT_REQUEST, {**this, "redacted": event.SerializeToString(deterministic=True)})


def _redact_path(connection: sa.Connection, this: dict[str, str], before: int) -> None:
    for log_index, stored in connection.execute(_PATH, {**this, "before": before}).all():
        entry = event_pb2.LogEntry.FromString(stored)
        redact(entry)
        new = {
            "this_tenant": this["this_tenant"],
            "this_index": log_index,
            "redacted": entry.SerializeToString(),
        }
        connection.execute(_REDACT_ENTRY, new)
