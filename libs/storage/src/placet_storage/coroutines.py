"""Engines for `Database.write` and `Database.read`, which end with their last caller."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, cast

from sqlalchemy import AdaptedConnection, Connection, event
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from placet_storage import engines
from placet_storage.engines import Location

_SQLITE_READERS = 4


@dataclass(frozen=True)
class AsyncEngines:
    """As `Lanes`, for coroutines; they share no connections with those."""

    writer: AsyncEngine
    reader: AsyncEngine


def open_async_engines(location: Location, pool_size: int) -> AsyncEngines:
    """Engines that connect on first use. `pool_size`: the connections to PostgreSQL, at most."""
    if location.dialect == "sqlite":
        return AsyncEngines(writer=_sqlite(location, "writer"), reader=_sqlite(location, "reader"))
    writer = create_async_engine(
        location.url,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=engines.PATIENCE,
        connect_args=engines.postgresql_arguments(location),
    )
    event.listen(writer.sync_engine, "connect", engines.prepare_postgresql)
    reader = writer.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
    return AsyncEngines(writer=writer, reader=reader)


def _sqlite(location: Location, role: Literal["writer", "reader"]) -> AsyncEngine:
    engine = create_async_engine(
        location.url.set(drivername="sqlite+aiosqlite"),
        pool_size=1 if role == "writer" else _SQLITE_READERS,
        max_overflow=0,
        pool_timeout=engines.PATIENCE,
        connect_args=engines.sqlite_arguments(),
    )
    sync, writes = engine.sync_engine, role == "writer"
    event.listen(sync, "connect", engines.prepare_writer if writes else engines.prepare_reader)
    event.listen(sync, "begin", _begin_immediate if writes else _begin_deferred)
    return engine


def _begin_immediate(connection: Connection) -> None:
    _begin(connection, "BEGIN IMMEDIATE")


def _begin_deferred(connection: Connection) -> None:
    _begin(connection, "BEGIN DEFERRED")


def _begin(connection: Connection, statement: str) -> None:
    # Straight to the driver: as a statement of SQLAlchemy's it would take the driver's thread three turns.
    adapted = cast(AdaptedConnection, connection.connection.dbapi_connection)
    adapted.run_async(lambda driver: driver.execute(statement))
