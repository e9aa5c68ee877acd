"""After a rollback of the log's database the view is rebuilt from what the log holds."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from placet_approval.store.tables import LOG, view, view_event
from placet_rpc.errors import DataLoss, NotFound
from placet_storage import Database

if TYPE_CHECKING:
    from pathlib import Path

    from services.approval.tests.conftest import Platform

pytestmark = pytest.mark.integration

HOME = "home"


def copied(source: Path, target: Path) -> Path:
    """Puts a database's content into another file, also while a service has that open."""
    with closing(sqlite3.connect(source)) as old, closing(sqlite3.connect(target)) as new:
        old.backup(new)
    return target


async def held(url: str) -> tuple[list[str], list[tuple[int, str, int]], int]:
    """The requests in the view, where their entries are in the log, and how far it has read."""

    def read(connection: sa.Connection) -> tuple[list[str], list[Any], int]:
        requests = connection.scalars(sa.select(view.c.approval_id).order_by(view.c.approval_id)).all()
        columns = (view_event.c.log_index, view_event.c.approval_id, view_event.c.number)
        events = [tuple(row) for row in connection.execute(sa.select(*columns).order_by(columns[0]))]
        return list(requests), events, connection.scalar(sa.select(LOG.cursor.c.next_index)) or 0

    database = await Database.open(url, migrations="placet_approval")
    found = await database.query(read)
    await database.close()
    return found


async def is_of_the_log(platform: Platform) -> bool:
    """True if view and log hold the same entries."""
    entries = await platform.audit.events(HOME)
    events = [(one.index, one.entry.approval_id, one.entry.number) for one in entries]
    requests = sorted({approval_id for _, approval_id, _ in events})
    return await held(platform.database_url) == (requests, events, len(entries))


async def test_a_view_is_rebuilt_after_a_rollback_of_its_log(platform: Platform) -> None:
    log = platform.folder / "audit.db"
    kept = await platform.request()
    await platform.until(lambda: is_of_the_log(platform))
    earlier = copied(log, platform.folder / "earlier.db")
    lost = await platform.request()
    await platform.until(lambda: is_of_the_log(platform))

    copied(earlier, log)

    await platform.until(lambda: is_of_the_log(platform))
    assert (await held(platform.database_url))[0] == [kept]
    assert (await platform.get(kept)).waiting_for_approval
    with pytest.raises(NotFound):
        await platform.get(lost)
    # And it goes on from there.
    await platform.request()
    await platform.until(lambda: is_of_the_log(platform))


async def test_a_view_is_rebuilt_when_its_log_was_replaced_by_a_longer_one(bare_platform: Platform) -> None:
    platform, log = bare_platform, bare_platform.folder / "audit.db"
    replica = await platform.serve()
    await platform.request()
    await platform.until(lambda: is_of_the_log(platform))
    earlier = copied(log, platform.folder / "earlier.db")
    await platform.request()
    await platform.until(lambda: is_of_the_log(platform))
    await replica.aclose()
    await platform.audit.stop()
    copied(earlier, log)
    await platform.audit.start()
    other = await platform.serve(database_url=f"sqlite:///{platform.folder / 'other.db'}")
    for _ in range(3):
        await platform.request()
    await other.aclose()

    await platform.serve()

    # Somebody asks, which begins the feed.
    await platform.request()
    await platform.until(lambda: is_of_the_log(platform))


async def test_requesters_get_an_error_while_the_log_is_inconsistent(
    platform: Platform,
) -> None:
    await platform.request()
    with closing(sqlite3.connect(platform.folder / "audit.db")) as database:
        database.execute("DROP TRIGGER tree_is_never_updated")
        database.execute("UPDATE tree SET roots = zeroblob(length(roots))")
        database.commit()

    stub = await platform.as_("ci@example.com")
    with pytest.raises(DataLoss, match="an operator has repaired it") as raised:
        await stub.RequestApproval(platform.asking())

    assert raised.value.reason == "LOG_INCONSISTENT"
