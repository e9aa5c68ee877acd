"""The table of the packages that the tests of placet_storage migrate, and its simplest statements."""

from __future__ import annotations

from sqlalchemy import Column, Connection, Integer, MetaData, String, Table, func, select

from placet_storage import Database, UtcDateTime

note = Table(
    "note",
    MetaData(),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("body", String, nullable=False),
    Column("written_at", UtcDateTime),
)


def rows(connection: Connection) -> int:
    return connection.execute(select(func.count()).select_from(note)).scalar_one()


def insert(connection: Connection, *numbers: int) -> None:
    connection.execute(note.insert(), [{"number": number, "body": "x"} for number in numbers])


async def count(database: Database) -> int:
    return await database.query(rows)
