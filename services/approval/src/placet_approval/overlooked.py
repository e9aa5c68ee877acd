"""Erasures that the view has read and not done, because a version that knows of none wrote it then."""

from __future__ import annotations

import sqlalchemy as sa

from placet.audit.v1 import event_pb2
from placet_approval.folding import folded, shown_as
from placet_approval.redacting import erase_in, erased_id
from placet_approval.tables import view, view_cursor, view_erasure
from placet_approval.views import path_in, view_row
from placet_storage import Database


class Overlooked:
    """Does late what the projector should have done."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def erase(self, tenant: str, erasure: event_pb2.LogEntry) -> None:
        """Does what an entry of the log says was erased, if the view is past it and this was not done; in one
        transaction. What the view has not read is its projector's to do."""
        await self._database.transact(_erase, tenant, erasure, operation="erase overlooked")


_OF_TENANT = view_cursor.c.tenant == sa.bindparam("this_tenant")
# No projector writes meanwhile: each moves the cursor first, and in PostgreSQL it waits for that. In SQLite
# there is but one writer anyway.
_LOCKED_CURSOR = sa.select(view_cursor.c.next_index).where(_OF_TENANT).with_for_update()
_IS_DONE = sa.select(view_erasure.c.log_index).where(
    view_erasure.c.tenant == sa.bindparam("this_tenant"),
    view_erasure.c.log_index == sa.bindparam("this_index"),
)


def _erase(connection: sa.Connection, tenant: str, erasure: event_pb2.LogEntry) -> None:
    this = {"this_tenant": tenant, "this_index": erasure.index}
    following: int | None = connection.scalar(_LOCKED_CURSOR, this)
    if (following or 0) <= erasure.index or connection.scalar(_IS_DONE, this) is not None:
        return
    erase_in(connection, tenant, erasure)
    approval_id = erased_id(erasure)
    state = folded(path_in(connection, tenant, approval_id))
    if state is not None:
        row = view_row(tenant, shown_as(state, {}, erasure).approval)
        is_it = (view.c.tenant == tenant, view.c.approval_id == approval_id)
        connection.execute(sa.update(view).where(*is_it).values(row))
