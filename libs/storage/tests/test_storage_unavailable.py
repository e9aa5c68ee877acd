"""A database that is away, locked, full or slow is unavailable and then works, each kind in its own way."""

from __future__ import annotations

import asyncio
import os
import socket
import sqlite3
import time
from pathlib import Path
from select import select as select_readable
from typing import Any

import pytest
from sqlalchemy import Connection, text

from placet_storage import Database, DatabaseUnavailable
from placet_storage import engines as storage_engines
from placet_testing.note_table import count, insert, note

pytestmark = pytest.mark.integration

PEEK = socket.MSG_PEEK | socket.MSG_DONTWAIT
# Of conftest, which tests cannot import by name.
Pause = Any


async def test_a_locked_sqlite_file_is_unavailable_and_then_works(
    sqlite_url: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage_engines, "PATIENCE", 0.1)
    database = await Database.open(sqlite_url, migrations=package)
    stranger = sqlite3.connect(sqlite_url.removeprefix("sqlite:///"), isolation_level=None)
    stranger.execute("BEGIN IMMEDIATE")
    with pytest.raises(DatabaseUnavailable, match="locked"):
        await database.transact(lambda _: pytest.fail("the lock was not ours"))
    stranger.execute("ROLLBACK")
    stranger.close()
    await database.transact(insert, 1)
    assert await count(database) == 1
    await database.close()


async def test_a_full_sqlite_disk_is_unavailable_and_then_works(sqlite_url: str, package: str) -> None:
    def limit(connection: Connection) -> None:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
        connection.exec_driver_sql(f"PRAGMA max_page_count={pages}")

    def lift(connection: Connection) -> None:
        connection.exec_driver_sql("PRAGMA max_page_count=1000000")

    def fill(connection: Connection) -> None:
        connection.execute(note.insert(), {"number": 1, "body": "x" * 100_000})

    database = await Database.open(sqlite_url, migrations=package)
    await database.transact(limit)
    with pytest.raises(DatabaseUnavailable, match="full"):
        await database.transact(fill)
    await database.transact(lift)
    await database.transact(fill)
    assert await count(database) == 1
    await database.close()


async def test_a_row_that_another_has_locked_in_postgresql_is_unavailable_and_then_works(
    postgres_url: str, package: str, monkeypatch: pytest.MonkeyPatch, pause: Pause
) -> None:
    monkeypatch.setattr(storage_engines, "PATIENCE", 0.5)
    database = await Database.open(postgres_url, migrations=package)

    def hold(connection: Connection) -> None:
        connection.execute(note.update().values(body="held"))
        pause.here()

    def overwrite(connection: Connection) -> None:
        connection.execute(note.update().values(body="overwritten"))

    await database.transact(insert, 1)
    holding = asyncio.create_task(database.transact(hold))
    await pause.begun()
    with pytest.raises(DatabaseUnavailable, match="lock timeout"):
        await database.transact(overwrite)
    pause.end()
    await holding
    await database.transact(overwrite)
    await database.close()


async def test_a_lost_postgresql_connection_is_unavailable_and_then_works(
    postgres_url: str, package: str
) -> None:
    def be_disconnected(connection: Connection) -> None:
        insert(connection, 1)
        connection.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))

    database = await Database.open(postgres_url, migrations=package)
    with pytest.raises(DatabaseUnavailable):
        await database.transact(be_disconnected)
    await database.transact(insert, 1)
    assert await count(database) == 1
    await database.close()


@pytest.mark.parametrize("with_reply", [False, True], ids=["after the reply", "with the reply"])
@pytest.mark.parametrize("limit", ["idle_in_transaction_session_timeout", "transaction_timeout"])
async def test_a_postgresql_transaction_that_took_too_long_is_unavailable_and_then_works(
    postgres_url: str, package: str, limit: str, with_reply: bool
) -> None:
    def dawdle(connection: Connection) -> None:
        insert(connection, 1)
        set_limit = f"SET LOCAL {limit} = '10ms'"
        if with_reply:
            read_late(connection, set_limit)
        else:
            connection.execute(text(set_limit))
        wait_until_ended_by_the_server(connection)
        connection.execute(text("SELECT 1"))

    database = await Database.open(postgres_url, migrations=package)
    # Without a word on why: the server's last word is lost where it is read together with a reply.
    with pytest.raises(DatabaseUnavailable):
        await database.transact(dawdle)
    await database.transact(insert, 1)
    assert await count(database) == 1
    await database.close()


def read_late(connection: Connection, statement: str) -> None:
    """Reads a reply when the server has said its last word behind it, as a busy program does.

    libpq takes that word for a notice then, and the next statement finds the connection closed.
    """
    driver = connection.connection.dbapi_connection
    assert driver is not None
    driver.pgconn.send_query(statement.encode())
    driver.pgconn.flush()
    with socket.socket(fileno=os.dup(driver.fileno())) as peeked:
        deadline = time.monotonic() + 30
        while select_readable([peeked], [], [], 30)[0] and b"FATAL" not in peeked.recv(1 << 16, PEEK):
            assert time.monotonic() < deadline
    while driver.pgconn.get_result() is not None:
        pass


def wait_until_ended_by_the_server(connection: Connection) -> None:
    driver = connection.connection.dbapi_connection
    assert driver is not None
    # The server has said its last word and hung up: there is something to read.
    assert select_readable([driver.fileno()], [], [], 30)[0]


async def test_a_postgresql_that_is_not_there_is_unavailable(tmp_path: Path, package: str) -> None:
    with pytest.raises(DatabaseUnavailable):
        await Database.open(f"postgresql://nobody@/nothing?host={tmp_path}", migrations=package)


async def test_a_postgresql_that_is_gone_without_a_word_is_noticed(postgres_url: str, package: str) -> None:
    def options(connection: Connection) -> dict[str, str]:
        driver = connection.connection.dbapi_connection
        assert driver is not None
        return {**driver.info.get_parameters()}

    database = await Database.open(f"{postgres_url}&keepalives_idle=60", migrations=package)
    found = await database.query(options)
    await database.close()
    assert found["tcp_user_timeout"] == "5000"
    assert found["keepalives_idle"] == "60"  # what the URL says comes first


async def test_waiting_for_a_turn_has_an_end(
    sqlite_url: str, package: str, monkeypatch: pytest.MonkeyPatch, pause: Pause
) -> None:
    monkeypatch.setattr(storage_engines, "PATIENCE", 0.1)
    database = await Database.open(sqlite_url, migrations=package)
    first = asyncio.create_task(database.transact(lambda _: pause.here()))
    await pause.begun()
    with pytest.raises(DatabaseUnavailable, match="became free"):
        await database.transact(lambda _: pytest.fail("there is one writer"))
    pause.end()
    await first
    await database.close()


def test_unavailability_names_its_kind_for_the_rpc_layer() -> None:
    assert DatabaseUnavailable.grpc_kind == "unavailable"
